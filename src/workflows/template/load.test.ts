/** Templates from YAML: what they mean, and for everything that is wrong its exact place. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse } from 'yaml';
import { MillraceError } from '../../core/errors.ts';
import { restoreTemplate } from '../../core/workflow/compile-template.ts';
import { describeProblem } from '../../core/workflow/template-problems.ts';
import { compileTemplateValue, loadTemplates, parseTemplate, tryParseTemplate } from './load.ts';
import { hashText, storedTemplate } from './stored-template.ts';
import { drawTemplate } from './template-graph.ts';

const manual = readFileSync(new URL('../../../docs/templates.md', import.meta.url), 'utf8');
const example = /```yaml\n([\s\S]*?)```/.exec(manual)?.[1] ?? '';

/** Each problem as `line:column path: message. hint`. */
const problemsOf = (text: string, environment?: string) =>
  tryParseTemplate(text, { file: 'f', environment }).problems.map((problem) =>
    describeProblem(problem).replace(/^f:/, ''),
  );

const head = 'name: a\nsteps:\n';
const step = '  - name: s\n    handler: { callable: c }\n';

/** Files that are wrong, each with everything that is said about it. */
const wrong = parse(
  readFileSync(new URL('wrong-templates.cases.yaml', import.meta.url), 'utf8'),
) as readonly { what: string; text: string; problems: string[] }[];

describe('what is wrong stands there', () => {
  for (const { what, text, problems } of wrong) {
    test(what, () => assert.deepEqual(problemsOf(text), problems));
  }

  test('in an anchor, when it was merged from there', () => {
    const merging = step.replace('- name: s', '- <<: *r\n    name: s');
    const [problem, ...more] = problemsOf(`x-r: &r\n  retry: { limit: 1 }\n${head}${merging}`);
    assert.match(problem ?? '', /^2:12 steps\[0\]\.retry\.limit: is not a known field/);
    assert.deepEqual(more, []);
  });

  test('all of it at once, in the order of lines', () => {
    const steps = '  - name: s\n    handler: x\n  - name: t\n    depends_on: [u]\n';
    const text = `nam: a\nversion: 1\nsteps:\n${steps}`;
    assert.deepEqual(
      problemsOf(text).map((one) => one.split(' ').slice(0, 2).join(' ')),
      [
        '1:1 nam:',
        '1:1 name:',
        '2:10 version:',
        '5:14 steps[0].handler:',
        '6:5 steps[1].handler:',
        '7:18 steps[1].depends_on[0]:',
      ],
    );
  });

  test('and is thrown as TEMPLATE_INVALID with details', () => {
    assert.throws(
      () => parseTemplate(`${head}  - { name: s, handler: X }\n`, { file: 'shop.yaml' }),
      (error: MillraceError) => {
        assert.ok(error instanceof MillraceError);
        assert.equal(error.code, 'TEMPLATE_INVALID');
        assert.equal(
          error.message,
          'shop.yaml:3:25 steps[0].handler: is "X", not an object. Write { callable: X }.',
        );
        assert.deepEqual(error.details, {
          problems: [
            {
              ...{ file: 'shop.yaml', line: 3, column: 25, path: 'steps[0].handler' },
              ...{ message: 'is "X", not an object', hint: 'Write { callable: X }.' },
            },
          ],
        });
        return true;
      },
    );
  });
});

describe('limits', () => {
  test('a file that means a billion values', () => {
    const line = (name: string, of: string) =>
      `x-${name}: &${name} [${Array(10).fill(of).join(', ')}]`;
    const lines = ['x-a: &a [1,1,1,1,1,1,1,1,1,1]'];
    for (let i = 0; i < 8; i += 1) lines.push(line('bcdefghi'[i] as string, `*${'abcdefgh'[i]}`));
    const began = performance.now();
    const [problem, ...more] = problemsOf(`${lines.join('\n')}\n${head}${step}`);
    assert.match(problem ?? '', /: expands to more than 200000 values\. Use fewer aliases/);
    assert.deepEqual(more, []);
    assert.ok(performance.now() - began < 10_000);
  });

  test('a file that is too large, and one that is too deep', () => {
    assert.match(
      problemsOf(`# ${'x'.repeat(1_048_576)}`)[0] ?? '',
      /has 1048578 characters, 1048576/,
    );
    assert.match(problemsOf('['.repeat(100_000))[0] ?? '', /nested too deeply/);
    const deep = `x-a: ${'['.repeat(150)}${']'.repeat(150)}\n${head}${step}`;
    assert.match(problemsOf(deep)[0] ?? '', /is nested more than 100 levels deep/);
  });

  test('a thousand steps load, one more does not', () => {
    const steps = (count: number) =>
      head +
      Array.from({ length: count }, (_, i) => step.replace('name: s', `name: s${i}`)).join('');
    assert.equal(parseTemplate(steps(1_000)).steps.length, 1_000);
    assert.match(problemsOf(steps(1_001))[0] ?? '', /^3:3 steps: has 1001 steps, 1000 are allowed/);
  });

  test('a chain of fifty steps, one more is refused at its line', () => {
    const link = (i: number) => {
      const after = i === 0 ? '' : `, depends_on: [s${i - 1}]`;
      return `  - { name: s${i}, handler: { callable: c }${after} }\n`;
    };
    const chain = (count: number) =>
      head + Array.from({ length: count }, (_, i) => link(i)).join('');
    assert.equal(parseTemplate(chain(50)).graph.depth, 50);
    assert.match(problemsOf(chain(51))[0] ?? '', /^53:5 steps\[50\]: 's50' is step 51 of a chain/);
  });
});

describe('a template', () => {
  test('the example of the docs, with its anchors and its environment', () => {
    const plain = parseTemplate(example);
    const production = parseTemplate(example, { environment: 'production' });
    assert.deepEqual(plain.graph.initial, [0, 1]);
    const [charge] = plain.steps;
    assert.deepEqual(
      charge?.publishesEvents.map(({ delivery }) => delivery),
      ['durable', 'fire_and_forget'],
    );
    assert.deepEqual(charge?.publishesEvents[0]?.schema, charge?.publishesEvents[1]?.schema);
    assert.deepEqual(production.steps[0]?.handler.initialization, {
      currency: 'EUR',
      gateway: { url: 'https://pay.example.com', retries: 3 },
    });
    assert.deepEqual(
      production.steps.map(({ timeoutMs }) => timeoutMs),
      Array(6).fill(60_000),
    );
    assert.equal(plain.metadata.createdAt, '2026-01-12');
  });

  test('of the requirement loads as it is', () => {
    const text = readFileSync(new URL('process-payment.yaml', import.meta.url), 'utf8');
    const { namespace, name, version, steps } = parseTemplate(text);
    assert.deepEqual([namespace, name, version], ['payments', 'process_payment', '1.0.0']);
    assert.deepEqual(
      steps.map(({ handler, publishesEvents }) => [
        handler.callable,
        publishesEvents[0]?.name,
        publishesEvents[0]?.delivery,
        publishesEvents[0]?.schema?.required,
      ]),
      [
        [
          ...['Payments::ChargeCardHandler', 'payment.charged', 'fire_and_forget'],
          ['payment_id', 'amount', 'currency'],
        ],
        [
          ...['Payments::HandleFailureHandler', 'payment.failed', 'durable'],
          ['payment_id', 'error_code'],
        ],
      ],
    );
  });

  test('merge keys: own members first, then the first map that has it', () => {
    const text = `x-a: &a { timeout_seconds: 1, description: a }
x-b: &b { timeout_seconds: 2, transactional: true }
${head}  - <<: [*a, *b]
    description: own
    name: s
    handler: { callable: c }
`;
    const [one] = parseTemplate(text).steps;
    assert.deepEqual([one?.timeoutMs, one?.description, one?.transactional], [1_000, 'own', true]);
  });

  test('of a program has its schemas checked, too', () => {
    const value = {
      name: 'a',
      steps: [{ name: 's', handler: { callable: 'c' }, result_schema: { type: 'x' } }],
    };
    assert.throws(
      () => compileTemplateValue(value),
      /steps\[0\].result_schema.type: is 'x', which is no/,
    );
  });

  test('is stored by hash and comes back', () => {
    const template = parseTemplate(example);
    const stored = storedTemplate(template);
    assert.equal(stored.hash, hashText(template.canonicalJson));
    assert.match(stored.hash, /^[0-9a-f]{64}$/);
    assert.equal(storedTemplate(restoreTemplate(stored.definitionJson)).hash, stored.hash);
    const other = parseTemplate(example.replace('timeout_seconds: 30', 'timeout_seconds: 31'));
    assert.notEqual(storedTemplate(other).hash, stored.hash);
    const layout = parseTemplate(example.replace(/ +#.*$/gm, ''));
    assert.equal(storedTemplate(layout).hash, stored.hash);
  });

  test('is drawn: dotted arrows where an outcome creates', () => {
    const lines = drawTemplate(parseTemplate(example)).split('\n');
    assert.deepEqual(lines.slice(0, 4), [
      '%% process_order 1.2.0',
      'flowchart TD',
      '  s0["charge_card"]',
      '  s1{"choose_way<br/>decision"}',
    ]);
    assert.ok(lines.includes('  s0 --> s1'));
    assert.ok(lines.includes('  s4 -.-> s5'));
    assert.equal(lines.length, 2 + 6 + 6);
  });
});

describe('files', () => {
  let directory = '';
  const good = (name: string) => `name: ${name}\nsteps:\n${step}`;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'millrace-templates-'));
    await mkdir(join(directory, 'deep/er'), { recursive: true });
    await writeFile(join(directory, 'b.yaml'), good('b'));
    await writeFile(join(directory, 'a.yml'), good('a'));
    await writeFile(join(directory, 'deep/er/c.yaml'), good('c'));
    await writeFile(join(directory, 'notes.txt'), 'no template');
  });
  after(() => rm(directory, { recursive: true, force: true }));
  const names = async (...paths: string[]) =>
    (await loadTemplates(paths, { directory })).map(({ name }) => name).join(' ');

  test('by name, directory and pattern, each once', async () => {
    assert.equal(await names('b.yaml', 'a.yml'), 'b a');
    assert.equal(await names('.'), 'a b c');
    assert.equal(await names('*.yaml', 'b.yaml', 'deep'), 'b c');
    assert.equal(await names(join(directory, 'a.yml')), 'a');
    assert.equal((await loadTemplates('**/*.yaml', { directory })).length, 2);
  });

  test('that are not there are said to be', async () => {
    const refused = (message: RegExp) => (error: MillraceError) =>
      error instanceof MillraceError &&
      error.code === 'CONFIG_INVALID' &&
      message.test(error.message);
    await assert.rejects(names('x.yaml'), refused(/No file matches: x\.yaml/));
    await mkdir(join(directory, 'empty'), { recursive: true });
    await assert.rejects(
      names('empty'),
      refused(/The directory holds no \*\.yaml or \*\.yml: empty/),
    );
  });

  test('are all checked before anything is said, twins too', async () => {
    await mkdir(join(directory, 'bad'), { recursive: true });
    await writeFile(join(directory, 'bad/1.yaml'), 'nam: x\n');
    await writeFile(join(directory, 'bad/2.yaml'), good('twin'));
    await writeFile(join(directory, 'bad/3.yaml'), good('twin'));
    await assert.rejects(names('bad'), (error: MillraceError) => {
      assert.equal(error.code, 'TEMPLATE_INVALID');
      assert.deepEqual(
        error.message.split('\n').map((one) => one.trim()),
        [
          '4 problems in templates:',
          "bad/1.yaml:1:1 nam: is not a known field. Did you mean 'name'?",
          'bad/1.yaml:1:1 name: is required. For example: "process_payment"',
          'bad/1.yaml:1:1 steps: is required.',
          'bad/3.yaml:1:1 name: default/twin@1.0.0 is in bad/2.yaml, too.' +
            ' Give one of them another version, name or namespace.',
        ],
      );
      return true;
    });
  });
});

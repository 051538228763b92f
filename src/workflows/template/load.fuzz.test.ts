/** Whatever a file holds, it is a template or TEMPLATE_INVALID with places in the file. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { type Random, seededRandom } from '../../../test/support/random.ts';
import { MillraceError } from '../../core/errors.ts';
import { restoreTemplate } from '../../core/workflow/compile-template.ts';
import type { LocatedProblem } from '../../core/workflow/template-problems.ts';
import { parseTemplate } from './load.ts';

const manual = readFileSync(new URL('../../../docs/templates.md', import.meta.url), 'utf8');
const example = /```yaml\n([\s\S]*?)```/.exec(manual)?.[1] ?? '';

/** FUZZ_ROUNDS makes a run longer. */
const rounds = Number(process.env.FUZZ_ROUNDS ?? 500);

/** Pieces that mean something to YAML, to templates, to JSON Schema or to JavaScript. */
const pieces = [
  ...[
    '\n',
    '  ',
    '\t',
    ':',
    ': ',
    '- ',
    '"',
    "'",
    '[',
    ']',
    '{',
    '}',
    ',',
    '#',
    '|',
    '>',
    '?',
    '%',
  ],
  ...['&a ', '*a', '*patient', '<<: *patient', '<<: ', '!!binary ', '!x ', '---\n', '...\n', '~'],
  ...[
    'null',
    'true',
    '.nan',
    '-.inf',
    '1e999',
    '0x1F',
    '9007199254740993',
    '\0',
    '\ud800',
    '\u2028',
  ],
  ...['name', 'steps', 'type: decision', 'dependencies', 'depends_on: [close_order]', '$ref: "#"'],
  ...[
    '__proto__: 1',
    'constructor: { prototype: 1 }',
    'toString',
    '$id: a',
    'format: date',
    '🜂',
    '\r\n',
  ],
];

function mutate(text: string, random: Random): string {
  const lines = text.split('\n');
  const at = random.below(lines.length);
  const offset = random.below(text.length + 1);
  switch (random.below(7)) {
    case 0:
      return lines.toSpliced(at, 1).join('\n');
    case 1:
      return lines.toSpliced(at, 0, random.pick(lines)).join('\n');
    case 2:
      return lines.with(at, `${' '.repeat(random.below(6))}${lines[at]?.trimStart()}`).join('\n');
    case 3:
      return text.slice(0, offset) + random.pick(pieces) + text.slice(offset);
    case 4:
      return text.slice(0, offset) + text.slice(offset + 1 + random.below(8));
    case 5:
      return lines
        .with(at, (lines[at] ?? '').replace(/: .*$/, `: ${random.pick(pieces)}`))
        .join('\n');
    default:
      return text.slice(0, offset);
  }
}

test('random changes of a valid file', (t) => {
  const random = seededRandom(t);
  let [taken, refused] = [0, 0];
  for (let round = 0; round < rounds; round += 1) {
    let text = example;
    for (let changes = 1 + random.below(4); changes > 0; changes -= 1) text = mutate(text, random);
    const environment = random.pick([undefined, 'production', 'test']);
    try {
      const template = parseTemplate(text, { file: 'f', environment });
      taken += 1;
      assert.equal(restoreTemplate(template.canonicalJson).canonicalJson, template.canonicalJson);
    } catch (error) {
      refused += 1;
      assert.ok(error instanceof MillraceError && error.code === 'TEMPLATE_INVALID', text);
      const { problems } = error.details as { problems: readonly LocatedProblem[] };
      assert.ok(problems.length > 0);
      const lines = text.split('\n');
      for (const { file, line, column, message } of problems) {
        assert.equal(file, 'f');
        assert.ok(line !== null && line >= 1 && line <= lines.length, `line ${line}\n${text}`);
        const width = lines[line - 1]?.length as number;
        assert.ok(
          column !== null && column >= 1 && column <= width + 1,
          `column ${column} of ${width}: ${JSON.stringify(lines[line - 1])} ${message}`,
        );
        assert.notEqual(message, '');
      }
    }
  }
  assert.ok(taken > rounds / 25 && refused > rounds / 5, `${taken} taken, ${refused} refused`);
});

test('random text of the same pieces', (t) => {
  const random = seededRandom(t);
  for (let round = 0; round < 3 * rounds; round += 1) {
    const words = Array.from({ length: random.below(40) }, () => random.pick(pieces));
    const text = random.chance(0.5) ? `name: a\nsteps:\n  - ${words.join('')}` : words.join('');
    assert.throws(
      () => parseTemplate(text),
      (error) => error instanceof MillraceError && error.code === 'TEMPLATE_INVALID',
      JSON.stringify(text),
    );
  }
});

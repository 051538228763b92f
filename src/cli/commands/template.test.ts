/** `millrace template …`: what it prints for people, as JSON, and how it ends. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { runCli } from '../program.ts';

let directory = '';
const good = `name: orders
namespace_name: shop
version: 2.0.0
steps:
  - name: charge
    handler: { callable: Charge, method: go }
    timeout_seconds: 1.5
    publishes_events: [{ name: order.charged, delivery: acknowledged }]
  - { name: choose, type: decision, handler: { callable: choose }, dependencies: [charge] }
  - { name: ship, handler: { callable: ship }, dependencies: [choose] }
environments: { production: { steps: [{ name: charge, timeout_seconds: 9 }] } }
`;

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-template-cli-'));
  await writeFile(join(directory, 'good.yaml'), good);
  await writeFile(join(directory, 'bad.yaml'), good.replace('[choose]', '[chose]'));
});
after(() => rm(directory, { recursive: true, force: true }));

async function run(...args: string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const plain = { isTTY: false, columns: 100 };
  const code = await runCli(['template', ...args], {
    stdin: Readable.from([]),
    stdout: { ...plain, write: (text: string) => void out.push(text) },
    stderr: { ...plain, write: (text: string) => void err.push(text) },
    env: {},
    signal: new AbortController().signal,
  });
  return { code, out: out.join(''), err: err.join('') };
}
const file = (name: string) => join(directory, name);

test('check names what is right and what is wrong, and ends with 1', async () => {
  const fine = await run('check', file('good.yaml'));
  assert.deepEqual(fine, {
    code: 0,
    out: `ok ${file('good.yaml')}  shop/orders@2.0.0  3 steps\n`,
    err: '',
  });
  const { code, out, err } = await run('check', directory);
  assert.equal(code, 1);
  assert.equal(
    out,
    `ok ${file('good.yaml')}  shop/orders@2.0.0  3 steps\n` +
      `wrong ${file('bad.yaml')}:9:27  steps[1].type: decision 'choose' has no step to choose:` +
      ' none depends on it\n  fix Add dependencies: [choose] to the steps that it may create.\n' +
      `wrong ${file('bad.yaml')}:10:63  steps[2].dependencies[0]: 'ship' depends on 'chose',` +
      " and there is no such step\n  fix Did you mean 'choose'?\n",
  );
  assert.equal(err, 'error 2 problems in 1 file  [TEMPLATE_INVALID]\n');
});

test('check --json has both as data', async () => {
  const { code, out } = await run('check', directory, '--json', '-e', 'production');
  assert.equal(code, 1);
  const { ok, templates, problems } = JSON.parse(out);
  assert.equal(ok, false);
  assert.equal(templates.length, 1);
  assert.match(templates[0].hash, /^[0-9a-f]{64}$/);
  assert.deepEqual(
    { ...templates[0], hash: '' },
    {
      ...{ file: file('good.yaml'), namespace: 'shop', name: 'orders', version: '2.0.0', hash: '' },
      ...{ environment: 'production', steps: 3, depth: 3 },
    },
  );
  assert.deepEqual(
    problems.map((one: { line: number }) => one.line),
    [9, 10],
  );
});

test('show prints the compiled template, with its environment', async () => {
  const { code, out } = await run('show', file('good.yaml'));
  assert.equal(code, 0);
  assert.match(out, /identity +strict/);
  assert.match(
    out,
    /│ +1 │ charge +│ standard │ Charge#go │ – +│ start +│ 3 exponential 1000 ms │ 1.5 s/,
  );
  assert.match(out, /│ +3 │ ship .*│ outcome/);
  assert.match(out, /order\.charged │ charge │ success +│ acknowledged │ –/);
  assert.match((await run('show', file('good.yaml'), '-e', 'production')).out, /│ 9 s/);
  const { name, steps, hash } = JSON.parse((await run('show', file('good.yaml'), '--json')).out);
  assert.deepEqual([name, steps.length, hash.length], ['orders', 3, 64]);
});

test('graph prints Mermaid', async () => {
  const { code, out } = await run('graph', file('good.yaml'));
  assert.equal(code, 0);
  assert.match(
    out,
    /^%% orders 2.0.0\nflowchart TD\n {2}s0\["charge"\]\n[\s\S]* {2}s1 -\.-> s2\n$/,
  );
});

test('a wrong template, two of them, and none', async () => {
  const wrong = await run('show', file('bad.yaml'));
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /2 problems in templates:[\s\S]*bad\.yaml:9:27[\s\S]*TEMPLATE_INVALID/);
  await rm(file('bad.yaml'));
  await writeFile(file('more.yaml'), good.replace('orders', 'more'));
  const two = await run('graph', directory);
  assert.deepEqual([two.code, /leads to 2 templates/.test(two.err)], [2, true]);
  const none = await run('check', file('missing.yaml'));
  assert.equal(none.code, 1);
  assert.match(none.err, /No file matches: .*missing\.yaml/);
});

/** `millrace generate events`: what it writes, and how `--check` tells that it is out of date. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { it, type TestContext } from 'node:test';
import { runCli } from './program.ts';

async function generate(...args: readonly string[]) {
  const printed = { out: '', err: '' };
  const output = (to: 'out' | 'err') => ({
    isTTY: false,
    columns: 100,
    write: (text: string) => {
      printed[to] += text;
    },
  });
  const code = await runCli(['generate', 'events', ...args], {
    stdin: Readable.from([]),
    stdout: output('out'),
    stderr: output('err'),
    env: {},
    signal: new AbortController().signal,
  });
  return { code, ...printed };
}

const template = (version: string, type: string) => `
name: pay
namespace_name: payments
version: ${version}
steps:
  - name: charge
    handler: { callable: charge }
    publishes_events:
      - name: payment.charged
        description: When it is charged
        schema:
          type: object
          properties: { id: { type: ${type} } }
          required: [id]
        delivery: durable
`;

function directory(t: TestContext): string {
  const made = mkdtempSync(path.join(tmpdir(), 'generate-'));
  t.after(() => rmSync(made, { recursive: true }));
  return made;
}

it('writes the types of all templates, the newest version of each event', async (t) => {
  const place = directory(t);
  writeFileSync(path.join(place, 'old.yaml'), template('1.9.0', 'number'));
  writeFileSync(path.join(place, 'new.yaml'), template('1.10.0', 'string'));
  const out = path.join(place, 'events.ts');
  const written = await generate(place, '--out', out);
  assert.deepEqual(written, { code: 0, out: `${out}: 1 events\n`, err: '' });
  const text = readFileSync(out, 'utf8');
  assert.match(text, /export type PaymentCharged = \{\n {2}readonly id: string;\n\};/);
  assert.match(text, /declare module 'millrace' \{\n {2}interface DomainEventMap \{/);
  assert.equal((await generate(place)).out, text, 'standard output by default');
  const again = await generate(place, '--out', out);
  assert.match(again.out, /is up to date: 1 events/);
});

it('--check writes nothing and fails when the file is out of date', async (t) => {
  const place = directory(t);
  const yaml = path.join(place, 'pay.yaml');
  writeFileSync(yaml, template('1.0.0', 'string'));
  const out = path.join(place, 'events.ts');
  const missing = await generate(yaml, '--out', out, '--check');
  assert.equal(missing.code, 1);
  assert.match(missing.err, /is not there: run `millrace generate events`/);
  await generate(yaml, '--out', out);
  assert.equal((await generate(yaml, '--out', out, '--check')).code, 0);
  const before = readFileSync(out, 'utf8');
  writeFileSync(yaml, template('1.0.0', 'number'));
  const stale = await generate(yaml, '--out', out, '--check');
  assert.equal(stale.code, 1);
  assert.match(stale.err, /is out of date/);
  assert.equal(readFileSync(out, 'utf8'), before);
});

it('refuses --check without a file, and events that contradict each other', async (t) => {
  const place = directory(t);
  const usage = await generate(place, '--check');
  assert.equal(usage.code, 2);
  assert.match(usage.err, /--check needs --out/);
  writeFileSync(path.join(place, 'a.yaml'), template('1.0.0', 'string'));
  writeFileSync(
    path.join(place, 'b.yaml'),
    template('1.0.0', 'number').replace('name: pay\n', 'name: other\n'),
  );
  const conflict = await generate(place);
  assert.equal(conflict.code, 1);
  assert.match(conflict.err, /payment\.charged is declared with two schemas/);
});

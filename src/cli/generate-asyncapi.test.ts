/** `millrace generate asyncapi`: what it writes, and how `--check` tells that it is out of date. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { it, type TestContext } from 'node:test';
import { parse } from 'yaml';
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
  const code = await runCli(['generate', 'asyncapi', ...args], {
    stdin: Readable.from([]),
    stdout: output('out'),
    stderr: output('err'),
    env: {},
    signal: new AbortController().signal,
  });
  return { code, ...printed };
}

function folder(t: TestContext): string {
  const at = mkdtempSync(path.join(tmpdir(), 'asyncapi-'));
  t.after(() => rmSync(at, { recursive: true, force: true }));
  return at;
}

/** A module as users write it, without a package: it may be anywhere. */
const moduleText = `
const validate = (value) => ({ value });
const input = () => ({ type: 'object', properties: { cents: { type: 'integer' } } });
const schema = { '~standard': { version: 1, vendor: 'own', validate, jsonSchema: { input } } };
const upcast = (payload) => payload;
export const OrderPaid = { type: 'OrderPaid', version: 1, schema, upcast, key: () => null };
`;

it('prints the events of the exception pipeline as YAML', async () => {
  const { code, out } = await generate();
  assert.equal(code, 0);
  const document = parse(out);
  assert.equal(document.asyncapi, '3.0.0');
  const { messages } = document.channels.events;
  for (const name of ['ExceptionIngested.v1', 'RetryScheduled.v1', 'BrokerMessageRefused.v1']) {
    assert.ok(name in messages, name);
  }
});

it('writes the events of modules, and says when the file is out of date', async (t) => {
  const at = folder(t);
  const [module, out] = [path.join(at, 'events.mjs'), path.join(at, 'asyncapi.json')];
  writeFileSync(module, moduleText);
  const flags = ['--out', out, '--topic', 'shop.{tenant}.events'];
  assert.equal((await generate(module, ...flags, '--check')).code, 1);
  const written = await generate(module, ...flags);
  assert.equal(written.code, 0, written.err);
  const document = JSON.parse(readFileSync(out, 'utf8'));
  assert.equal(document.channels.events.address, 'shop.{tenant}.events');
  const { payload } = document.components.messages['OrderPaid.v1'];
  assert.deepEqual(payload.properties, { cents: { type: 'integer' } });
  assert.equal((await generate(module, ...flags, '--check')).code, 0);
  writeFileSync(module, moduleText.replace("OrderPaid', version", "OrderSent', version"));
  writeFileSync(out, '{}');
  const check = await generate(module, ...flags, '--check');
  assert.equal(check.code, 1);
  assert.match(check.err, /is out of date/);
});

it('names the server without its password', async () => {
  const { out } = await generate('--format', 'json', '--broker', 'amqps://me:secret@mq:5671/v');
  const { servers, channels } = JSON.parse(out);
  assert.deepEqual(servers.broker, { host: 'mq:5671', protocol: 'amqps' });
  assert.equal(channels.events.bindings.amqp.exchange.type, 'direct');
  assert.doesNotMatch(out, /secret/);
});

it('says what is wrong with a module', async (t) => {
  const empty = path.join(folder(t), 'empty.mjs');
  writeFileSync(empty, 'export const nothing = 1;');
  const { code, err } = await generate(empty);
  assert.notEqual(code, 0);
  assert.match(err, /None of the modules exports an event definition/);
  assert.match((await generate('/nowhere.mjs')).err, /could not be loaded/);
});

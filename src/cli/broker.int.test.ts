/** The commands about the broker, called as functions on an embedded database. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { anyBroker, ownName } from '../../test/support/linked-mill.ts';
import { openBroker } from '../connect.ts';
import { runCli } from './program.ts';

const url = anyBroker?.url ?? '';
const skip = anyBroker === null && 'none of KAFKA_URL, AMQP_URL, REDIS_URL is set';
const topic = ownName('cli');
let data = '';

before(async () => {
  data = await mkdtemp(join(tmpdir(), 'millrace-broker-'));
});
after(async () => {
  await rm(data, { recursive: true, force: true });
  if (skip) return;
  const broker = await openBroker(url);
  await broker.deleteTopics([topic]).finally(() => broker.close());
});

async function run(...args: readonly string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const plain = { isTTY: false, columns: 100 };
  const before = process.env.MILLRACE_BROKER_TOPIC;
  process.env.MILLRACE_BROKER_TOPIC = topic;
  const code = await runCli([...args, '--data', data], {
    stdin: Readable.from(['']),
    stdout: { ...plain, write: (text) => void out.push(text) },
    stderr: { ...plain, write: (text) => void err.push(text) },
    env: {},
    signal: new AbortController().signal,
  }).finally(() => {
    if (before === undefined) delete process.env.MILLRACE_BROKER_TOPIC;
    else process.env.MILLRACE_BROKER_TOPIC = before;
  });
  return { code, out: out.join(''), err: err.join('') };
}

test('without a broker it says how to name one', { skip }, async () => {
  const { code, err } = await run('broker', 'status');
  assert.equal(code, 1);
  assert.match(err, /No broker is configured[\s\S]*--broker kafka/);
});

test('topics are listed, made, and listed again; the URL is never shown', { skip }, async () => {
  const none = await run('broker', 'topics', '--broker', url);
  assert.match(none.out, new RegExp(`no topic of ${topic}[\\s\\S]*broker topics --create`));
  const made = await run('broker', 'topics', '--create', '--json', '--broker', url);
  assert.deepEqual(JSON.parse(made.out).items, [{ topic, partitions: 8 }]);
  const listed = await run('broker', 'topics', '--broker', url);
  assert.match(listed.out, new RegExp(`${topic}[\\s\\S]*8[\\s\\S]*yes`));
  for (const { out, err } of [none, made, listed]) assert.ok(!`${out}${err}`.includes(url));
});

test('status and lag are for people and for programs', { skip }, async () => {
  const status = await run('broker', 'status', '--broker', url);
  assert.equal(status.code, 0, status.err);
  assert.match(status.out, /there[\s\S]*relay behind +0 events/);
  const { health, relay } = JSON.parse(
    (await run('broker', 'status', '--json', '--broker', url)).out,
  );
  assert.equal(health.ok, true);
  assert.equal(relay.lag.length, 8);
  const lag = await run('broker', 'lag', '--broker', url);
  assert.match(lag.out, /relay behind/);
  assert.equal(
    JSON.parse((await run('broker', 'lag', '--json', '--broker', url)).out).relay.length,
    8,
  );
});

test('a broker that is away is said to be, with what to do', async () => {
  const { code, out } = await run('broker', 'status', '--broker', 'kafka://127.0.0.1:1');
  assert.equal(code, 1);
  assert.match(
    out,
    /away .*127\.0\.0\.1:1.*ECONNREFUSED[\s\S]*fix .*Start it, or correct --broker/,
  );
});

test('a URL of no broker is refused without showing it', async () => {
  const { code, err } = await run('broker', 'status', '--broker', 'nats://user:hidden@host');
  assert.notEqual(code, 0);
  assert.match(err, /No broker has nats:\/\/[\s\S]*fix .*kafka\+ssl, eventhubs, msk, confluent/);
  assert.ok(!err.includes('hidden'));
});

test('start goes through the broker, and says so', { skip }, async () => {
  const { code, out, err } = await run('start', '--once', '--broker', url);
  assert.equal(code, 0, err);
  assert.match(err, new RegExp(`events travel by .*, topic ${topic}`));
  assert.match(out, /deliveries to 8 groups/);
});

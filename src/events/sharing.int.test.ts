/** Several instances on one database: they share, take over, hand back, and stop gracefully. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually, gate } from '../../test/support/eventually.ts';
import { names, openMill } from '../../test/support/mill.ts';
import { seededRandom } from '../../test/support/random.ts';
import type { Millrace } from '../millrace.ts';

let database: TestDatabase;
before(async () => {
  database = await freshDatabase();
});
after(() => database.drop());

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

async function partitionsOf(mill: Millrace, group: string): Promise<number[]> {
  const { streams } = await mill.health();
  return streams.filter((stream) => stream.group === group).map(({ partition }) => partition);
}

it('two instances share the partitions, and the one that stays takes all', async (t) => {
  const { group, tenant, Thing } = names();
  const seen = new Map<string, number[]>();
  const open = async () => {
    const mill = await openMill(t, database.url);
    mill.subscribe({
      group,
      events: [Thing],
      handle: ({ key, payload }) =>
        void seen.set(String(key), [...(seen.get(String(key)) ?? []), payload.n]),
    });
    await mill.start();
    return mill;
  };
  const one = await open();
  await eventually('the first has all', async () => (await partitionsOf(one, group)).length === 4);
  const keys = numbers(12).map((n) => `k${n}`);
  let sent = 0;
  const publish = async (mill: Millrace, count: number) => {
    for (const end = sent + count; sent < end; sent += 1) {
      const n = sent;
      await mill.publishMany(keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }]));
    }
  };
  await publish(one, 5);
  const two = await open();
  const half = async (mill: Millrace) => (await partitionsOf(mill, group)).length === 2;
  const balancing = eventually('each has half', async () => (await half(one)) && (await half(two)));
  await publish(one, 5);
  await balancing;
  await publish(two, 5);
  await one.stop();
  await eventually('the second has all', async () => (await partitionsOf(two, group)).length === 4);
  await publish(two, 5);
  await eventually('all are handled', () =>
    keys.every((key) => (seen.get(key)?.length ?? 0) >= sent),
  );
  for (const key of keys) assert.deepEqual(seen.get(key), numbers(sent), key);
});

it('instances that come and go lose nothing, double nothing, and keep the order', async (t) => {
  const random = seededRandom(t);
  const { group, tenant, Thing } = names();
  const seen = new Map<string, number[]>();
  const open = async () => {
    const mill = await openMill(t, database.url, { heartbeatMs: 30 });
    mill.subscribe({
      group,
      events: [Thing],
      async handle({ key, payload }) {
        if (random.chance(0.3)) await new Promise(setImmediate);
        seen.set(String(key), [...(seen.get(String(key)) ?? []), payload.n]);
      },
    });
    await mill.start();
    return mill;
  };
  const publisher = await openMill(t, database.url);
  const keys = numbers(8).map((n) => `k${n}`);
  let mills = [await open(), await open()];
  for (const n of numbers(60)) {
    await publisher.publishMany(
      keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }]),
    );
    if (n % 15 !== 14) continue;
    const leaving = random.pick(mills);
    mills = [...mills.filter((mill) => mill !== leaving), await open()];
    await leaving.stop();
  }
  await eventually('all are handled', () =>
    keys.every((key) => (seen.get(key)?.length ?? 0) >= 60),
  );
  for (const key of keys) assert.deepEqual(seen.get(key), numbers(60), key);
});

it('stop waits for handlers, settles them, and hands the leases back', async (t) => {
  const { group, tenant, Thing } = names();
  const { Thing: Answer } = names();
  const mill = await openMill(t, database.url);
  const { open, opened } = gate();
  let started = 0;
  mill.subscribe({
    group,
    events: [Thing],
    async handle(_event, context) {
      started += 1;
      await opened;
      context.publish(Answer, { payload: { n: 1 } });
    },
  });
  await mill.start();
  await mill.publishMany(
    numbers(6).map((n) => [Thing, { tenantId: tenant, key: `k${n}`, payload: { n } }]),
  );
  await eventually('all have begun', () => started === 6);
  let stopped = false;
  const stopping = mill.stop().then(() => {
    stopped = true;
  });
  await new Promise(setImmediate);
  assert.ok(!stopped, 'it waits');
  open();
  await stopping;
  const witness = await openMill(t, database.url);
  const { events } = await witness.history.list({ tenantId: tenant, eventTypes: [Answer.type] });
  assert.equal(events.length, 6, 'every handler was settled');
  const leases = await witness.store.streams.leases([group], 60_000);
  assert.ok(leases.length === 4 && leases.every(({ workerId }) => workerId === null));
});

it('stop aborts handlers that outlast the grace period; their events come again', async (t) => {
  const { group, tenant, Thing } = names();
  const subscribe = (mill: Millrace, handle: (signal: AbortSignal) => Promise<void>) =>
    mill.subscribe({ group, events: [Thing], handle: (_event, { signal }) => handle(signal) });
  const stubborn = await openMill(t, database.url, { graceMs: 50 });
  let aborted = false;
  subscribe(
    stubborn,
    (signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          resolve();
        });
      }),
  );
  await stubborn.start();
  await stubborn.publish(Thing, { tenantId: tenant, key: 'k', payload: { n: 0 } });
  await eventually('it is under way', () => stubborn.totals().handled === 1);
  await stubborn.stop();
  assert.ok(aborted);
  let again = 0;
  const next = await openMill(t, database.url);
  subscribe(next, async () => {
    again += 1;
  });
  await next.start();
  await eventually('it comes again', () => again === 1);
});

it('an instance that cannot say that it lives stops working on what it lost', async (t) => {
  const { group, tenant, Thing } = names();
  const open = (name: string, seen: string[]) =>
    openMill(t, database.url, { timeToLiveMs: 300 }).then((mill) => {
      mill.subscribe({ group, events: [Thing], handle: () => void seen.push(name) });
      return mill;
    });
  const seen: string[] = [];
  const silent = await open('silent', seen);
  await silent.start();
  await eventually('it has all', async () => (await partitionsOf(silent, group)).length === 4);
  t.mock.method(silent.store.streams, 'heartbeat', () => Promise.reject(new Error('no route')));
  const other = await open('other', seen);
  await other.start();
  await eventually(
    'the other has all',
    async () => (await partitionsOf(other, group)).length === 4,
  );
  await eventually(
    'the silent one noticed',
    async () => (await silent.health()).streams.length === 0,
  );
  assert.match((await silent.health()).problems.join(), /heartbeat is overdue/);
  await silent.publish(Thing, { tenantId: tenant, key: 'k', payload: { n: 0 } });
  await eventually('it is handled', () => seen.length > 0);
  assert.deepEqual(seen, ['other']);
});

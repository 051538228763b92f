/** Retention in a running platform: what goes, who holds it, and groups on a log that was cut. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, it } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { ask, names, openMill } from '../../test/support/mill.ts';
import { connect } from '../connect.ts';
import { permanentFailure } from '../core/errors.ts';
import { createGroups } from '../events/groups.ts';
import type { Millrace } from '../millrace.ts';
import type { GroupRegistration } from '../ports/streams.ts';
import { LogUpkeep } from './log-upkeep.ts';

let database: TestDatabase;
// Each test its own: every group holds the log.
beforeEach(async () => {
  database = await freshDatabase();
});
afterEach(() => database.drop());

const keys = Array.from({ length: 12 }, (_, n) => `k${n}`);
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

/** A platform, a group that counts what it handles, and a sweeper without patience. */
function scene(mill: Millrace) {
  const { group, tenant, Thing } = names();
  const seen: number[] = [];
  const subscribe = (name: string, from: 'start' | 'end' = 'start') =>
    mill.subscribe({
      group: name,
      events: [Thing],
      from,
      handle: ({ tenantId, payload }) => {
        if (tenantId === tenant) seen.push(payload.n);
        if (payload.n < 0) throw permanentFailure('it is negative');
      },
    });
  const publish = (...all: number[]) =>
    mill.publishMany(
      all.flatMap((n) => keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }])),
    );
  const onError = (error: unknown) => assert.fail(String(error));
  const upkeep = new LogUpkeep({ store: mill.store.retention, retentionMs: 1, onError });
  const settled = async () => {
    const [positions, heads] = await Promise.all([
      mill.store.streams.positions([group]),
      mill.store.log.heads(),
    ]);
    return positions.every(({ partition, position }) => position === heads[partition]);
  };
  const sweep = async () => {
    await mill.store.retention.mark(0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    return upkeep.sweep();
  };
  return { group, tenant, Thing, seen, subscribe, publish, upkeep, settled, sweep };
}

it('removes what all groups have settled, and goes on working', async (t) => {
  const mill = await openMill(t, database.url);
  const { group, seen, subscribe, publish, upkeep, settled, sweep } = scene(mill);
  subscribe(group);
  await mill.start();
  for (let n = 0; n < 20; n += 1) await publish(n);
  await eventually('all are settled', settled);
  const heads = await mill.store.log.heads();
  assert.equal(await sweep(), sum(heads) - heads.filter((head) => head > 0).length);
  assert.deepEqual(upkeep.health.holds, []);
  assert.ok(upkeep.health.sweptAt !== null && upkeep.health.removed > 0);
  assert.deepEqual(await mill.store.log.heads(), heads);
  await publish(20);
  await eventually('the new ones too', () => seen.length === 21 * keys.length);
  await eventually('they are settled', settled);
});

it('names who holds the log: a dead letter, and a group that nobody runs', async (t) => {
  const mill = await openMill(t, database.url);
  const { group, tenant, seen, subscribe, publish, upkeep, settled, sweep } = scene(mill);
  subscribe(group);
  await mill.start();
  await publish(0);
  await mill.store.streams.registerGroup({ group: 'gone', eventTypes: ['*'], from: 'end' });
  await publish(5);
  await publish(-1);
  await publish(1);
  await eventually('all are settled', settled);
  assert.equal(await sweep(), keys.length, 'what was there before it came');
  const groups = createGroups(mill.store);
  const [gone] = await groups.list();
  const keeps = sum(await mill.store.log.heads()) - keys.length;
  assert.deepEqual([gone?.group, gone?.workers, gone?.keeps], ['gone', 0, keeps]);
  assert.equal(gone?.stopsAt?.reason, 'position');
  assert.ok(upkeep.health.holds.every((hold) => hold.group === 'gone'));
  await groups.remove('gone');
  assert.equal(await sweep(), keys.length, 'up to the first failure');
  assert.ok(upkeep.health.holds.length > 0);
  assert.ok(upkeep.health.holds.every((hold) => hold.reason === 'failure'));
  const [holder] = await groups.list();
  assert.deepEqual([holder?.group, holder?.openFailures], [group, 2 * keys.length]);
  await assert.rejects(groups.remove(group), { code: 'GROUP_STATE' });
  for (const letter of await mill.deadLetters.list({ tenantId: tenant, limit: 100 })) {
    await mill.deadLetters.skip(letter);
  }
  const waited = () => seen.filter((n) => n === 1).length === keys.length;
  await eventually('what waited behind them is handled', waited);
  await eventually('it is settled', async () => (await groups.list())[0]?.openFailures === 0);
  assert.ok((await sweep()) > 0);
  assert.deepEqual(upkeep.health.holds, []);
});

it('a group from the start begins with the first that is left, and reports no hole', async (t) => {
  const errors: unknown[] = [];
  const mill = await openMill(t, database.url, { onError: (error) => errors.push(error) });
  const { group, seen, subscribe, publish, settled, sweep } = scene(mill);
  await mill.start();
  for (let n = 0; n < 40; n += 1) await publish(n);
  await sweep();
  const before = await mill.store.log.heads();
  await publish(100, 101);
  // The tail of a process has all of it; another one reads the store.
  const other = await openMill(t, database.url, { onError: (error) => errors.push(error) });
  const there = scene(other);
  other.subscribe({
    group: `${group}-elsewhere`,
    events: [there.Thing],
    handle: () => void there.seen.push(1),
  });
  await other.start();
  subscribe(group);
  await mill.start();
  await eventually('all that is left is settled', settled);
  const parts = before.filter((head) => head > 0).length;
  const fresh = seen.filter((n) => n >= 100);
  assert.equal(fresh.length, 2 * keys.length);
  assert.ok(seen.length - fresh.length <= parts, 'and the last of each partition from before');
  await eventually('so it is elsewhere', async () => {
    const positions = await mill.store.streams.positions([`${group}-elsewhere`]);
    const heads = await mill.store.log.heads();
    return positions.every(({ partition, position }) => position === heads[partition]);
  });
  assert.equal((await mill.health()).status, 'ok');
  assert.deepEqual(errors, []);
  const starts = await mill.store.retention.starts();
  assert.ok(starts.every((start, partition) => start <= Math.max(1, before[partition] as number)));
});

it('a subscription takes no partition before it is registered', async (t) => {
  const mill = await openMill(t, database.url);
  const { group, Thing } = scene(mill);
  await mill.start();
  // Added and not started: heartbeats go on meanwhile.
  mill.subscribe({ group, events: [Thing], from: 'end', handle: () => {} });
  await new Promise((resolve) => setTimeout(resolve, 500));
  assert.deepEqual(await mill.store.streams.leases([group], 60_000), []);
  await mill.start();
  await eventually('it has its partitions', async () => {
    return (await mill.store.streams.leases([group], 60_000)).length > 0;
  });
});

it('a subscription that could not be registered is tried again', async (t) => {
  const mill = await openMill(t, database.url);
  const { group, tenant, Thing, seen, subscribe } = scene(mill);
  await mill.start();
  const { streams } = mill.store;
  const { registerGroup } = streams;
  let failing = true;
  Object.assign(streams, {
    registerGroup: (wanted: GroupRegistration) =>
      failing ? Promise.reject(new Error('away')) : registerGroup(wanted),
  });
  subscribe(group);
  await assert.rejects(mill.start(), /away/);
  failing = false;
  await mill.publish(Thing, { tenantId: tenant, key: 'k', payload: { n: 7 } });
  await eventually('it works', () => seen.length === 1);
});

it('says what it does in health, and refuses less than a minute', async (t) => {
  const plain = await openMill(t, database.url);
  const { retentionMs, holds } = (await plain.health()).log;
  assert.deepEqual([retentionMs, holds], [null, []]);
  const mill = await openMill(t, database.url, { logRetentionMs: 60_000 });
  assert.equal((await mill.health()).log.retentionMs, 60_000);
  assert.equal(mill.totals().removed, 0);
  for (const logRetentionMs of [0, 59_999, Number.NaN]) {
    await assert.rejects(connect(database.url, { logRetentionMs }), { code: 'CONFIG_INVALID' });
  }
});

it('sweeps by itself, and stops with its process', async (t) => {
  const mill = await openMill(t, database.url);
  const { publish } = scene(mill);
  const onError = (error: unknown) => assert.fail(String(error));
  const upkeep = new LogUpkeep({ store: mill.store.retention, retentionMs: 50, onError });
  upkeep.start();
  await publish(1, 2, 3);
  await eventually('one of each partition is left', async () => {
    await publish(4);
    const [row] = await ask<{ n: number }>(database.url, 'select count(*) n from millrace.event');
    return Number(row?.n) <= 2 * keys.length && upkeep.removed > 0;
  });
  await upkeep.stop();
});

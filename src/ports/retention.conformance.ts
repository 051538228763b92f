/**
 * Cases for retention: what is old goes from the cold end, and nothing that somebody may still ask
 * for. Each case has data of its own: every group of a store holds its log.
 */
import assert from 'node:assert/strict';
import { seededRandom } from '../../test/support/random.ts';
import type { StoredEvent } from '../core/event.ts';
import {
  appended,
  type CaseContext,
  type Cases,
  claimed,
  failure,
  readAll,
  routed,
  settlement,
  Thing,
} from './fixtures.conformance.ts';

const partition = 0;
const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;

function things({ store, tenant }: CaseContext, count: number, key = 'k') {
  const inputs = Array.from({ length: count }, (_, n) => ({ tenantId: tenant, key, payload: n }));
  return appended(
    store,
    inputs.map((input) => routed(store, { ...input, partition })),
  );
}

/** Everything so far is old, and goes if it may. */
async function trimAll({ store }: CaseContext, limit = 10_000) {
  await store.retention.mark(0);
  return store.retention.trim({ olderThanMs: 0, limit });
}

async function left({ store }: CaseContext): Promise<number[]> {
  const [start] = await store.retention.starts();
  const events = await readAll(store, { partition, after: (start as number) - 1 });
  assert.equal(events[0]?.offset, start, 'the log begins where it says');
  return events.map(({ offset }) => offset);
}

/** A group with a lease on the partition. */
async function joined({ store, group }: CaseContext, name = group) {
  const at = { group: name, partition };
  await store.streams.registerGroup({ group: name, eventTypes: [Thing.type], from: 'start' });
  const workerId = crypto.randomUUID();
  assert.ok(await store.streams.takeLease({ ...at, seenEpoch: 0, workerId }));
  return at;
}

export const retentionCases: Cases = {
  'the newest event of a partition stays, and offsets go on': async (context) => {
    const { store } = context;
    await things(context, 5);
    assert.deepEqual(await store.retention.starts(), new Array(store.partitions).fill(1));
    assert.deepEqual(await trimAll(context), { removed: 4, more: false, holds: [] });
    assert.deepEqual(await left(context), [5]);
    assert.deepEqual(await trimAll(context), { removed: 0, more: false, holds: [] });
    const [next] = await things(context, 1);
    assert.equal(next?.offset, 6);
    assert.equal((await store.log.heads())[partition], 6);
  },

  'what no mark covers that is old enough stays': async (context) => {
    const { store } = context;
    const trim = (olderThanMs: number) => store.retention.trim({ olderThanMs, limit: 1_000 });
    await things(context, 3);
    assert.equal((await trim(0)).removed, 0, 'nobody knows how old they are');
    await store.retention.mark(0);
    await things(context, 3);
    assert.equal((await trim(60_000)).removed, 0, 'younger than a minute');
    await store.retention.mark(60_000);
    assert.equal((await trim(0)).removed, 3, 'the second mark was too early');
    assert.deepEqual(await left(context), [4, 5, 6]);
  },

  'times and ids of a caller say nothing about age': async (context) => {
    const { store, tenant } = context;
    const old = { tenantId: tenant, key: 'k', payload: 1, timestamp: '1999-01-01T00:00:00.000Z' };
    const eventId = '00000000-0000-7000-8000-000000000001';
    await appended(store, [routed(store, { ...old, eventId, partition })]);
    await things(context, 2);
    await store.retention.mark(0);
    const { removed } = await store.retention.trim({ olderThanMs: 3_600_000, limit: 10 });
    assert.equal(removed, 0);
    assert.deepEqual(await left(context), [1, 2, 3]);
  },

  'nothing goes that a group has not settled': async (context) => {
    const { store } = context;
    const slow = await joined(context, 'slow');
    const fast = await joined(context, 'fast');
    await things(context, 10);
    const hold = (offset: number) => [{ partition, reason: 'position', group: 'slow', offset }];
    await store.streams.settle(settlement(fast, { seq: 1, position: 10 }));
    const first = await trimAll(context);
    assert.deepEqual(first, { removed: 0, more: false, holds: hold(0) }, 'it has no cursor yet');
    // What is settled out of order counts from the position on only.
    await store.streams.settle(settlement(slow, { seq: 1, position: 4, ahead: [6, 7, 8, 9, 10] }));
    assert.deepEqual(await trimAll(context), { removed: 4, more: false, holds: hold(4) });
    assert.deepEqual(await left(context), [5, 6, 7, 8, 9, 10]);
    await store.streams.settle(settlement(slow, { seq: 2, position: 10 }));
    assert.deepEqual(await trimAll(context), { removed: 5, more: false, holds: [] });
  },

  'a group from the end holds what comes after it': async (context) => {
    const { store } = context;
    await things(context, 4);
    const from = 'end' as const;
    await store.streams.registerGroup({ group: 'late', eventTypes: [Thing.type], from });
    await things(context, 4);
    assert.equal((await trimAll(context)).removed, 4);
    assert.deepEqual(await left(context), [5, 6, 7, 8]);
  },

  'events with an open failure stay, with all behind them': async (context) => {
    const { store, tenant } = context;
    const at = await joined(context);
    const events = await things(context, 6);
    const [, second, third] = events as [StoredEvent, StoredEvent, StoredEvent];
    const failures = [failure(second, 'dead'), failure(third, 'parked')];
    await store.streams.settle(settlement(at, { seq: 1, position: 6, failures }));
    const hold = { partition, reason: 'failure', group: at.group, offset: 2 };
    assert.deepEqual(await trimAll(context), { removed: 1, more: false, holds: [hold] });
    const ref = { tenantId: tenant, group: at.group, eventId: second.eventId };
    assert.deepEqual((await store.failures.find(ref))?.payload, 1);
    await store.failures.apply(ref, { verb: 'retry' });
    assert.equal((await trimAll(context)).removed, 0, 'retrying');
    const due = await store.failures.due(at, { keys: 9, perKey: 9 });
    assert.deepEqual(due[0]?.event, second);
    await store.streams.settle(settlement(at, { seq: 2, position: 6, resolved: [2, 3] }));
    assert.deepEqual(await trimAll(context), { removed: 4, more: false, holds: [] });
    assert.equal(
      await store.failures.find(ref),
      null,
      'a letter that is closed goes with its event',
    );
    assert.deepEqual(await store.failures.counts(tenant), []);
    assert.deepEqual(await left(context), [6]);
  },

  'a limit bounds a call, and the next ones finish': async (context) => {
    await things(context, 25);
    assert.deepEqual(await trimAll(context, 10), { removed: 10, more: true, holds: [] });
    assert.deepEqual((await left(context)).at(0), 11);
    assert.deepEqual(await trimAll(context, 10), { removed: 10, more: true, holds: [] });
    assert.deepEqual(await trimAll(context, 10), { removed: 4, more: false, holds: [] });
  },

  'a group that comes later begins with the first that is left': async (context) => {
    const { store, group } = context;
    await things(context, 200);
    await trimAll(context);
    await things(context, 2);
    const at = await joined(context);
    const opened = await store.streams.openCursor(at);
    assert.deepEqual(opened, { seq: 0, position: 199, ahead: [], blocked: [] });
    const stands = (await store.streams.positions([group])).find((one) => one.partition === 0);
    assert.equal(stands?.position, 199, 'it is not behind by what was removed');
    const offsets = async (after: number, types: string[] | null) =>
      (await readAll(store, { partition, after, limit: 1, types })).map(({ offset }) => offset);
    assert.deepEqual(await offsets(opened.position, [Thing.type]), [200, 201, 202]);
    assert.deepEqual(await offsets(0, null), [200, 201, 202]);
    assert.deepEqual(await offsets(7, [Thing.type]), [200, 201, 202]);
    assert.deepEqual(await offsets(7, ['nothing.of.this']), []);
    assert.equal((await trimAll(context)).removed, 0, 'and it holds them from then on');
  },

  'a read from before the log goes on at its first event at once': async (context) => {
    const { store } = context;
    await things(context, 2_000);
    await trimAll(context);
    // A scan looks at 16 offsets here: step by step it would take 125 reads.
    const request = { partition, after: 0, limit: 1, types: null };
    const { events, scannedTo, atHead } = await store.log.read(request);
    assert.deepEqual([events, scannedTo, atHead], [[], 1_999, false]);
  },

  'a group that registers while events go misses none': async (context) => {
    const { store, another, t } = context;
    const random = seededRandom(t);
    const other = await another();
    for (let round = 0; round < 30; round += 1) {
      const group = `new-${round}`;
      await things(context, 40);
      await store.retention.mark(0);
      const trimming = store.retention.trim({ olderThanMs: 0, limit: 10_000 });
      for (let i = random.below(3); i > 0; i -= 1) await other.ping();
      await other.streams.registerGroup({ group, eventTypes: [Thing.type], from: 'start' });
      const { position } = await other.streams.openCursor({ group, partition });
      await trimming;
      await store.retention.trim({ olderThanMs: 0, limit: 10_000 });
      const read = await readAll(other, { partition, after: position });
      assert.equal(read[0]?.offset, position + 1, `round ${round}: the first that was promised`);
      await store.streams.removeGroup({ group, aliveWithinMs: 0, discardFailures: false });
    }
  },

  'writers, readers and two that trim leave the log dense': async (context) => {
    const { store, another } = context;
    const other = await another();
    const at = await joined(context);
    let settled = 0;
    let writing = true;
    const write = async () => {
      for (let n = 0; n < 30; n += 1) await things(context, 20);
      writing = false;
    };
    const read = async () => {
      for (let seq = 1; settled < 600; seq += 1) {
        const page = await store.log.read({ partition, after: settled, limit: 50, types: null });
        const expected = page.events.map((_, i) => settled + i + 1);
        assert.deepEqual(
          page.events.map(({ offset }) => offset),
          expected,
        );
        settled = page.scannedTo;
        await store.streams.settle(settlement(at, { seq, position: settled }));
      }
    };
    const trim = async ({ retention }: typeof store) => {
      while (writing || settled < 600) {
        await retention.mark(0);
        await retention.trim({ olderThanMs: 0, limit: 37 });
      }
    };
    await Promise.all([write(), read(), trim(store), trim(other)]);
    while ((await trimAll(context, 100)).more);
    assert.deepEqual(await left(context), [600]);
  },

  'ids of removed events are forgotten': async (context) => {
    const { store, tenant } = context;
    const [first] = await things(context, 3);
    const { eventId } = first as StoredEvent;
    await trimAll(context);
    const again = routed(store, { tenantId: tenant, key: 'k', payload: 0, eventId, partition });
    const [position] = await store.log.append([again], { once: true });
    assert.deepEqual(position, { partition, offset: 4, duplicate: false });
  },

  'what is left of a causal tree is shown from its oldest member': async (context) => {
    const { store, tenant } = context;
    const add = async (name: string, parent: StoredEvent | null) => {
      const cause = parent && { causationId: parent.eventId, correlationId: parent.correlationId };
      const input = { tenantId: tenant, key: 'k', payload: name, partition, ...cause };
      return (await appended(store, [routed(store, input)]))[0] as StoredEvent;
    };
    const root = await add('root', null);
    await store.retention.mark(0);
    const child = await add('child', root);
    const grandchild = await add('grandchild', child);
    assert.equal((await store.retention.trim({ olderThanMs: 0, limit: 9 })).removed, 1);
    assert.equal(await store.history.find(tenant, root.eventId), null);
    assert.deepEqual(await store.history.causalTree(tenant, root.eventId), []);
    const tree = await store.history.causalTree(tenant, grandchild.eventId);
    assert.deepEqual(
      tree.map(({ depth, event }) => [depth, event]),
      [
        [0, child],
        [1, grandchild],
      ],
    );
    const listed = await store.history.list({ tenantId: tenant, key: 'k' });
    assert.deepEqual(listed.events, [child, grandchild]);
  },

  'groups say where they stand, and who of them lives': async (context) => {
    const { store, group } = context;
    const { at, events } = await claimed(context, { count: 3 });
    const workerId = crypto.randomUUID();
    await store.streams.heartbeat({ workerId, groups: [group] }, 60_000);
    const failures = [failure(events[1] as StoredEvent, 'dead')];
    await store.streams.settle(settlement(at, { seq: 1, position: 2, failures }));
    const [state, ...others] = await store.streams.groups(60_000);
    assert.deepEqual(others, []);
    assert.deepEqual([state?.group, state?.workers, state?.openFailures], [group, 1, 1]);
    assert.deepEqual(state?.eventTypes, [Thing.type]);
    assert.ok(Date.parse(state?.registeredAt as string) > 0);
    assert.equal(state?.partitions.length, store.partitions);
    const mine = state?.partitions[at.partition];
    assert.deepEqual(mine, { partition: at.partition, position: 2, firstFailure: 2 });
    await store.streams.retire(workerId);
    assert.equal((await store.streams.groups(60_000))[0]?.workers, 0);
  },

  'a group is removed when nobody runs it, and then holds nothing': async (context) => {
    const { store, group } = context;
    const at = await joined(context);
    const events = await things(context, 3);
    const remove = (discardFailures = false) =>
      store.streams.removeGroup({ group, aliveWithinMs: 60_000, discardFailures });
    const workerId = crypto.randomUUID();
    await store.streams.heartbeat({ workerId, groups: [group] }, 60_000);
    await assert.rejects(remove(true), code('GROUP_STATE'), 'a worker of it lives');
    await store.streams.retire(workerId);
    const failures = [failure(events[0] as StoredEvent, 'dead')];
    await store.streams.settle(settlement(at, { seq: 1, position: 1, failures }));
    await assert.rejects(remove(), code('GROUP_STATE'), 'it has a dead letter');
    await remove(true);
    await assert.rejects(remove(), code('NOT_FOUND'));
    assert.deepEqual(await store.streams.groups(60_000), []);
    const late = store.streams.settle(settlement(at, { seq: 2, position: 3 }));
    await assert.rejects(late, code('LEASE_LOST'), 'a worker of it was only frozen');
    assert.deepEqual(await trimAll(context), { removed: 2, more: false, holds: [] });
    await store.streams.registerGroup({ group, eventTypes: [Thing.type], from: 'start' });
    assert.equal((await store.streams.openCursor(at)).position, 2);
  },
};

/** Cases for groups, leases and settlements: one owner at a time, all or nothing. */
import assert from 'node:assert/strict';
import { eventually } from '../../test/support/eventually.ts';
import { seededRandom } from '../../test/support/random.ts';
import {
  appended,
  type CaseContext,
  type Cases,
  claimed,
  failure,
  numbered,
  routed,
  settlement,
  Thing,
} from './fixtures.conformance.ts';
import type { SettleResult } from './streams.ts';

const leaseLost = (error: unknown) => (error as { code?: string }).code === 'LEASE_LOST';
const ttlMs = 60_000;

async function positionOf({ store, group }: CaseContext, partition: number): Promise<number> {
  const positions = await store.streams.positions([group]);
  return positions.find((at) => at.partition === partition)?.position ?? -1;
}

export const streamCases: Cases = {
  'a heartbeat shows who lives, and retiring forgets': async ({ store, group }) => {
    const [one, two] = [crypto.randomUUID(), crypto.randomUUID()];
    await store.streams.heartbeat({ workerId: one, groups: [group] }, ttlMs);
    const live = await store.streams.heartbeat({ workerId: two, groups: [group, 'b'] }, ttlMs);
    const mine = live.filter(({ workerId }) => workerId === one || workerId === two);
    assert.equal(mine.length, 2);
    assert.deepEqual(mine.find(({ workerId }) => workerId === two)?.groups, [group, 'b']);
    await store.streams.retire(one);
    const rest = await store.streams.heartbeat({ workerId: two, groups: [group] }, ttlMs);
    assert.ok(!rest.some(({ workerId }) => workerId === one));
  },

  'a silent worker is not alive, and neither is its lease': async ({ store, group }) => {
    const workerId = crypto.randomUUID();
    await store.streams.heartbeat({ workerId, groups: [group] }, ttlMs);
    await store.streams.takeLease({ group, partition: 0, seenEpoch: 0, workerId });
    const [lease] = await store.streams.leases([group], ttlMs);
    assert.deepEqual(lease, { group, partition: 0, epoch: 1, workerId, ownerAlive: true });
    await eventually('a time to live of 1 ms passes', async () => {
      const [late] = await store.streams.leases([group], 1);
      return late?.ownerAlive === false;
    });
  },

  'of many workers that take a lease at once one gets it': async ({ store, another, group }) => {
    const stores = [store, await another()];
    for (let epoch = 0; epoch < 5; epoch += 1) {
      const tries = Array.from({ length: 8 }, (_, i) => {
        const { streams } = stores[i % 2] ?? store;
        const workerId = crypto.randomUUID();
        return streams.takeLease({ group, partition: 0, seenEpoch: epoch, workerId });
      });
      assert.equal((await Promise.all(tries)).filter(Boolean).length, 1, `epoch ${epoch + 1}`);
    }
    const [lease] = await store.streams.leases([group], ttlMs);
    assert.equal(lease?.epoch, 5);
  },

  'a lease handed back is free, with a higher epoch': async (context) => {
    const { at } = await claimed(context);
    const { streams } = context.store;
    await streams.releaseLease({ ...at, epoch: 1 });
    const lease = (await streams.leases([at.group], ttlMs)).find(
      (l) => l.partition === at.partition,
    );
    assert.equal(lease?.workerId, null);
    assert.equal(lease?.epoch, 2);
    await assert.rejects(streams.settle(settlement(at, { seq: 1, position: 0 })), leaseLost);
    const workerId = crypto.randomUUID();
    assert.ok(await streams.takeLease({ ...at, seenEpoch: 2, workerId }));
  },

  'a settlement moves the cursor and appends its events': async (context) => {
    const { at, events } = await claimed(context, { count: 3 });
    const { store, tenant, group } = context;
    const last = events.at(-1)?.offset as number;
    assert.equal((await store.streams.openCursor(at)).seq, 0);
    const follow = [...numbered(store, tenant, 'k', 2), ...numbered(store, tenant, 'other', 2)];
    const result = await store.streams.settle(
      settlement(at, { seq: 1, position: last, ahead: [last + 2, last + 5], events: follow }),
    );
    assert.deepEqual(result.keys, []);
    assert.deepEqual(
      result.appended.map(({ eventId }) => eventId),
      follow.map((f) => f.event.eventId),
    );
    for (const event of result.appended) {
      assert.deepEqual(await store.history.find(tenant, event.eventId), event);
    }
    assert.deepEqual(await store.streams.openCursor({ ...at, group }), {
      seq: 1,
      position: last,
      ahead: [last + 2, last + 5],
      blocked: [],
    });
    assert.equal(await positionOf(context, at.partition), last);
  },

  'an older epoch is refused, with all it brought': async (context) => {
    const { at } = await claimed(context, { count: 1 });
    const { store, tenant } = context;
    await store.streams.settle(settlement(at, { seq: 1, position: 1 }));
    await store.streams.takeLease({ ...at, seenEpoch: 1, workerId: crypto.randomUUID() });
    const events = numbered(store, tenant, 'late', 3);
    const late = store.streams.settle(settlement(at, { seq: 2, position: 2, events }));
    await assert.rejects(late, leaseLost);
    assert.equal((await store.history.list({ tenantId: tenant, key: 'late' })).events.length, 0);
    await store.streams.settle(settlement(at, { epoch: 2, seq: 2, position: 3 }));
    assert.equal(await positionOf(context, at.partition), 3);
  },

  'the same link is refused, with all it brought': async (context) => {
    const { at, events } = await claimed(context, { count: 2 });
    const { store, tenant } = context;
    await store.streams.settle(settlement(at, { seq: 1, position: 1 }));
    const again = store.streams.settle(
      settlement(at, {
        seq: 1,
        position: 2,
        events: numbered(store, tenant, 'late', 1),
        failures: [failure(events[0] as never, 'dead')],
      }),
    );
    await assert.rejects(again, leaseLost);
    assert.equal((await store.history.list({ tenantId: tenant, key: 'late' })).events.length, 0);
    assert.deepEqual(await store.failures.list({ tenantId: tenant }), []);
    assert.equal(await positionOf(context, at.partition), 1);
  },

  'of settlements racing for a link one wins': async (context) => {
    const { at } = await claimed(context);
    const { store, tenant, another, t } = context;
    const random = seededRandom(t);
    const stores = [store, await another()];
    for (let seq = 1; seq <= 8; seq += 1) {
      const tries = Array.from({ length: 4 }, async (_, i): Promise<SettleResult | null> => {
        const { streams } = stores[i % 2] ?? store;
        const events = numbered(store, tenant, 'race', random.below(3));
        return streams.settle(settlement(at, { seq, position: seq, events })).catch((error) => {
          assert.ok(leaseLost(error), String(error));
          return null;
        });
      });
      const won = (await Promise.all(tries)).filter((result) => result !== null);
      assert.equal(won.length, 1, `link ${seq}`);
    }
    const { seq } = await store.streams.openCursor(at);
    assert.equal(seq, 8);
  },

  'a take-over in the middle of a settlement fences one of the two': async (context) => {
    const { store, another } = context;
    const { at } = await claimed(context);
    const second = await another();
    let epoch = 1;
    for (let round = 0; round < 10; round += 1) {
      const { seq, position } = await store.streams.openCursor(at);
      const old = store.streams
        .settle(settlement(at, { epoch, seq: seq + 1, position: position + 1 }))
        .then(
          () => true,
          () => false,
        );
      await second.streams.takeLease({ ...at, seenEpoch: epoch, workerId: crypto.randomUUID() });
      epoch += 1;
      const opened = await second.streams.openCursor(at);
      const fresh = second.streams
        .settle(settlement(at, { epoch, seq: opened.seq + 1, position: opened.position + 1 }))
        .then(
          () => true,
          () => false,
        );
      const wins = (await Promise.all([old, fresh])).filter(Boolean).length;
      const after = await store.streams.openCursor(at);
      assert.equal(after.position - position, wins, 'each settlement that counted counts once');
      assert.equal(after.seq - seq, wins);
    }
  },

  'effects, follow-ups and cursor commit together': async (context) => {
    const { store, tenant } = context;
    const { at } = await claimed(context);
    const work = await store.streams.begin();
    const tx = await work.forTenant(tenant);
    await store.staging.stage(tx, [routed(store, { tenantId: tenant, key: 'effect', payload: 1 })]);
    const events = numbered(store, tenant, 'follow', 1);
    await work.settle(settlement(at, { seq: 1, position: 1, events }));
    await eventually('the effect is there', async () => {
      await store.staging.sequence(100);
      return (await store.history.list({ tenantId: tenant, key: 'effect' })).events.length === 1;
    });
    assert.equal((await store.history.list({ tenantId: tenant, key: 'follow' })).events.length, 1);
    assert.equal(await positionOf(context, at.partition), 1);
  },

  'a refused settlement undoes the effects': async (context) => {
    const { store, tenant } = context;
    const { at } = await claimed(context);
    await store.streams.settle(settlement(at, { seq: 1, position: 1 }));
    const work = await store.streams.begin();
    const tx = await work.forTenant(tenant);
    await store.staging.stage(tx, [routed(store, { tenantId: tenant, key: 'effect', payload: 1 })]);
    await assert.rejects(work.settle(settlement(at, { seq: 1, position: 2 })), leaseLost);
    await assert.rejects(async () => tx.query('select 1'), 'the transaction is closed');
    await store.staging.sequence(100);
    assert.equal((await store.history.list({ tenantId: tenant, key: 'effect' })).events.length, 0);
  },

  'a savepoint undoes one handler and leaves its neighbours': async (context) => {
    const { store, tenant } = context;
    const { at } = await claimed(context);
    const work = await store.streams.begin();
    for (const [n, keep] of [true, false, true].entries()) {
      const mark = await work.savepoint();
      // Different tenants in one transaction: each handler sees its own only.
      const tenantId = `${tenant}-${n}`;
      const tx = await work.forTenant(tenantId);
      await store.staging.stage(tx, [routed(store, { tenantId, key: 'k', payload: n })]);
      if (keep) await mark.release();
      else {
        await assert.rejects(async () => tx.query('select 1 / 0'));
        await mark.rollback();
      }
    }
    await work.settle(settlement(at, { seq: 1, position: 1 }));
    const kept = async (n: number) =>
      (await store.history.list({ tenantId: `${tenant}-${n}`, key: 'k' })).events.length;
    await eventually('the two that stayed are there', async () => {
      await store.staging.sequence(100);
      return (await kept(0)) === 1 && (await kept(2)) === 1;
    });
    assert.equal(await kept(1), 0);
  },

  'a group from the end starts behind what is there': async ({ store, tenant, group }) => {
    const [old] = await appended(store, numbered(store, tenant, 'k', 1));
    await store.streams.registerGroup({ group, eventTypes: [Thing.type], from: 'end' });
    const at = { group, partition: old?.partition as number };
    assert.equal((await store.streams.openCursor(at)).position, old?.offset);
    await appended(store, numbered(store, tenant, 'k', 1));
    await store.streams.registerGroup({ group, eventTypes: [Thing.type], from: 'end' });
    assert.equal((await store.streams.openCursor(at)).position, old?.offset, 'safe to repeat');
  },

  'pruning leaves the newest link and the newest lease': async (context) => {
    const { store } = context;
    const { at } = await claimed(context);
    for (let seq = 1; seq <= 5; seq += 1) {
      await store.streams.settle(settlement(at, { seq, position: seq }));
    }
    await store.streams.prune(1000);
    assert.equal((await store.streams.openCursor(at)).seq, 5);
    await store.streams.settle(settlement(at, { seq: 6, position: 6 }));
  },
};

/** Cases for events staged in a caller's transaction, and for notices. */
import assert from 'node:assert/strict';
import { eventually, gate } from '../../test/support/eventually.ts';
import { seededRandom } from '../../test/support/random.ts';
import { type CaseContext, type Cases, numbered, routed } from './fixtures.conformance.ts';
import type { Store } from './store.ts';

/** Calls until nothing is left that could be moved now. */
async function sequenceAll(store: Store): Promise<number> {
  let total = 0;
  for (;;) {
    const { moved } = await store.staging.sequence(100);
    total += moved;
    if (moved === 0) return total;
  }
}

async function payloads({ store, tenant }: CaseContext, key: string): Promise<unknown[]> {
  const { events } = await store.history.list({ tenantId: tenant, key, limit: 1000 });
  return events.map(({ payload }) => payload);
}

class Undo extends Error {}

export const stagingCases: Cases = {
  'staged events appear after the commit, in order': async (context) => {
    const { store, tenant } = context;
    const events = numbered(store, tenant, 'k', 5);
    await store.withTenant(tenant, async (tx) => {
      await store.staging.stage(tx, events.slice(0, 3));
      await store.staging.stage(tx, events.slice(3));
      assert.equal(await sequenceAll(await context.another()), 0);
    });
    assert.deepEqual(await payloads(context, 'k'), []);
    await eventually('the sequencer moves them', async () => (await sequenceAll(store)) === 5);
    assert.deepEqual(
      await payloads(context, 'k'),
      [0, 1, 2, 3, 4].map((n) => ({ n })),
    );
  },

  'staged in a transaction that is rolled back, never appear': async (context) => {
    const { store, tenant } = context;
    const undone = store.withTenant(tenant, async (tx) => {
      await store.staging.stage(tx, numbered(store, tenant, 'undone', 3));
      throw new Undo();
    });
    await assert.rejects(undone, Undo);
    await sequenceAll(store);
    assert.deepEqual(await payloads(context, 'undone'), []);
  },

  'a long transaction blocks neither appends nor other staged events': async (context) => {
    const { store, tenant, another } = context;
    const second = await another();
    const { open, opened } = gate();
    let staged = () => {};
    const isStaged = new Promise<void>((resolve) => {
      staged = resolve;
    });
    const long = second.withTenant(tenant, async (tx) => {
      await second.staging.stage(tx, [
        routed(store, { tenantId: tenant, key: 'k', payload: 'long' }),
      ]);
      staged();
      await opened;
    });
    await isStaged;
    await store.log.append([routed(store, { tenantId: tenant, key: 'k', payload: 'direct' })], {
      once: false,
    });
    await store.withTenant(tenant, (tx) =>
      store.staging.stage(tx, [routed(store, { tenantId: tenant, key: 'k', payload: 'short' })]),
    );
    await sequenceAll(store);
    assert.deepEqual(await payloads(context, 'k'), ['direct', 'short']);
    open();
    await long;
    await sequenceAll(store);
    assert.deepEqual(await payloads(context, 'k'), ['direct', 'short', 'long']);
  },

  'many stagers, rollbacks and two sequencers move each committed event once': async (context) => {
    const { store, tenant, t, another } = context;
    const random = seededRandom(t);
    const stores = [store, await another()];
    const committed: string[] = [];
    let staging = true;
    const stagers = Promise.all(
      Array.from({ length: 6 }, async (_, stager) => {
        for (let n = 0; n < 20; n += 1) {
          const undo = random.chance(0.3);
          const [event] = numbered(store, tenant, `k${random.below(5)}`, 1);
          const mine = stores[stager % 2] as Store;
          const work = mine.withTenant(tenant, async (tx) => {
            if (event) await mine.staging.stage(tx, [event]);
            if (undo) throw new Undo();
          });
          await work.catch((error) => assert.ok(error instanceof Undo, String(error)));
          if (!undo && event) committed.push(event.event.eventId);
        }
      }),
    ).finally(() => {
      staging = false;
    });
    const sequencers = stores.map(async (one) => {
      while (staging) await one.staging.sequence(1 + random.below(10));
    });
    await Promise.all([stagers, ...sequencers]);
    await sequenceAll(store);
    await sequenceAll(stores[1] as Store);
    const { events } = await store.history.list({ tenantId: tenant, limit: 1000 });
    assert.deepEqual(events.map(({ eventId }) => eventId).sort(), committed.sort());
  },

  'the same id staged twice is one event, and the sequencer goes on': async (context) => {
    const { store, tenant } = context;
    const twice = routed(store, { tenantId: tenant, key: 'k', payload: 'twice' });
    const next = routed(store, { tenantId: tenant, key: 'k', payload: 'next' });
    for (const event of [twice, twice, next]) {
      await store.withTenant(tenant, (tx) => store.staging.stage(tx, [event]));
    }
    await sequenceAll(store);
    assert.deepEqual(await payloads(context, 'k'), ['twice', 'next']);
    await store.withTenant(tenant, (tx) => store.staging.stage(tx, [twice]));
    await sequenceAll(store);
    assert.deepEqual(await payloads(context, 'k'), ['twice', 'next']);
  },

  "a tenant's transaction cannot publish for another tenant": async ({ store, tenant }) => {
    const foreign = routed(store, { tenantId: `${tenant}-b`, key: 'k', payload: 1 });
    await assert.rejects(
      store.withTenant(tenant, (tx) => store.staging.stage(tx, [foreign])),
      /cannot publish for another tenant/,
    );
  },

  'a notice reaches every listener, and none after close': async ({ store, another, group }) => {
    const second = await another();
    const heard: string[][] = [[], []];
    const onLost = () => {};
    const listeners = await Promise.all(
      [store, second].map((one, i) =>
        one.notices.listen({ onNotice: (notice) => heard[i]?.push(notice), onLost }),
      ),
    );
    await store.notices.send(`${group} one`);
    const got = (i: number, what: string) => heard[i]?.includes(`${group} ${what}`);
    await eventually('both hear it', () => got(0, 'one') && got(1, 'one'));
    await listeners[0]?.close();
    await second.notices.send(`${group} two`);
    await eventually('the other hears the second', () => got(1, 'two'));
    assert.ok(!got(0, 'two'));
    await listeners[1]?.close();
  },
};

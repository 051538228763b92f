/** Cases for history: filters, pages in both directions, causal trees, tenants apart. */
import assert from 'node:assert/strict';
import { seededRandom } from '../../test/support/random.ts';
import type { StoredEvent } from '../core/event.ts';
import {
  appended,
  type CaseContext,
  type Cases,
  Other,
  routed,
  Thing,
} from './fixtures.conformance.ts';
import type { EventFilter } from './history.ts';

const ids = (events: readonly StoredEvent[]) => events.map(({ eventId }) => eventId);

async function pages({ store }: CaseContext, filter: EventFilter): Promise<StoredEvent[]> {
  const all: StoredEvent[] = [];
  let after: string | undefined;
  for (;;) {
    const page = await store.history.list({ ...filter, ...(after !== undefined && { after }) });
    assert.ok(page.events.length <= (filter.limit ?? 100));
    all.push(...page.events);
    if (page.next === null) return all;
    after = page.next;
  }
}

/** A root, two children and a grandchild under the second; appended in that order. */
async function family({ store, tenant }: CaseContext, key: string | null) {
  const add = async (name: string, parent: StoredEvent | null) => {
    const [event] = await appended(store, [
      routed(store, {
        tenantId: tenant,
        key,
        payload: { name },
        ...(parent && { causationId: parent.eventId, correlationId: parent.correlationId }),
      }),
    ]);
    return event as StoredEvent;
  };
  const root = await add('root', null);
  const first = await add('first child', root);
  const second = await add('second child', root);
  const grandchild = await add('grandchild', second);
  return { root, first, second, grandchild };
}

async function assertTree(context: CaseContext, key: string | null): Promise<void> {
  const { store, tenant } = context;
  const tree = await family(context, key);
  await family(context, key); // a stranger on the same key
  const wanted = [
    [0, tree.root],
    [1, tree.first],
    [1, tree.second],
    [2, tree.grandchild],
  ];
  for (const [name, member] of Object.entries(tree)) {
    const found = await store.history.causalTree(tenant, member.eventId);
    assert.deepEqual(
      found.map(({ depth, event }) => [depth, event]),
      wanted,
      `from the ${name}`,
    );
  }
}

export const historyCases: Cases = {
  'events of a key come in the order of the log': async (context) => {
    const { store, tenant, t } = context;
    const random = seededRandom(t);
    const events = Array.from({ length: 60 }, (_, n) =>
      // Times and ids in disorder: neither decides.
      routed(store, {
        tenantId: tenant,
        key: random.pick(['a', 'b']),
        payload: n,
        timestamp: random.below(2 ** 40),
        ...(random.chance(0.5) && { eventId: crypto.randomUUID() }),
      }),
    );
    const stored = (await appended(store, events)).filter(({ key }) => key === 'a');
    for (const limit of [1, 7, 1000]) {
      const filter = { tenantId: tenant, key: 'a', limit };
      assert.deepEqual(ids(await pages(context, filter)), ids(stored));
      const back = await pages(context, { ...filter, newestFirst: true });
      assert.deepEqual(ids(back), ids(stored.toReversed()));
    }
  },

  'pages of a tenant are complete and without duplicates, both ways': async (context) => {
    const { store, tenant } = context;
    const events = Array.from({ length: 45 }, (_, n) =>
      routed(store, {
        tenantId: tenant,
        key: n % 3 === 0 ? null : `k${n % 7}`,
        payload: n,
        ...(n % 4 === 0 && { eventId: crypto.randomUUID() }),
      }),
    );
    const sorted = ids(await appended(store, events)).sort();
    for (const limit of [1, 4, 45, 100]) {
      const forth = await pages(context, { tenantId: tenant, limit });
      assert.deepEqual(ids(forth), sorted);
      const back = await pages(context, { tenantId: tenant, limit, newestFirst: true });
      assert.deepEqual(ids(back), sorted.toReversed());
    }
  },

  'events are found by type, time and correlation': async (context) => {
    const { store, tenant } = context;
    const at = (hour: number) => `2026-05-01T${String(hour).padStart(2, '0')}:00:00.000Z`;
    const stored = await appended(
      store,
      [0, 1, 2, 3, 4, 5].map((hour) =>
        routed(
          store,
          {
            tenantId: tenant,
            key: `k${hour % 2}`,
            payload: hour,
            timestamp: at(hour),
            ...(hour === 5 && { correlationId: 'k0' }),
          },
          hour < 3 ? Thing : Other,
        ),
      ),
    );
    const hours = async (filter: Partial<EventFilter>) =>
      (await pages(context, { tenantId: tenant, limit: 2, ...filter }))
        .map(({ payload }) => payload as unknown as number)
        .sort();
    assert.deepEqual(await hours({ eventTypes: [Other.type] }), [3, 4, 5]);
    assert.deepEqual(await hours({ eventTypes: [Other.type, Thing.type] }), [0, 1, 2, 3, 4, 5]);
    assert.deepEqual(await hours({ eventTypes: ['conformance.O*'] }), [3, 4, 5]);
    assert.deepEqual(await hours({ eventTypes: ['*.Thing', Other.type] }), [0, 1, 2, 3, 4, 5]);
    assert.deepEqual(await hours({ eventTypes: ['conformance_*'] }), []);
    assert.deepEqual(await hours({ from: at(1), to: at(4) }), [1, 2, 3], 'from and before to');
    assert.deepEqual(await hours({ key: 'k1', from: at(2) }), [3, 5]);
    assert.deepEqual(await hours({ correlationId: 'k0' }), [0, 2, 4, 5], 'by default the key');
    assert.deepEqual(await hours({ correlationId: 'none' }), []);
    assert.equal((await store.history.find(tenant, stored[2]?.eventId as string))?.payload, 2);
  },

  'an event without a key is found by its own id as correlation': async ({ store, tenant }) => {
    const [event] = await appended(store, [
      routed(store, { tenantId: tenant, key: null, payload: 1 }),
    ]);
    const correlationId = event?.eventId as string;
    assert.equal(event?.correlationId, correlationId);
    const page = await store.history.list({ tenantId: tenant, correlationId });
    assert.deepEqual(page.events, [event]);
  },

  'a causal tree of a key is whole from each of its members': (context) => assertTree(context, 'k'),

  'a causal tree without a key is whole from each of its members': (context) =>
    assertTree(context, null),

  'a causal tree across keys is whole from each of its members': async (context) => {
    const { store, tenant } = context;
    const [root] = await appended(store, [
      routed(store, { tenantId: tenant, key: 'a', payload: 0 }),
    ]);
    const { eventId: causationId, correlationId } = root as StoredEvent;
    const [child] = await appended(store, [
      routed(store, { tenantId: tenant, key: 'b', payload: 1, causationId, correlationId }),
    ]);
    for (const { eventId } of [root, child] as StoredEvent[]) {
      const found = await store.history.causalTree(tenant, eventId);
      assert.deepEqual(
        found.map(({ event }) => event),
        [root, child],
      );
    }
  },

  'a tree of an unknown event is empty, and so is its event': async ({ store, tenant }) => {
    assert.deepEqual(await store.history.causalTree(tenant, crypto.randomUUID()), []);
    assert.equal(await store.history.find(tenant, crypto.randomUUID()), null);
  },

  'one tenant sees nothing of another': async (context) => {
    const { store, tenant } = context;
    const { root } = await family(context, 'k');
    const stranger = `${tenant}-b`;
    assert.deepEqual(await pages(context, { tenantId: stranger }), []);
    assert.deepEqual(await pages(context, { tenantId: stranger, key: 'k' }), []);
    assert.equal(await store.history.find(stranger, root.eventId), null);
    assert.deepEqual(await store.history.causalTree(stranger, root.eventId), []);
  },

  'a request that cannot be answered names its fault': async ({ store, tenant }) => {
    const refused = (filter: Partial<EventFilter>) =>
      assert.rejects(
        store.history.list({ tenantId: tenant, ...filter }),
        (error) => (error as { code?: string }).code === 'REQUEST_INVALID',
        JSON.stringify(filter),
      );
    await refused({ limit: 0 });
    await refused({ limit: 1001 });
    await refused({ limit: 1.5 });
    await refused({ from: 'yesterday' });
    await refused({ after: 'nonsense' });
    await refused({ key: 'k', after: crypto.randomUUID() });
  },
};

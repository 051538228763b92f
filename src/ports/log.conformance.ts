/** Cases for the log: dense offsets in commit order, once, duplicates, reads that never skip. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../test/support/random.ts';
import { newEventId } from '../core/ids.ts';
import {
  appended,
  type Cases,
  numbered,
  Other,
  readAll,
  routed,
  Thing,
} from './fixtures.conformance.ts';

const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;

export const logCases: Cases = {
  'append answers with positions in the order given': async ({ store, tenant }) => {
    const keys = ['a', 'b', 'c', 'd', 'e', 'a', 'b', 'a'];
    const events = keys.map((key, n) => routed(store, { tenantId: tenant, key, payload: { n } }));
    const positions = await store.log.append(events, { once: false });
    for (const [i, { partition, offset, duplicate }] of positions.entries()) {
      assert.equal(duplicate, false);
      assert.equal(partition, events[i]?.partition);
      const { events: found } = await store.log.read({
        partition,
        after: offset - 1,
        limit: 1,
        types: null,
      });
      assert.deepEqual(found[0], { ...events[i]?.event, partition, offset });
    }
  },

  'an event comes back as it was given, to the last member': async ({ store, tenant }) => {
    const given = routed(store, {
      tenantId: tenant,
      key: 'Schlüssel 🗝 with "quotes", {braces}, \\ and NULL',
      payload: { text: 'ünï 🗝 \\ "x" {} , NULL', deep: [{ a: [1, -0.5, 1e15, true, null] }] },
      timestamp: '1969-12-31T23:59:59.999Z',
      correlationId: 'a case of its own',
      causationId: newEventId(),
      metadata: { source: 'test', nested: { n: 9_007_199_254_740_991 } },
    });
    const plain = routed(store, { tenantId: tenant, key: null, payload: null });
    for (const { event, ...rest } of [given, plain]) {
      const [stored] = await appended(store, [{ event, ...rest }]);
      assert.deepEqual(await store.history.find(tenant, event.eventId), stored);
    }
  },

  'eight writers with delays and rollbacks leave no hole': async ({
    store,
    tenant,
    t,
    another,
  }) => {
    const random = seededRandom(t);
    const stores = [store, await another()];
    const before = await store.log.heads();
    const acknowledged: { partition: number; offset: number; id: string }[] = [];
    await Promise.all(
      Array.from({ length: 8 }, async (_, writer) => {
        const mine = stores[writer % 2] ?? store;
        for (let n = 0; n < 25; n += 1) {
          if (random.chance(0.3)) await sleep(random.below(4));
          const events = Array.from({ length: 1 + random.below(4) }, () =>
            routed(store, {
              tenantId: tenant,
              key: `k${random.below(20)}`,
              payload: { writer, n },
            }),
          );
          if (random.chance(0.2)) {
            // A rolled back append: a settlement of nobody's partition is refused with its events.
            const work = await mine.streams.begin();
            await assert.rejects(
              work.settle({
                group: 'nobody',
                partition: 0,
                epoch: -1,
                seq: null as never,
                position: 0,
                ahead: [],
                events,
                failures: [],
                resolved: [],
              }),
            );
            continue;
          }
          const positions = await mine.log.append(events, { once: random.chance(0.5) });
          for (const [i, { partition, offset }] of positions.entries()) {
            acknowledged.push({ partition, offset, id: events[i]?.event.eventId as string });
          }
        }
      }),
    );
    for (const [partition, head] of (await store.log.heads()).entries()) {
      const after = before[partition] as number;
      const found = await readAll(store, { partition, after });
      assert.deepEqual(
        found.map(({ offset }) => offset),
        Array.from({ length: head - after }, (_, i) => after + i + 1),
        `partition ${partition} is dense`,
      );
      const mine = acknowledged.filter((position) => position.partition === partition);
      assert.equal(mine.length, found.length, 'what is stored was acknowledged, and the reverse');
      for (const { offset, id } of mine) assert.equal(found[offset - after - 1]?.eventId, id);
    }
  },

  'a reader that follows writers sees every event once and in order': async (context) => {
    const { store, tenant, t } = context;
    const random = seededRandom(t);
    const [first] = await appended(store, numbered(store, tenant, 'followed', 1));
    const { partition = 0, offset = 0 } = first ?? {};
    let writing = true;
    const writers = Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let n = 0; n < 30; n += 1) {
          await store.log.append(numbered(store, tenant, 'followed', 1 + random.below(5)), {
            once: false,
          });
        }
      }),
    ).finally(() => {
      writing = false;
    });
    const seen: number[] = [];
    for (let after = offset, last = false; ; ) {
      const page = await store.log.read({ partition, after, limit: 7, types: null });
      seen.push(...page.events.map((event) => event.offset));
      after = page.scannedTo;
      if (last && page.atHead) break;
      last = !writing;
    }
    await writers;
    const head = (await store.log.heads())[partition] as number;
    assert.deepEqual(
      seen,
      Array.from({ length: head - offset }, (_, i) => offset + i + 1),
    );
  },

  'a known id is a conflict, and with once it is found': async ({ store, tenant }) => {
    const known = routed(store, { tenantId: tenant, key: 'k', payload: 1 });
    const [position] = await store.log.append([known], { once: false });
    await assert.rejects(store.log.append([known], { once: false }), code('STORE_CONFLICT'));
    const fresh = routed(store, { tenantId: tenant, key: 'elsewhere', payload: 2 });
    const answers = await store.log.append([fresh, known], { once: true });
    assert.equal(answers[0]?.duplicate, false);
    assert.deepEqual(answers[1], { ...position, duplicate: true });
  },

  'the same id twice in one append is stored once': async ({ store, tenant }) => {
    const event = routed(store, { tenantId: tenant, key: 'k', payload: 1 });
    const answers = await store.log.append([event, event], { once: true });
    assert.equal(answers[0]?.offset, answers[1]?.offset);
    assert.deepEqual(
      answers.map(({ duplicate }) => duplicate),
      [false, true],
    );
    const page = await store.history.list({ tenantId: tenant });
    assert.equal(page.events.length, 1);
  },

  'the same id of two tenants is two events': async ({ store, tenant }) => {
    const eventId = newEventId();
    const one = routed(store, { tenantId: tenant, key: 'k', payload: 1, eventId });
    const two = routed(store, { tenantId: `${tenant}-b`, key: 'k', payload: 2, eventId });
    const answers = await store.log.append([one, two], { once: true });
    assert.deepEqual(
      answers.map(({ duplicate }) => duplicate),
      [false, false],
    );
    assert.equal((await store.history.find(tenant, eventId))?.payload, 1);
    assert.equal((await store.history.find(`${tenant}-b`, eventId))?.payload, 2);
    const three = routed(store, { tenantId: `${tenant}-c`, key: 'k', payload: 3, eventId });
    const later = await store.log.append([one, three], { once: true });
    assert.deepEqual(
      later.map(({ duplicate }) => duplicate),
      [true, false],
      'a known one of one tenant hides no new one of another',
    );
  },

  'a repeated try after an unknown outcome stores once': async ({ store, tenant, another }) => {
    const events = numbered(store, tenant, 'k', 50);
    const second = await another();
    // Both tries at once, as after a lost connection whose statement still runs on the server.
    const [one, two] = await Promise.all([
      store.log.append(events, { once: true }),
      second.log.append(events, { once: true }),
    ]);
    assert.deepEqual(
      one.map(({ offset }) => offset),
      two.map(({ offset }) => offset),
    );
    for (const [i] of events.entries()) {
      assert.notEqual(one[i]?.duplicate, two[i]?.duplicate, 'one of the two tries stored it');
    }
    assert.equal((await store.history.list({ tenantId: tenant, limit: 1000 })).events.length, 50);
  },

  'a filtered read advances past what it does not want': async ({ store, tenant }) => {
    const wanted = 3;
    const events = Array.from({ length: 200 }, (_, n) =>
      routed(store, { tenantId: tenant, key: 'k', payload: n }, n % 80 === wanted ? Other : Thing),
    );
    const [first] = await appended(store, events);
    const { partition = 0, offset = 1 } = first ?? {};
    const found: unknown[] = [];
    let after = offset - 1;
    let reads = 0;
    for (let atHead = false; !atHead; reads += 1) {
      const page = await store.log.read({ partition, after, limit: 2, types: [Other.type] });
      assert.ok(page.scannedTo > after || page.atHead, 'each read gets on');
      assert.ok(page.events.every((event) => event.eventType === Other.type));
      assert.ok(page.scannedTo - after <= 2 * 16, 'the scan is bounded');
      found.push(...page.events.map(({ payload }) => payload));
      after = page.scannedTo;
      atHead = page.atHead;
    }
    assert.deepEqual(found, [3, 83, 163]);
    assert.equal(after, offset + 199);
    assert.ok(reads >= 7);
  },

  'a * in a wanted type is any text, and nothing else is': async ({ store, tenant }) => {
    const names = [
      'like.shop.paid',
      'like.shopXpaid',
      'like.s_op.paid',
      'like.shop%paid',
      'Like.a',
    ];
    const events = names.slice(0, 3).map((type) => {
      const { event, ...rest } = routed(store, { tenantId: tenant, key: 'k', payload: type });
      return { ...rest, event: { ...event, eventType: type } };
    });
    const stored = await appended(store, events);
    const [{ partition = 0, offset = 1 } = {}] = stored;
    const found = async (...types: string[]) =>
      (await readAll(store, { partition, after: offset - 1, types })).map((e) => e.payload);
    assert.deepEqual(await found('like.*'), names.slice(0, 3));
    assert.deepEqual(await found('like.*.paid'), [names[0], names[2]]);
    assert.deepEqual(await found('like.s_op.*'), [names[2]], '_ is itself');
    assert.deepEqual(await found('like.shop%*'), [], '% is itself');
    assert.deepEqual(await found('*.shop.paid', names[1] as string), names.slice(0, 2));
    assert.deepEqual(await found('Like*'), [], 'case counts');
  },

  'reading beyond the head finds nothing and stays where it was': async ({ store, tenant }) => {
    const [stored] = await appended(store, numbered(store, tenant, 'k', 1));
    const { partition = 0, offset = 0 } = stored ?? {};
    for (const after of [offset, offset + 100]) {
      const page = await store.log.read({ partition, after, limit: 10, types: null });
      assert.deepEqual(page, { events: [], scannedTo: after, atHead: true });
    }
  },

  'an empty append is nothing': async ({ store }) => {
    assert.deepEqual(await store.log.append([], { once: false }), []);
    assert.deepEqual(await store.log.append([], { once: true }), []);
  },
};

/** Relay and feed with faults on the way to a real broker. Which one it is does not matter here. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually, gate } from '../../test/support/eventually.ts';
import {
  anyBroker,
  assignedTo,
  type Linked,
  openLinked,
  ownName,
  removeTopic,
} from '../../test/support/linked-mill.ts';
import { names } from '../../test/support/mill.ts';
import { openBroker } from '../connect.ts';
import type { StoredEvent } from '../core/event.ts';
import { openPostgresStore } from '../drivers/postgres/store.ts';
import type { Delivery } from '../ports/broker.ts';
import type { BrokerOptions } from './options.ts';
import { operatorTenant, refusedGroup } from './refusals.ts';
import { relayGroup } from './relay.ts';

const url = anyBroker?.url ?? '';
const skip = anyBroker === null && 'none of KAFKA_URL, AMQP_URL, REDIS_URL is set';
const longMs = 30_000;
const keys = ['a', 'b', 'c', 'd', 'e', 'f'];
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

let database: TestDatabase;
before(async () => {
  if (skip) return;
  database = await freshDatabase();
  await (await openPostgresStore({ url: database.url, partitions: 4 })).close();
});
after(() => database?.drop());

/** A topic of the test's own, and platforms that share it. */
function bench(t: TestContext, what: string) {
  const topic = ownName(what);
  removeTopic(t, url, topic);
  const named = names();
  const { tenant, Thing } = named;
  const seen = new Map<string, number[]>();
  return {
    ...named,
    topic,
    seen,
    note({ key, payload }: StoredEvent<{ n: number }>) {
      seen.set(String(key), [...(seen.get(String(key)) ?? []), payload.n]);
    },
    open: (more: Partial<BrokerOptions> = {}, mill = {}) =>
      openLinked(t, {
        database: database.url,
        broker: { url, topic, group: topic, ...more },
        mill,
      }),
    async send({ mill }: Linked, from: number, to: number) {
      for (let n = from; n < to; n += 1) {
        await mill.publishMany(
          keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }]),
        );
      }
    },
    all: (count: number) =>
      eventually(
        `${count} of each key are handled`,
        () => keys.every((key) => (seen.get(key)?.length ?? 0) >= count),
        longMs,
      ),
    inOrder(count: number) {
      for (const key of keys) assert.deepEqual(seen.get(key), numbers(count), key);
    },
  };
}

describe('relay and feed', { skip }, () => {
  it('groups wait while the broker is away, commands do not; then all goes on', async (t) => {
    const { group, Thing, note, open, send, all, inOrder, seen } = bench(t, 'away');
    const linked = await open();
    linked.mill.subscribe({ group, events: [Thing], from: 'end', handle: note });
    await linked.mill.start();
    await assignedTo(linked);
    await send(linked, 0, 5);
    await all(5);
    linked.broker.away = true;
    await send(linked, 5, 15);
    await eventually('it is known to be away', () => linked.link.feed.presence.away, longMs);
    const { problems, status, broker } = await linked.mill.health();
    assert.match(problems.join(), /the broker is away/);
    assert.equal(status, 'degraded');
    assert.ok((broker?.awayForMs ?? -1) >= 0);
    assert.equal(seen.get('a')?.length, 5);
    linked.broker.away = false;
    await all(15);
    inOrder(15);
    await eventually(
      'all is well',
      async () => (await linked.mill.health()).status === 'ok',
      longMs,
    );
  });

  it('stops promptly while the broker is away, and the next process relays the rest', async (t) => {
    const { group, Thing, note, open, send, all, inOrder } = bench(t, 'stop');
    const one = await open();
    await one.mill.start();
    await assignedTo(one);
    one.broker.away = true;
    await send(one, 0, 5);
    await eventually('it tries', () => one.link.relay.counts.retries > 0, longMs);
    const before = performance.now();
    await one.mill.stop();
    assert.ok(performance.now() - before < 8_000, `stopped in ${performance.now() - before} ms`);
    const two = await open();
    two.mill.subscribe({ group, events: [Thing], from: 'start', handle: note });
    await two.mill.start();
    await all(5);
    inOrder(5);
    await eventually(
      'everything is relayed',
      async () => (await two.link.relayLag()).every(({ events }) => events === 0),
      longMs,
    );
  });

  it('with a patience groups go on without the broker', async (t) => {
    const { group, Thing, note, open, send, all, inOrder } = bench(t, 'patience');
    const linked = await open({ patienceMs: 200 });
    linked.mill.subscribe({ group, events: [Thing], from: 'end', handle: note });
    await linked.mill.start();
    await assignedTo(linked);
    await send(linked, 0, 3);
    await all(3);
    linked.broker.away = true;
    await send(linked, 3, 8);
    await all(8);
    assert.equal(linked.broker.away, true);
    linked.broker.away = false;
    await send(linked, 8, 10);
    await all(10);
    inOrder(10);
  });

  it('what the broker loses is read from the log, in the middle and at the end', async (t) => {
    const { group, Thing, note, open, send, all, inOrder } = bench(t, 'gaps');
    const linked = await open();
    linked.mill.subscribe({ group, events: [Thing], from: 'end', handle: note });
    await linked.mill.start();
    await assignedTo(linked);
    await send(linked, 0, 3);
    await all(3);
    let count = 0;
    linked.broker.loses = () => {
      count += 1;
      return count % 4 === 0;
    };
    await send(linked, 3, 10);
    await all(10);
    linked.broker.loses = () => true;
    await send(linked, 10, 12);
    await all(12);
    inOrder(12);
    assert.ok(linked.link.feed.counts.gaps >= keys.length * 2, 'the test can fail');
  });

  it('what is published twice because an answer was lost has its effect once', async (t) => {
    const { group, Thing, note, open, send, all, inOrder } = bench(t, 'twice');
    const linked = await open();
    linked.mill.subscribe({ group, events: [Thing], from: 'end', handle: note });
    await linked.mill.start();
    await assignedTo(linked);
    for (let turn = 0; turn < 5; turn += 1) {
      linked.broker.answersLost = 2;
      await send(linked, turn * 4, turn * 4 + 4);
    }
    await all(20);
    await eventually('they came twice', () => linked.link.feed.counts.duplicates > 0, longMs);
    inOrder(20);
  });

  it('a refused event is a dead letter; its key waits, the others flow', async (t) => {
    const { group, tenant, topic, Thing, note, open, send, all, inOrder } = bench(t, 'refused');
    const linked = await open();
    const { mill, broker } = linked;
    mill.subscribe({ group, events: [Thing], from: 'end', handle: note });
    const arrived = await listen(t, topic);
    await mill.start();
    await assignedTo(linked);
    broker.refuses = ({ event }) => event.key === 'b' && (event.payload as { n: number }).n === 3;
    await send(linked, 0, 8);
    await all(8); // the groups have it from the log
    inOrder(8);
    const letter = await eventually('it is a dead letter', async () => {
      const [first] = await mill.deadLetters.list({ tenantId: tenant, group: relayGroup });
      return first?.waiting === 5 ? first : null; // four events, and the one that tells of it
    });
    assert.equal(letter.errorCode, 'BROKER_EVENT_REFUSED');
    const ofKey = (key: string) => arrived.get(key) ?? [];
    await eventually('the others are there', () => ofKey('a').length === 8, longMs);
    assert.deepEqual(ofKey('b'), [0, 1, 2]);
    const ref = { tenantId: tenant, group: relayGroup, eventId: letter.eventId };
    await mill.deadLetters.retry(ref);
    await eventually('it is refused again, and dead', async () => {
      const [first] = await mill.deadLetters.list({ tenantId: tenant, group: relayGroup });
      return linked.link.relay.counts.refused === 2 && first?.status === 'pending';
    });
    assert.deepEqual(ofKey('b'), [0, 1, 2]);
    broker.refuses = () => false;
    await mill.deadLetters.retry(ref);
    await eventually('they follow in order', () => ofKey('b').length === 8, longMs);
    assert.deepEqual(ofKey('b'), numbers(8));
    await send(linked, 8, 10);
    await eventually('the key flows again', () => ofKey('b').length === 10, longMs);
    assert.deepEqual(ofKey('b'), numbers(10));
  });

  it('a skipped event never comes, what waited behind it does', async (t) => {
    const { tenant, topic, open, send } = bench(t, 'skipped');
    const linked = await open();
    const arrived = await listen(t, topic);
    await linked.mill.start();
    await assignedTo(linked);
    linked.broker.refuses = ({ event }) =>
      event.key === 'c' && (event.payload as { n: number }).n === 1;
    await send(linked, 0, 4);
    const { deadLetters } = linked.mill;
    const letter = await eventually('it is a dead letter', async () => {
      const [first] = await deadLetters.list({ tenantId: tenant, group: relayGroup });
      return first ?? null;
    });
    await deadLetters.skip({ tenantId: tenant, group: relayGroup, eventId: letter.eventId });
    await eventually('the rest follows', () => (arrived.get('c') ?? []).length === 3, longMs);
    assert.deepEqual(arrived.get('c'), [0, 2, 3]);
  });
});

describe('groups', { skip }, () => {
  it('a slow one does not hold up a fast one, and loses nothing', async (t) => {
    const { group, Thing, note, open, send, all, inOrder } = bench(t, 'slow');
    const linked = await open({ bufferMax: 20 });
    const slow = new Map<string, number[]>();
    const door = gate();
    linked.mill.subscribe({ group, events: [Thing], from: 'end', handle: note });
    linked.mill.subscribe({
      group: `${group}-slow`,
      events: [Thing],
      from: 'end',
      async handle({ key, payload }) {
        await door.opened;
        slow.set(String(key), [...(slow.get(String(key)) ?? []), payload.n]);
      },
    });
    await linked.mill.start();
    await assignedTo(linked);
    await send(linked, 0, 80);
    await all(80);
    assert.equal(slow.size, 0);
    assert.ok(linked.link.feed.held.events <= 4 * 60, `${linked.link.feed.held.events} are held`);
    door.open();
    await eventually(
      'the slow one has them all',
      () => keys.every((key) => slow.get(key)?.length === 80),
      longMs,
    );
    for (const key of keys) assert.deepEqual(slow.get(key), numbers(80), key);
    inOrder(80);
    assert.ok(linked.link.feed.counts.evicted > 0, 'the test can fail');
  });

  it('one that comes late begins at the start all the same', async (t) => {
    const { group, Thing, note, open, send, all, inOrder } = bench(t, 'late');
    const linked = await open();
    await linked.mill.start();
    await assignedTo(linked);
    await send(linked, 0, 6);
    await eventually(
      'all of it is acknowledged',
      async () => (await linked.link.relayLag()).every(({ events }) => events === 0),
      longMs,
    );
    linked.mill.subscribe({ group, events: [Thing], from: 'start', handle: note });
    await linked.mill.start();
    await all(6);
    await send(linked, 6, 8);
    await all(8);
    inOrder(8);
  });

  it('of two workers with different ones each has all of its events', async (t) => {
    const { group, Thing, note, open, send, all, inOrder } = bench(t, 'sets');
    const one = await open();
    const two = await open();
    const other = new Map<string, number[]>();
    one.mill.subscribe({ group, events: [Thing], from: 'end', handle: note });
    two.mill.subscribe({
      group: `${group}-other`,
      events: [Thing],
      from: 'end',
      handle: ({ key, payload }) =>
        void other.set(String(key), [...(other.get(String(key)) ?? []), payload.n]),
    });
    await Promise.all([one.mill.start(), two.mill.start()]);
    await send(one, 0, 10);
    await all(10);
    await eventually(
      'the other group has them too',
      () => keys.every((key) => other.get(key)?.length === 10),
      longMs,
    );
    inOrder(10);
    for (const key of keys) assert.deepEqual(other.get(key), numbers(10), key);
  });
});

describe('a topic', { skip }, () => {
  it('that is missing is a problem where it may not be made, until it is there', async (t) => {
    const { group, topic, Thing, note, open, send, all, inOrder } = bench(t, 'missing');
    const linked = await open({ createTopics: false });
    if (!linked.broker.capabilities.createsTopics) return t.skip('topics are not made');
    linked.mill.subscribe({ group, events: [Thing], from: 'end', handle: note });
    await linked.mill.start();
    await send(linked, 0, 3);
    await eventually(
      'it is said',
      async () => /topic/.test((await linked.mill.health()).problems.join()),
      longMs,
    );
    await linked.broker.createTopics([{ topic, partitions: 4 }]);
    await all(3);
    inOrder(3);
    await eventually(
      'all is well',
      async () => (await linked.mill.health()).status === 'ok',
      longMs,
    );
  });

  it('refuses what is of another log, and keeps it as a dead letter', async (t) => {
    const { tenant, topic, Thing, open } = bench(t, 'foreign');
    const linked = await open();
    await linked.mill.start();
    await assignedTo(linked);
    const { partition, offset } = await linked.mill.publish(Thing, {
      tenantId: tenant,
      key: 'a',
      payload: { n: 0 },
    });
    const { events } = await linked.mill.store.log.read({
      partition,
      after: offset - 1,
      limit: 1,
      types: null,
    });
    const event = events[0] as StoredEvent;
    const place = { logId: crypto.randomUUID(), partition, offset: 999 };
    const outgoing = { topic, partition, event, payloadJson: '{"n":7}', metadataJson: null, place };
    await linked.broker.publish([outgoing]);
    const letter = await eventually(
      'it is a dead letter',
      async () => {
        for (const tenantId of [tenant, operatorTenant]) {
          const [first] = await linked.mill.deadLetters.list({ tenantId, group: refusedGroup });
          if (first !== undefined) return first;
        }
        return null;
      },
      longMs,
    );
    assert.match(letter.failureReason, /place-invalid/);
    assert.deepEqual(linked.link.refusals.counts, { 'place-invalid': 1 });
    await eventually(
      'and it does not come again',
      async () => (await linked.link.consumerLag()).every(({ lag }) => lag === 0),
      longMs,
    );
  });

  it('of each tenant is made when the tenant comes, and read', async (t) => {
    const { group, topic, Thing, note, open, all, inOrder } = bench(t, 'tenants');
    const linked = await open({ topic: `${topic}.{tenant}.x` });
    const tenants = ['acme', 'über & co'];
    for (const tenant of tenants) removeTopic(t, url, linked.link.topics.topicOf(tenant));
    linked.mill.subscribe({ group, events: [Thing], from: 'end', handle: note });
    await linked.mill.start();
    for (let n = 0; n < 6; n += 1) {
      await linked.mill.publishMany(
        keys.map((key, i) => [Thing, { tenantId: tenants[i % 2] as string, key, payload: { n } }]),
      );
    }
    await all(6);
    inOrder(6);
    const there = await linked.link.topicsAtBroker();
    assert.deepEqual(
      there.map((one) => one.topic).sort(),
      tenants.map((tenant) => linked.link.topics.topicOf(tenant)).sort(),
    );
    await eventually('they are read', () => linked.link.feed.topics.length === 2, longMs);
  });

  it('too far behind refuses to publish, where a limit says so', async (t) => {
    const { tenant, Thing, open, send } = bench(t, 'lag');
    const linked = await open({ lagMax: 10 });
    await linked.mill.start();
    linked.broker.away = true;
    await send(linked, 0, 5);
    await eventually(
      'it is refused',
      () =>
        linked.mill.publish(Thing, { tenantId: tenant, key: 'a', payload: { n: 9 } }).then(
          () => false,
          (error) => (error as { code?: string }).code === 'BACKPRESSURE',
        ),
      longMs,
    );
    linked.broker.away = false;
    await eventually(
      'it is accepted again',
      () =>
        linked.mill.publish(Thing, { tenantId: tenant, key: 'a', payload: { n: 10 } }).then(
          () => true,
          () => false,
        ),
      longMs,
    );
  });
});

/** What another system gets that reads the topic: numbers by key, in order of arrival. */
async function listen(t: TestContext, topic: string): Promise<Map<string, number[]>> {
  const broker = await openBroker(url);
  t.after(() => broker.close());
  if (broker.capabilities.createsTopics) await broker.createTopics([{ topic, partitions: 4 }]);
  const arrived = new Map<string, number[]>();
  const known = new Set<string>();
  const subscription = await broker.subscribe({
    group: `${topic}-foreign`,
    topics: [topic],
    from: 'start',
    onDeliveries(_, deliveries: readonly Delivery[]) {
      for (const { event } of deliveries) {
        if (event === null || !event.type.startsWith('Thing') || known.has(event.id)) continue;
        known.add(event.id);
        const key = String(event.key);
        arrived.set(key, [...(arrived.get(key) ?? []), JSON.parse(event.dataJson).n]);
      }
      const last = deliveries.at(-1);
      if (last) void subscription.acknowledge([last]).catch(() => {});
    },
    onAssigned: () => {},
    onRevoked: () => {},
    onError: () => {},
  });
  return arrived;
}

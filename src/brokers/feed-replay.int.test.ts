/** What a broker brings that was handled long ago, and topics that go and come back. */
import assert from 'node:assert/strict';
import { after, before, it, type TestContext } from 'node:test';
import { createClient } from '@redis/client';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import {
  anyBroker,
  assignedTo,
  eachBroker,
  type Linked,
  openLinked,
  ownName,
  removeTopic,
} from '../../test/support/linked-mill.ts';
import { names } from '../../test/support/mill.ts';
import { openBroker } from '../connect.ts';
import { openPostgresStore } from '../drivers/postgres/store.ts';
import { streamKey } from '../drivers/redis/streams/names.ts';
import { relayGroup } from './relay.ts';

const url = anyBroker?.url ?? '';
const skip = anyBroker === null && 'none of KAFKA_URL, AMQP_URL, REDIS_URL is set';
const longMs = 90_000;
const keys = ['a', 'b', 'c', 'd', 'e', 'f'];
const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

let database: TestDatabase;
before(async () => {
  database = await freshDatabase();
  await (await openPostgresStore({ url: database.url, partitions: 4 })).close();
});
after(() => database.drop());

/** Platforms on one topic, and what their group has handled: numbers by key. */
function bench(t: TestContext, at: string, what: string) {
  const { tenant, group, Thing } = names();
  const topic = ownName(what);
  removeTopic(t, at, topic);
  const seen = new Map<string, number[]>();
  const open = async (brokerGroup: string, prepare: (linked: Linked) => void = () => {}) => {
    const linked = await openLinked(t, {
      database: database.url,
      broker: { url: at, topic, group: brokerGroup },
    });
    prepare(linked);
    linked.mill.subscribe({
      group,
      events: [Thing],
      from: 'end',
      handle: ({ key, payload }) =>
        void seen.set(String(key), [...(seen.get(String(key)) ?? []), payload.n]),
    });
    await linked.mill.start();
    await assignedTo(linked);
    return linked;
  };
  const send = async ({ mill }: Linked, from: number, to: number) => {
    for (let n = from; n < to; n += 1) {
      await mill.publishMany(keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }]));
    }
  };
  const all = (count: number) =>
    eventually(
      `${count} of each key are handled`,
      () => keys.every((key) => (seen.get(key)?.length ?? 0) >= count),
      longMs,
    );
  const inOrder = (count: number) => {
    for (const key of keys) assert.deepEqual(seen.get(key), numbers(count), key);
  };
  return { tenant, topic, Thing, open, send, all, inOrder };
}

const relayed = ({ link }: Linked) =>
  eventually(
    'all of it is at the broker',
    async () => (await link.relayLag()).every(({ events }) => events === 0),
    longMs,
  );

it('a group is not held up by old events that the broker brings again', { skip }, async (t) => {
  const { topic, open, send, all, inOrder } = bench(t, url, 'replay');
  const one = await open(topic);
  await send(one, 0, 300);
  await all(300);
  await relayed(one);
  await one.mill.stop();
  const two = await open(`${topic}-other`, ({ broker }) => {
    broker.apartMs = 50;
  });
  await eventually('old ones come', () => two.link.feed.counts.delivered > 10, longMs);
  await send(two, 300, 303);
  await all(303);
  const { delivered } = two.link.feed.counts;
  assert.ok(delivered < 300 * keys.length, `${delivered} had come before`);
  inOrder(303);
  two.broker.apartMs = 0;
});

it('looking for topics from several sides at once subscribes once', { skip }, async (t) => {
  const linked = await openLinked(t, {
    database: database.url,
    broker: { url, topic: `${ownName('looks')}.{tenant}.x`, group: ownName('looks') },
  });
  const { tenant, Thing } = names();
  removeTopic(t, url, linked.link.topics.topicOf(tenant));
  await linked.mill.start();
  const topic = linked.link.topics.topicOf(tenant);
  await linked.link.createTopics([topic]);
  await Promise.all(numbers(4).map(() => linked.link.feed.lookForTopics()));
  await linked.mill.publish(Thing, { tenantId: tenant, key: 'a', payload: { n: 0 } });
  assert.deepEqual(linked.link.feed.topics, [topic]);
  assert.equal(linked.broker.subscriptions, 1);
});

it('each of several events that are refused is a dead letter', { skip }, async (t) => {
  const { tenant, topic, Thing, open, all, inOrder } = bench(t, url, 'refusals');
  const linked = await open(topic, ({ broker }) => {
    broker.namesLast = true;
    broker.refuses = ({ event }) => (event.payload as { n: number }).n === 1;
  });
  linked.broker.away = true; // so that they go out together
  await linked.mill.publishMany(
    numbers(3).flatMap((n) =>
      keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }] as const),
    ),
  );
  linked.broker.away = false;
  await eventually(
    'all are dead letters',
    async () => {
      const letters = await linked.mill.deadLetters.list({ tenantId: tenant, group: relayGroup });
      return letters.length === keys.length;
    },
    longMs,
  );
  await all(3);
  inOrder(3);
});

eachBroker((at) => {
  it('a topic that is deleted and made again goes on, with what is new', async (t) => {
    const { topic, open, send, all, inOrder } = bench(t, at, 'deleted');
    const linked = await open(topic);
    await send(linked, 0, 5);
    await all(5);
    await relayed(linked);
    const operator = await openBroker(at);
    t.after(() => operator.close());
    await operator.deleteTopics([topic]);
    await send(linked, 5, 10);
    await all(10);
    await send(linked, 10, 15);
    await all(15);
    await relayed(linked);
    inOrder(15);
    await linked.mill.stop();
    const next = await open(topic);
    await send(next, 15, 18);
    await all(18);
    inOrder(18);
  });
});

const redis = process.env.REDIS_URL ?? '';

it('what is trimmed away at the broker is read from the log', {
  skip: redis === '' && 'REDIS_URL is not set',
}, async (t) => {
  const { topic, open, send, all, inOrder } = bench(t, redis, 'trimmed');
  const linked = await open(topic);
  await send(linked, 0, 5);
  await all(5);
  await relayed(linked);
  await linked.mill.stop();
  const publisher = await openLinked(t, {
    database: database.url,
    broker: { url: redis, topic, group: `${topic}-other` },
  });
  await publisher.mill.start(); // it relays, and has no group for them
  await send(publisher, 5, 20);
  await relayed(publisher);
  const client = createClient({ url: redis });
  await client.connect();
  let trimmed = 0;
  for (const partition of numbers(4)) {
    trimmed += await client.xTrim(streamKey(topic, partition), 'MAXLEN', 0);
  }
  client.destroy();
  assert.ok(trimmed > 0, 'the test can fail');
  await publisher.mill.stop();
  const next = await open(topic);
  await all(20);
  await send(next, 20, 23);
  await all(23);
  inOrder(23);
});

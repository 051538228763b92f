/** Cases for publishing: durable, in order per partition, in batches and many calls at once. */
import assert from 'node:assert/strict';
import {
  type BrokerCases,
  idsOf,
  interleaved,
  keyIn,
  keysOf,
  numbered,
  outgoing,
  rejectsWith,
  upTo,
  within,
} from './broker.fixtures.conformance.ts';
import type { OutgoingEvent } from './broker.ts';

const small = (tenantId: string, key: string) => ({ tenantId, key, payload: { small: true } });

/** Ids per partition, in order. */
function byPartition(
  of: readonly { partition: number; id: string }[],
): ReadonlyMap<number, string[]> {
  const lists = new Map<number, string[]>();
  for (const { partition, id } of of) lists.set(partition, [...(lists.get(partition) ?? []), id]);
  return lists;
}

const published = (events: readonly OutgoingEvent[]) =>
  byPartition(events.map(({ partition, event }) => ({ partition, id: event.eventId })));

export const publishCases: BrokerCases = {
  'nothing to publish is nothing to wait for': async ({ broker }) => {
    await broker.publish([]);
  },

  'what is published comes to the partition it was published to': async (context) => {
    const topic = await context.topic();
    const member = await context.join(topic);
    const keys = keysOf(topic, context.tenant);
    const events = keys.map((key) => outgoing(topic, small(context.tenant, key)));
    await context.broker.publish(events);
    const came = await member.received(events.length);
    const partitionOf = new Map(came.map(({ event, partition }) => [event?.key, partition]));
    assert.deepEqual(
      keys.map((key) => partitionOf.get(key)),
      upTo(topic.partitions),
    );
  },

  'a batch of 10,000 events keeps its order in every partition': async (context) => {
    const topic = await context.topic(6);
    const member = await context.join(topic);
    const lists = Array.from({ length: 50 }, (_, k) =>
      numbered(topic, context.tenant, `batch-${k}`, { count: 200 }),
    );
    const events = interleaved(lists);
    assert.equal(events.length, 10_000);
    await context.broker.publish(events);
    const came = await member.received(events.length);
    const got = byPartition(
      came.map(({ partition, event }) => ({ partition, id: `${event?.id}` })),
    );
    for (const [partition, ids] of published(events)) {
      assert.deepEqual(got.get(partition), ids, `order of partition ${partition}`);
    }
  },

  'calls under way at once keep the order in which they were made': async (context) => {
    const { broker, tenant } = context;
    const topic = await context.topic();
    const member = await context.join(topic);
    const keys = keysOf(topic, tenant);
    const calls = Array.from({ length: 60 }, (_, c) =>
      interleaved(keys.map((key) => numbered(topic, tenant, key, { count: 5, first: c * 5 }))),
    );
    await Promise.all(calls.map((events) => broker.publish(events)));
    await member.received(300 * keys.length);
    for (const key of keys) assert.deepEqual(member.numbers(key), upTo(300), key);
  },

  'events of two topics in one batch each come to their own': async (context) => {
    const { broker, tenant, t } = context;
    if (!broker.capabilities.createsTopics) return t.skip('has one topic and makes none');
    const [one, two] = [await context.topic(2), await context.topic(3)];
    const first = await context.join(one);
    const second = await context.join(two);
    const lists = [
      numbered(one, tenant, 'k', { count: 50 }),
      numbered(two, tenant, 'k', { count: 40 }),
    ];
    await broker.publish(interleaved(lists));
    await Promise.all([first.received(50), second.received(40)]);
    assert.deepEqual([first.numbers('k'), second.numbers('k')], [upTo(50), upTo(40)]);
    assert.ok(first.deliveries.every(({ topic }) => topic === one.topic));
    assert.ok(second.deliveries.every(({ topic }) => topic === two.topic));
  },

  'an event that is too large is refused by its index, and the client goes on': async (context) => {
    const { broker, tenant } = context;
    const topic = await context.topic();
    const member = await context.join(topic);
    const key = keyIn(topic, tenant, 0);
    const bytes = Math.min((broker.capabilities.eventBytesMax ?? 4_194_304) + 1, 16_777_216);
    const huge = outgoing(topic, { tenantId: tenant, key, payload: 'small' });
    const events = [
      ...numbered(topic, tenant, key, { count: 2 }),
      { ...huge, payloadJson: JSON.stringify('x'.repeat(bytes)) },
      ...numbered(topic, tenant, key, { count: 1, first: 2 }),
    ];
    const [outcome] = await Promise.allSettled([broker.publish(events)]);
    if (outcome.status === 'rejected') {
      assert.ok(rejectsWith('BROKER_EVENT_REFUSED')(outcome.reason));
      assert.equal(outcome.reason.details?.index, 2);
    } else {
      assert.equal(broker.capabilities.eventBytesMax, null, 'it says that it takes less');
    }
    const last = outgoing(topic, { tenantId: tenant, key, payload: { n: 99 } });
    await broker.publish([last]);
    await within('the next event comes', () => member.ids.includes(last.event.eventId));
    const before = member.ids.indexOf(last.event.eventId);
    // What stood before the refused one may be there, in its order.
    const numbers = member.numbers(key).slice(0, before).filter(Number.isInteger);
    assert.deepEqual(numbers, [0, 1, 2].slice(0, numbers.length));
  },

  'an event published twice comes twice at most, under one id': async (context) => {
    const { broker, tenant } = context;
    const topic = await context.topic();
    const member = await context.join(topic);
    const key = keyIn(topic, tenant, 1);
    const events = numbered(topic, tenant, key, { count: 20 });
    const stop = numbered(topic, tenant, key, { count: 1, first: 20 });
    await broker.publish(events);
    await broker.publish(events);
    await broker.publish(stop);
    const wanted = [...idsOf(events), ...idsOf(stop)];
    const twice = [...idsOf(events), ...wanted];
    const once = broker.capabilities.deduplicates;
    await member.received(once ? wanted.length : twice.length);
    assert.deepEqual(member.ids, once ? wanted : twice);
  },
};

/** What Postgres as a broker does beyond the suite: its refusals, and its neighbours. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { freshDatabase } from '../../../../test/support/database.ts';
import { eventually } from '../../../../test/support/eventually.ts';
import { numbered, type Topic } from '../../../ports/broker.fixtures.conformance.ts';
import type { Broker, OutgoingEvent, SubscribeOptions } from '../../../ports/broker.ts';
import type { Store } from '../../../ports/store.ts';
import { openPostgresStore } from '../store.ts';
import { openPostgresBroker } from './broker.ts';

const topic: Topic = { topic: 'log', partitions: 4, from: 'start' };

async function opened(t: TestContext): Promise<{ store: Store; broker: Broker }> {
  const database = await freshDatabase();
  const store = await openPostgresStore({ url: database.url, partitions: topic.partitions });
  const broker = await openPostgresBroker({ store, topic: topic.topic, heartbeatMs: 100 });
  t.after(async () => {
    await broker.close();
    await store.close();
    await database.drop();
  });
  return { store, broker };
}

const events = (key: string, count: number) => numbered(topic, 'acme', key, { count });

/** Postgres keeps no text with the character NUL. */
function unstorable(key: string): OutgoingEvent {
  const [made] = events(key, 1) as [OutgoingEvent];
  return { ...made, event: { ...made.event, correlationId: 'a\u0000b' } };
}

async function subscribed(
  broker: Broker,
  group: string,
  options: Partial<SubscribeOptions> = {},
): Promise<{ ids: string[]; subscription: Awaited<ReturnType<Broker['subscribe']>> }> {
  const ids: string[] = [];
  const subscription = await broker.subscribe({
    ...{ group, topics: [topic.topic], from: 'start' as const },
    onDeliveries(_, deliveries) {
      ids.push(...deliveries.map(({ event }) => `${event?.id}`));
      void subscription.acknowledge(deliveries);
    },
    onAssigned() {},
    onRevoked() {},
    onError() {},
    ...options,
  });
  return { ids, subscription };
}

describe('Postgres as a broker', () => {
  it('brings a group from the start what is left of a log that was cut', async (t) => {
    const { broker, store } = await opened(t);
    const batch = events('k', 40);
    await broker.publish(batch.slice(0, 30));
    await store.retention.mark(0);
    await store.retention.trim({ olderThanMs: 0, limit: 1_000 });
    await broker.publish(batch.slice(30));
    const { ids } = await subscribed(broker, 'late');
    await eventually('the rest is there', () => ids.length >= 11);
    assert.deepEqual(
      ids,
      batch.slice(29).map(({ event }) => event.eventId),
    );
    await eventually('it is not behind', async () => {
      return (await broker.lag('late', [topic.topic])).every(({ lag }) => lag === 0);
    });
  });

  it('names the event that it can never store, and stores those before it', async (t) => {
    const { broker, store } = await opened(t);
    const good = events('k', 5);
    const batch = [...good.slice(0, 3), unstorable('k'), ...good.slice(3)];
    await assert.rejects(broker.publish(batch), (error: { code?: string; details?: unknown }) => {
      assert.equal(error.code, 'BROKER_EVENT_REFUSED');
      const eventId = batch[3]?.event.eventId;
      assert.deepEqual(error.details, { index: 3, eventId });
      return true;
    });
    const partition = good[0]?.partition as number;
    assert.equal((await store.log.heads())[partition], 3);
  });

  it('lets one refused batch spoil no other call under way', async (t) => {
    const { broker } = await opened(t);
    const calls = Array.from({ length: 9 }, (_, n) =>
      broker.publish(n % 3 === 1 ? [unstorable(`k${n}`)] : events(`k${n}`, 10)),
    );
    const outcomes = await Promise.allSettled(calls);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      calls.map((_, n) => (n % 3 === 1 ? 'rejected' : 'fulfilled')),
    );
    const { ids } = await subscribed(broker, 'all');
    await eventually('the others come', () => ids.length === 60, 20_000);
  });

  it('refuses a partition that the log does not have', async (t) => {
    const { broker } = await opened(t);
    const [made] = events('k', 1) as [OutgoingEvent];
    for (const partition of [-1, topic.partitions]) {
      await assert.rejects(broker.publish([made, { ...made, partition }]), {
        code: 'BROKER_EVENT_REFUSED',
        details: { index: 1 },
      });
    }
  });

  it('delivers what others append to the log, where it stands', async (t) => {
    const { broker, store } = await opened(t);
    const { ids } = await subscribed(broker, 'all');
    const routed = events('k', 10).map((event) => ({ ...event, checkDuplicate: false }));
    await store.log.append(routed, { once: false });
    await eventually('they come', () => ids.length === 10, 20_000);
    assert.deepEqual(
      ids,
      routed.map(({ event }) => event.eventId),
    );
  });

  it('moves the cursor that the log keeps for the group', async (t) => {
    const { broker, store } = await opened(t);
    const { ids, subscription } = await subscribed(broker, 'cursor');
    const batch = events('k', 10);
    await broker.publish(batch);
    await eventually('they come', () => ids.length === 10, 20_000);
    await subscription.close();
    const positions = await store.streams.positions(['cursor']);
    const partition = batch[0]?.partition;
    assert.equal(positions.find((at) => at.partition === partition)?.position, 10);
    const leases = await store.streams.leases(['cursor'], 60_000);
    assert.ok(
      leases.every(({ workerId }) => workerId === null),
      'every lease is handed back',
    );
  });

  it('waits 5 s at most for a member that does not let go', { timeout: 60_000 }, async (t) => {
    const { broker } = await opened(t);
    const errors: string[] = [];
    const stuck = await subscribed(broker, 'stuck', {
      onRevoked: () => new Promise(() => {}),
      onError: (_, where) => errors.push(where),
    });
    await eventually('it has all', () => stuck.subscription.assigned.length === 4, 20_000);
    const other = await subscribed(broker, 'stuck');
    await eventually('they share', () => other.subscription.assigned.length === 2, 20_000);
    assert.deepEqual(errors, ['onRevoked']);
    await broker.close();
  });

  it('cannot delete the log', async (t) => {
    const { broker } = await opened(t);
    await assert.rejects(broker.deleteTopics([topic.topic]), { code: 'CAPABILITY_MISSING' });
    await broker.deleteTopics(['another']);
  });
});

/** P9-1, P9-2, P9-13 and P9-23 with a real broker, by their acceptance criteria. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import {
  connect,
  defineEvent,
  EventPublisherService,
  getPartitionKey,
  partitionFor,
  permanentFailure,
} from 'millrace';
import { z } from 'zod';
import { openBroker } from '../../../src/connect.ts';
import { freshDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { foreignWorlds } from '../../support/foreign-producers.ts';
import { eachBroker, removeTopic } from '../../support/linked-mill.ts';

const waitMs = 40_000;
const partitions = 4;
let number = 0;

function names() {
  number += 1;
  const suffix = crypto.randomUUID().slice(0, 8);
  const Raised = defineEvent(`ExceptionRaised${number}`, {
    schema: z.object({ n: z.int() }),
  });
  const tenant = `tenant-${number}`;
  return { Raised, tenant, suffix, topic: `p9.${suffix}`, group: `p9-group-${number}` };
}

async function open(
  t: TestContext,
  broker: { readonly url: string; readonly topic: string; readonly group?: string },
  events: readonly ReturnType<typeof names>['Raised'][],
) {
  const database = await freshDatabase();
  const mill = await connect(database.url, {
    partitions,
    events,
    heartbeatMs: 200,
    timeToLiveMs: 3_000,
    graceMs: 5_000,
    pollMs: [20, 200],
    broker: { group: `group-${broker.topic.replace(/[^\w.-]/g, '')}`, gapMs: 500, ...broker },
  });
  t.after(async () => {
    await mill.stop();
    await database.drop();
  });
  return mill;
}

/** Everything on the topic as another application would read it. */
async function readAll(url: string, topic: string) {
  const broker = await openBroker(url);
  const seen: { readonly id: string; readonly partition: number; readonly n: number }[] = [];
  const subscription = await broker.subscribe({
    group: `reader-${topic}`,
    topics: [topic],
    from: 'start',
    onAssigned() {},
    onRevoked() {},
    onError() {},
    onDeliveries({ partition }, deliveries) {
      for (const { event } of deliveries) {
        if (event === null) continue;
        seen.push({ id: event.id, partition, n: JSON.parse(event.dataJson).n });
      }
    },
  });
  return {
    seen,
    async close() {
      await subscription.close();
      await broker.close();
    },
  };
}

eachBroker((url, name) =>
  describe('P9-1, P9-2, P9-13 and P9-23', () => {
    it('P9-1 "Connection management … functional", "Producer and consumer"', async (t) => {
      const { Raised, tenant, topic, group } = names();
      const mill = await open(t, { url, topic }, [Raised]);
      removeTopic(t, url, topic);
      const handled: number[] = [];
      mill.subscribe({
        group,
        events: [Raised],
        handle: (event) => void handled.push(event.payload.n),
      });
      await mill.start();
      for (let n = 1; n <= 20; n += 1) {
        await mill.publish(Raised, { tenantId: tenant, key: 'EX-1', payload: { n } });
      }
      await eventually('all of them', () => handled.length >= 20, waitMs);
      assert.deepEqual(
        handled,
        Array.from({ length: 20 }, (_, i) => i + 1),
      );
      await eventually('the relay', async () => mill.broker?.relay && relayed(mill) >= 20, waitMs);
      const health = await mill.broker?.broker.health();
      assert.equal(health?.ok, true);
    });

    it('P9-2 "Event persistence before publishing enforced", "Partitioning working"', async (t) => {
      const { Raised, tenant, topic } = names();
      const extra = `${topic}.copy`;
      const setup = await openBroker(url);
      await setup.createTopics([{ topic: extra, partitions: 3 }]);
      await setup.close();
      const reader = await readAll(url, extra);
      t.after(() => reader.close());
      const mill = await open(t, { url, topic }, [Raised]);
      removeTopic(t, url, topic);
      removeTopic(t, url, extra);
      const service = new EventPublisherService(mill);
      // Not started yet: nothing can reach the broker, and the event is durable already.
      const first = await service.publishEvent(extra, {
        event_type: Raised.type,
        tenant_id: tenant,
        exception_id: 'EX-1',
        payload: { n: 1 },
      });
      assert.ok(await mill.history.find(tenant, first.eventId));
      assert.equal(first.partitionKey, getPartitionKey(tenant, 'EX-1'));
      assert.equal(first.partition, partitionFor(tenant, 'EX-1', partitions));
      await mill.start();
      const data = (n: number) => ({
        eventType: Raised.type,
        tenantId: tenant,
        exceptionId: `EX-${n % 3}`,
        payload: { n },
      });
      const many = Array.from({ length: 30 }, (_, i) => data(i + 2));
      const published = await service.publishEvents(extra, many);
      assert.equal(published.length, 30);
      const copies = await eventually(
        'the copies',
        () => new Set(reader.seen.map(({ id }) => id)).size >= 30 && reader.seen,
        waitMs,
      );
      for (const { id, partition, n } of copies) {
        if (id === first.eventId) continue;
        assert.equal(partition, partitionFor(tenant, `EX-${n % 3}`, 3), `${n}`);
      }
      for (const key of [0, 1, 2]) {
        const order = copies.filter(({ id, n }) => n % 3 === key && id !== first.eventId);
        const once = [...new Map(order.map((one) => [one.id, one.n])).values()];
        assert.deepEqual(
          once,
          once.toSorted((a, b) => a - b),
        );
      }
      // The main topic has all of them as well.
      await eventually('the relay', () => relayed(mill) >= 30, waitMs);
    });

    it('P9-2 "Add event publishing to audit trail", and what is not allowed', async (t) => {
      const { Raised, tenant, topic } = names();
      const mill = await open(t, { url, topic }, [Raised]);
      removeTopic(t, url, topic);
      const service = new EventPublisherService(mill);
      const event = {
        eventType: Raised.type,
        tenantId: tenant,
        exceptionId: 'EX-7',
        payload: { n: 1 },
        eventId: crypto.randomUUID(),
      };
      const published = await service.publishEvent(topic, event);
      assert.equal((await service.publishEvent(topic, event)).duplicate, true);
      const ofTenant = await service.publishEvent(
        topic,
        { ...event, eventId: undefined },
        getPartitionKey(tenant),
      );
      assert.equal(ofTenant.partitionKey, tenant);
      const trail = await service.auditTrail(tenant, 'EX-7');
      assert.deepEqual(
        trail.map(({ eventId, topic: at, partitionKey }) => [eventId, at, partitionKey]),
        [[published.eventId, topic, `${tenant}:EX-7`]],
      );
      assert.equal((await service.auditTrail(tenant)).length, 2);
      const refused = (code: string, attempt: Promise<unknown>) =>
        assert.rejects(attempt, { code });
      await refused('EVENT_INVALID', service.publishEvent(topic, event, 'other-tenant:EX-7'));
      await refused('EVENT_INVALID', service.publishEvent('no name', event));
      await refused(
        'EVENT_UNKNOWN',
        service.publishEvent(topic, { ...event, eventType: 'Nobody' }),
      );
      const wrong = { ...event, payload: { n: 'one' } };
      await refused('EVENT_INVALID', service.publishEvents(topic, [event, wrong]));
    });

    it('P9-13 "Ordering per exception guaranteed", also when a handler fails', async (t) => {
      const { Raised, tenant, topic, group } = names();
      const mill = await open(t, { url, topic }, [Raised]);
      removeTopic(t, url, topic);
      const handled = new Map<string, number[]>();
      const failed = new Set<number>();
      mill.subscribe({
        group,
        events: [Raised],
        retry: { initialDelayMs: 1, maxDelayMs: 5, maxRetries: 5 },
        handle({ key, payload: { n } }) {
          if (n % 7 === 0 && !failed.has(n)) {
            failed.add(n);
            throw new Error('not yet');
          }
          handled.set(key as string, [...(handled.get(key as string) ?? []), n]);
        },
      });
      await mill.start();
      const service = new EventPublisherService(mill);
      const events = Array.from({ length: 120 }, (_, i) => ({
        eventType: Raised.type,
        tenantId: tenant,
        exceptionId: `EX-${i % 6}`,
        payload: { n: i },
      }));
      await service.publishEvents(topic, events);
      const count = () => [...handled.values()].reduce((sum, { length }) => sum + length, 0);
      await eventually('all of them', () => count() >= 120, waitMs);
      assert.equal(handled.size, 6);
      for (const [key, order] of handled) {
        assert.deepEqual(
          order,
          order.toSorted((a, b) => a - b),
          key,
        );
        assert.equal(order.length, 20);
      }
    });

    it('P9-13 "Kafka partition configuration working": as many as the log', async (t) => {
      const { Raised, tenant, topic } = names();
      const mill = await open(t, { url, topic }, [Raised]);
      removeTopic(t, url, topic);
      await mill.start();
      await mill.publish(Raised, { tenantId: tenant, key: 'EX-1', payload: { n: 1 } });
      await eventually('the relay', () => relayed(mill) >= 1, waitMs);
      const [info] = (await mill.broker?.broker.topics([topic])) ?? [];
      assert.equal(info?.partitions, partitions);
    });

    it('P9-23 "Topic naming … isolation", "Cross-tenant … prevented"', async (t) => {
      const { Raised, tenant, suffix, group } = names();
      const world = foreignWorlds.find((one) => one.name === name);
      assert.ok(world);
      const [mine, other] = [`${tenant}.a`, `${tenant}_a`];
      const topic = `p9${suffix}.{tenant}.events`;
      const mill = await open(t, { url, topic }, [Raised]);
      const { topics } = mill.broker as NonNullable<typeof mill.broker>;
      assert.notEqual(topics.topicOf(mine).replaceAll('.', '_'), topics.topicOf(other));
      for (const one of [mine, other]) removeTopic(t, url, topics.topicOf(one));
      const handled: string[] = [];
      mill.subscribe({
        group,
        events: [Raised],
        handle({ tenantId, payload: { n } }) {
          if (n === 13) throw permanentFailure('a forged event was handled');
          handled.push(`${tenantId} ${n}`);
        },
      });
      await mill.start();
      for (const tenantId of [mine, other]) {
        await mill.publish(Raised, { tenantId, key: 'EX-1', payload: { n: 1 } });
      }
      await eventually('both', () => handled.length >= 2, waitMs);
      assert.deepEqual(handled.toSorted(), [`${mine} 1`, `${other} 1`].toSorted());
      await eventually('both topics', () => relayed(mill) >= 2, waitMs);

      // Somebody who may write to one tenant's topic writes an event of the other tenant there.
      const producer = await world.producer();
      t.after(() => producer.close());
      const at = partitionFor(other, 'EX-1', partitions);
      const forged = {
        specversion: '1.0',
        id: crypto.randomUUID(),
        source: 'intruder',
        type: Raised.type,
        tenantid: other,
        subject: 'EX-1',
        logplace: `${mill.store.logId}/${at}/2`,
      };
      await producer.send(topics.topicOf(mine), [
        {
          partition: at,
          key: getPartitionKey(other, 'EX-1'),
          attributes: forged,
          body: '{"n":13}',
        },
      ]);
      const [letter] = await eventually(
        'the dead letter',
        async () => {
          const letters = await mill.deadLetters.list({
            tenantId: mine,
            group: 'refused-messages',
          });
          return letters.length > 0 && letters;
        },
        waitMs,
      );
      assert.match(letter?.failureReason ?? '', /tenant-mismatch/);
      assert.deepEqual(await mill.deadLetters.list({ tenantId: other }), []);
      assert.equal(handled.length, 2);
      assert.ok((mill.broker?.refusals.total ?? 0) >= 1);
    });
  }),
);

function relayed(mill: Awaited<ReturnType<typeof connect>>): number {
  return mill.broker?.relay.counts.relayed ?? 0;
}

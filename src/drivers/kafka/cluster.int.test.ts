/**
 * Three nodes, one of them away at a time: leaders and coordinators move under load, and nothing is
 * lost, doubled out of order, or stuck.
 */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../../test/support/eventually.ts';
import { noKafka, startKafka } from '../../../test/support/kafka-server.ts';
import { isMillraceError } from '../../core/errors.ts';
import type { Broker, BrokerSubscription, OutgoingEvent } from '../../ports/broker.ts';
import { openKafkaBroker } from './broker.ts';
import { Cluster } from './cluster.ts';
import { clientSettings } from './security/settings.ts';

const partitions = 6;
/** A silent node is given up after 5 s; a machine with more to do than cores takes longer. */
const patienceMs = 60_000;
/** Three servers of its own beside all others: only where three are wanted. */
const skip =
  process.env.KAFKA_CLUSTER_URL === undefined
    ? 'KAFKA_CLUSTER_URL is not set: eval "$(scripts/services.sh up kafka-cluster)"'
    : noKafka;

function event(topic: string, partition: number, number: number): OutgoingEvent {
  return {
    topic,
    partition,
    payloadJson: String(number),
    metadataJson: null,
    place: { logId: 'log', partition, offset: number },
    event: {
      eventId: randomUUID(),
      eventType: 'Counted',
      version: 1,
      tenantId: 'acme',
      key: `key-${partition}`,
      timestamp: new Date().toISOString(),
      correlationId: 'c',
      causationId: null,
      payload: number,
      metadata: {},
    },
  };
}

/** As the relay does it: the next batch after the last one is acknowledged, else the same again. */
function load(broker: Broker, topic: string) {
  let isRunning = true;
  let count = 0;
  const run = async () => {
    while (isRunning) {
      const batch = Array.from({ length: partitions * 20 }, (_, i) =>
        event(topic, i % partitions, count + Math.floor(i / partitions)),
      );
      try {
        await broker.publish(batch);
        count += 20;
      } catch (error) {
        assert.ok(isMillraceError(error) && error.code === 'BROKER_UNAVAILABLE', String(error));
      }
      await sleep(5);
    }
  };
  const done = run();
  return {
    get count() {
      return count;
    },
    async stop() {
      isRunning = false;
      await done;
      return count;
    },
  };
}

/** Every replica is in sync, so that one node may go without the others refusing what comes. */
async function isWhole(cluster: Cluster, topics: readonly string[]): Promise<boolean> {
  interface Answer {
    readonly topics: readonly {
      readonly partitions: readonly { readonly isrNodes: readonly number[] }[];
    }[];
  }
  const answer = await cluster.call<Answer>('Metadata', null, [topics, false, false]);
  return answer.topics.every(({ partitions: all }) =>
    all.every(({ isrNodes }) => isrNodes.length === 3),
  );
}

describe('Kafka driver on three nodes', { skip }, () => {
  it('goes on while nodes are killed, stopped and silent, one after the other', async (t) => {
    const kafka = await startKafka(t, { nodes: 3 });
    const publisher = await openKafkaBroker({ url: kafka.url, publishTimeoutMs: 15_000 });
    t.after(() => publisher.close());
    const consumer = await openKafkaBroker({ url: kafka.url });
    t.after(() => consumer.close());
    const topic = `cluster-${randomBytes(5).toString('hex')}`;
    await publisher.createTopics([{ topic, partitions, replicas: 3 }]);

    const seen = Array.from({ length: partitions }, (): number[] => []);
    const joined = Promise.withResolvers<BrokerSubscription>();
    const subscription = await consumer.subscribe({
      group: `group-${randomBytes(5).toString('hex')}`,
      topics: [topic],
      from: 'start',
      onDeliveries: ({ partition }, deliveries) => {
        for (const { event: one } of deliveries) seen[partition]?.push(Number(one?.dataJson));
        joined.promise.then((own) => own.acknowledge(deliveries)).catch(() => {});
      },
      onAssigned: () => {},
      onRevoked: () => {},
      onError: () => {},
    });
    joined.resolve(subscription);

    const writing = load(publisher, topic);
    t.after(() => writing.stop());
    const cluster = new Cluster(await clientSettings({ url: kafka.url }));
    t.after(() => cluster.close());
    const goesOn = async (what: string) => {
      const started = performance.now();
      const [from, came] = [writing.count + 100, seen.flat().length + 500];
      await eventually(`${what}: publishing goes on`, () => writing.count > from, patienceMs);
      await eventually(`${what}: deliveries go on`, () => seen.flat().length > came, patienceMs);
      t.diagnostic(`${what}: after ${Math.round(performance.now() - started)} ms`);
    };
    await goesOn('at first');
    await kafka.kill(1);
    await goesOn('node 1 is killed');
    await kafka.restart(1);
    await eventually(
      'node 1 has caught up',
      () => isWhole(cluster, [topic, '__consumer_offsets']).catch(() => false),
      patienceMs,
    );
    kafka.pause(2);
    await goesOn('node 2 is silent');
    kafka.resume(2);
    await goesOn('node 2 is back');
    const count = await writing.stop();
    await eventually(
      'the last ones come',
      () => seen.every((all) => all.includes(count - 1)),
      patienceMs,
    );
    for (const [partition, all] of seen.entries()) {
      let next = 0;
      for (const number of all) {
        assert.ok(number <= next, `partition ${partition}: ${number} came before ${next}`);
        if (number === next) next += 1;
      }
      assert.equal(next, count, `partition ${partition}`);
    }
    await subscription.close();
  });
});

/** RabbitMQ: our driver against rabbitmq-client by itself, on the same quorum queues, confirmed. */
import { newEventId, openBroker } from 'millrace';
import { type AsyncMessage, Connection, type Envelope } from 'rabbitmq-client';
import {
  acknowledgeEvery,
  batchSize,
  type Contest,
  inFlightMax,
  latencyProbe,
  makeEvents,
  ourSide,
  partitions,
  rateClock,
  type Side,
} from './contest.ts';

const group = 'bench';

export async function openRabbitContest(url: string): Promise<Contest> {
  const broker = await openBroker(url);
  const stamp = newEventId();
  const [publishes, consumes] = [`bench-publish-${stamp}`, `bench-consume-${stamp}`];
  await broker.createTopics([publishes, consumes].map((topic) => ({ topic, partitions })));
  for (const topic of [publishes, consumes]) {
    // The queues of a group are there from its first subscription on.
    const subscription = await broker.subscribe({
      ...{ group, topics: [topic], from: 'start' },
      ...{ onDeliveries() {}, onAssigned() {}, onRevoked() {}, onError() {} },
    });
    await subscription.close();
  }
  await broker.publish(makeEvents(publishes, batchSize));
  const bare = await openBare(url, { publishes, consumes });
  const quiet = `bench-latency-${stamp}`;
  await broker.createTopics([{ topic: quiet, partitions }]);
  const probe = await latencyProbe(broker, quiet);
  return {
    name: 'rabbitmq',
    ours: ourSide(broker, { publishes, consumes, group: () => group }),
    bare,
    clear: () => bare.purge(publishes),
    async fill(count) {
      await bare.purge(consumes);
      for (let n = 0; n < count; n += batchSize) {
        await broker.publish(makeEvents(consumes, batchSize));
      }
    },
    latencyMs: probe.once,
    async close() {
      await probe.close();
      await bare.close();
      await broker.deleteTopics([publishes, consumes, quiet]);
      await broker.close();
    },
  };
}

interface Topics {
  readonly publishes: string;
  readonly consumes: string;
}

async function openBare(url: string, { publishes, consumes }: Topics) {
  const connection = new Connection(url);
  const channel = await connection.acquire();
  await channel.confirmSelect();
  const template: AsyncMessage[] = [];
  for (let p = 0; p < partitions; p += 1) {
    template.push(...(await takeAll(connection, queueOf(publishes, p), batchSize / partitions)));
  }
  const messages = interleaved(template).map(({ routingKey, headers, body, ...properties }) => {
    const { contentType, contentEncoding } = properties;
    const envelope: Envelope = {
      ...{ exchange: publishes, routingKey, durable: true },
      ...{ headers, contentType, contentEncoding },
    };
    return [envelope, body as Buffer] as const;
  });
  const side: Side = {
    publish: () => Promise.all(messages.map((message) => channel.basicPublish(...message))),
    async consume(count) {
      const clock = rateClock(count);
      const lanes = await Promise.all(
        Array.from({ length: partitions }, async (_, p) => {
          const lane = await connection.acquire();
          await lane.basicQos({ prefetchCount: inFlightMax });
          await lane.basicConsume({ queue: queueOf(consumes, p) }, ({ deliveryTag }) => {
            clock.count(1);
            const isLast = deliveryTag === count / partitions;
            if (deliveryTag % acknowledgeEvery === 0 || isLast) {
              lane.basicAck({ deliveryTag, multiple: true });
            }
          });
          return lane;
        }),
      );
      const rate = await clock.rate;
      await Promise.all(lanes.map((lane) => lane.close()));
      return rate;
    },
  };
  return {
    ...side,
    async purge(topic: string): Promise<void> {
      for (let p = 0; p < partitions; p += 1) {
        await channel.queuePurge({ queue: queueOf(topic, p) });
      }
    },
    async close(): Promise<void> {
      await channel.close();
      await connection.close();
    },
  };
}

/** As docs/rabbitmq.md names them. */
const queueOf = (topic: string, partition: number) => `${topic}.${group}.${partition}`;

/** basic.get is refused where one consumer is active at a time. */
async function takeAll(connection: Connection, queue: string, count: number) {
  const channel = await connection.acquire();
  const found: AsyncMessage[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  await channel.basicConsume({ queue, noAck: true }, (message) => {
    if (found.push(message) === count) resolve();
  });
  await promise;
  await channel.close();
  return found;
}

/** One of each partition in turn, as our side publishes them. */
function interleaved(messages: readonly AsyncMessage[]): AsyncMessage[] {
  const each = messages.length / partitions;
  return messages.map(
    (_, i) => messages[(i % partitions) * each + Math.floor(i / partitions)],
  ) as AsyncMessage[];
}

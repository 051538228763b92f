/**
 * Producers of other systems, with the bare clients: they know nothing of Millrace, and write
 * CloudEvents in binary mode as the bindings of each broker say.
 */
import { Producer, stringSerializers } from '@platformatic/kafka';
import { createClient } from '@redis/client';
import { Connection } from 'rabbitmq-client';
import { openKafkaBroker } from '../../src/drivers/kafka/broker.ts';
import { openRabbitmqBroker } from '../../src/drivers/rabbitmq/broker.ts';
import { openRedisBroker } from '../../src/drivers/redis/streams/broker.ts';
import type { Broker } from '../../src/ports/broker.ts';

export interface ForeignMessage {
  readonly partition: number;
  readonly key?: string;
  /** CloudEvents attributes; the producer adds the prefix. */
  readonly attributes: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
}

export interface ForeignProducer {
  /** In order, each in its partition; resolves when the broker has them. */
  send(topic: string, messages: readonly ForeignMessage[]): Promise<void>;
  close(): Promise<void>;
}

export interface ForeignWorld {
  readonly name: string;
  readonly url: string | undefined;
  readonly variable: string;
  open(): Promise<Broker>;
  producer(): Promise<ForeignProducer>;
}

async function kafkaProducer(url: string): Promise<ForeignProducer> {
  const producer = new Producer({
    clientId: 'shop',
    bootstrapBrokers: [new URL(url).host],
    serializers: { ...stringSerializers, value: (value?: Buffer) => value },
  });
  return {
    async send(topic, messages) {
      await producer.send({
        messages: messages.map(({ partition, key, attributes, body }) => ({
          topic,
          partition,
          ...(key !== undefined && { key }),
          value: Buffer.from(body as string),
          headers: new Map([
            ['content-type', 'application/json'],
            ...Object.entries(attributes).map(([name, text]) => [`ce_${name}`, text] as const),
          ]),
        })),
      });
    },
    close: () => producer.close(),
  };
}

async function rabbitmqProducer(url: string): Promise<ForeignProducer> {
  const connection = new Connection(url);
  await connection.onConnect(20_000);
  const publisher = connection.createPublisher({ confirm: true });
  return {
    async send(topic, messages) {
      for (const { partition, attributes, body } of messages) {
        const names = Object.entries(attributes);
        const headers = Object.fromEntries(
          names.map(([name, text]) => [`cloudEvents:${name}`, text]),
        );
        await publisher.send(
          {
            exchange: topic,
            routingKey: String(partition),
            durable: true,
            contentType: 'application/json',
            headers,
          },
          Buffer.from(body as string),
        );
      }
    },
    async close() {
      await publisher.close();
      await connection.close();
    },
  };
}

async function redisProducer(url: string): Promise<ForeignProducer> {
  const client = createClient({ url });
  await client.connect();
  return {
    async send(topic, messages) {
      const stream = `millrace:{${encodeURIComponent(topic)}}:p:`;
      for (const { partition, attributes, body } of messages) {
        const names = Object.entries(attributes).flatMap(([name, text]) => [`ce_${name}`, text]);
        const fields = [...names, 'data', body];
        await client.sendCommand(['XADD', `${stream}${partition}`, '*', ...fields]);
      }
    },
    close: () => client.close(),
  };
}

/** Those whose server runs; the others say which variable is not set. */
export const foreignWorlds: readonly ForeignWorld[] = [
  {
    name: 'Kafka',
    url: process.env.KAFKA_URL,
    variable: 'KAFKA_URL',
    open: () => openKafkaBroker({ url: process.env.KAFKA_URL as string }),
    producer: () => kafkaProducer(process.env.KAFKA_URL as string),
  },
  {
    name: 'RabbitMQ',
    url: process.env.AMQP_URL,
    variable: 'AMQP_URL',
    open: () => openRabbitmqBroker({ url: process.env.AMQP_URL as string }),
    producer: () => rabbitmqProducer(process.env.AMQP_URL as string),
  },
  {
    name: 'Redis Streams',
    url: process.env.REDIS_URL,
    variable: 'REDIS_URL',
    open: () => openRedisBroker({ url: process.env.REDIS_URL as string }),
    producer: () => redisProducer(process.env.REDIS_URL as string),
  },
];

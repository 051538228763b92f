/** Kafka: our driver against @platformatic/kafka by itself, batched, acks of all replicas. */
import {
  type Consumer,
  Consumer as KafkaConsumer,
  Producer as KafkaProducer,
  type Message,
  ProduceAcks,
} from '@platformatic/kafka';
import { newEventId, openBroker } from 'millrace';
import {
  batchSize,
  type Contest,
  latencyProbe,
  makeEvents,
  ourSide,
  partitions,
  rateClock,
  type Side,
} from './contest.ts';

type Bytes = Message<Buffer, Buffer, Buffer, Buffer>;

export async function openKafkaContest(url: string): Promise<Contest> {
  const broker = await openBroker(url);
  const stamp = newEventId();
  const [publishes, consumes] = [`bench-publish-${stamp}`, `bench-consume-${stamp}`];
  const group = () => `bench-${newEventId()}`;
  await broker.createTopics([publishes, consumes].map((topic) => ({ topic, partitions })));
  // One batch through our driver: the bare client publishes the same bytes.
  await broker.publish(makeEvents(publishes, batchSize));
  const bare = await openBare(url, { publishes, consumes });
  const probe = await latencyProbe(broker, publishes);
  let filled = 0;
  return {
    name: 'kafka',
    ours: ourSide(broker, { publishes, consumes, group }),
    bare,
    clear: async () => {}, // the log grows; nobody reads it
    async fill(count) {
      for (; filled < count; filled += batchSize) {
        await broker.publish(makeEvents(consumes, batchSize));
      }
    },
    latencyMs: probe.once,
    async close() {
      await probe.close();
      await bare.close();
      await broker.deleteTopics([publishes, consumes]);
      await broker.close();
    },
  };
}

interface Topics {
  readonly publishes: string;
  readonly consumes: string;
}

async function openBare(url: string, { publishes, consumes }: Topics) {
  const bootstrapBrokers = url.replace(/^kafka:\/\//, '').split(',');
  const client = { clientId: 'bench-bare', bootstrapBrokers };
  const producer = new KafkaProducer({ ...client, acks: ProduceAcks.ALL, idempotent: false });
  const template = await capture(client, publishes);
  const messages = template.map(({ topic, partition, key, value, headers }) => ({
    ...{ topic, partition, key, value, headers },
  }));
  const side: Side & { close(): Promise<void> } = {
    publish: () => producer.send({ messages, acks: ProduceAcks.ALL }),
    async consume(count) {
      const consumer = consumerOf(client);
      const clock = rateClock(count);
      const stream = await consumer.consume({
        topics: [consumes],
        mode: 'earliest',
        autocommit: false,
        maxWaitTime: 100,
      });
      const commits = committer(consumer);
      stream.on('error', clock.fail);
      stream.on('data', (message: Bytes) => {
        clock.count(1);
        commits.take(message);
      });
      const rate = await clock.rate;
      await commits.flush();
      await stream.close();
      await consumer.close(true);
      return rate;
    },
    close: () => producer.close(),
  };
  return side;
}

interface ClientOptions {
  readonly clientId: string;
  readonly bootstrapBrokers: string[];
}

function consumerOf(client: ClientOptions): Consumer<Buffer, Buffer, Buffer, Buffer> {
  return new KafkaConsumer({ ...client, groupId: `bench-bare-${newEventId()}` });
}

/** What is in the topic. */
async function capture(client: ClientOptions, topic: string): Promise<Bytes[]> {
  const consumer = consumerOf(client);
  const stream = await consumer.consume({ topics: [topic], mode: 'earliest', autocommit: false });
  const found: Bytes[] = [];
  for await (const message of stream) {
    found.push(message);
    if (found.length === batchSize) break;
  }
  await stream.close().catch(() => {}); // the loop has closed it already
  await consumer.close(true);
  return found;
}

/** Commits as our driver does: one request under way, which takes all partitions. */
function committer(consumer: Consumer<Buffer, Buffer, Buffer, Buffer>) {
  const due = new Map<number, Bytes>();
  let sending: Promise<void> | null = null;
  const flush = async (): Promise<void> => {
    while (due.size > 0) {
      const offsets = [...due.values()].map(({ topic, partition, offset, leaderEpoch }) => ({
        ...{ topic, partition, leaderEpoch },
        offset: offset + 1n,
      }));
      due.clear();
      await consumer.commit({ offsets });
    }
  };
  const start = (): Promise<void> => {
    sending ??= flush().finally(() => {
      sending = null;
    });
    return sending;
  };
  return {
    take(message: Bytes): void {
      due.set(message.partition, message);
      if (sending === null) void start().catch(() => {}); // told by the last one
    },
    async flush(): Promise<void> {
      await sending;
      await start();
    },
  };
}

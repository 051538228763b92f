/** A subscription: a member in each topic, and one reader for all, or one each in a cluster. */
import type {
  BrokerSubscription,
  SubscribeOptions,
  TopicPartition,
} from '../../../ports/broker.ts';
import type { Redis } from '../connection.ts';
import { Member } from './member.ts';
import { Reader } from './reader.ts';

export interface SubscriptionContext {
  readonly redis: Redis;
  /** Of its own, for a reader to block on. */
  readonly connect: () => Promise<Redis>;
  readonly name: string;
}

/** @throws BROKER_TOPIC_UNKNOWN, BROKER_DENIED, BROKER_UNAVAILABLE */
export async function openSubscription(
  { redis, connect, name }: SubscriptionContext,
  subscription: SubscribeOptions,
): Promise<BrokerSubscription> {
  const paused = new Set<string>();
  const readers: Reader[] = [];
  const wake = () => {
    for (const reader of readers) reader.wake();
  };
  const topics = [...new Set(subscription.topics)];
  const members = topics.map(
    (topic) => new Member({ redis, topic, name, subscription, onChange: wake }),
  );
  try {
    for (const member of members) await member.join();
    // Topics are in different slots of a cluster: no command may name two.
    const parts = redis.isCluster ? members.map((member) => [member]) : [members];
    for (const part of parts) {
      const isPaused = (topic: string, partition: number) => paused.has(`${partition} ${topic}`);
      const own = await connect();
      readers.push(new Reader({ redis: own, waker: redis, members: part, isPaused, subscription }));
    }
  } catch (error) {
    await Promise.all([...members, ...readers].map((opened) => opened.close()));
    throw error;
  }
  for (const opened of [...members, ...readers]) opened.start();
  return subscriptionOf(members, readers, { paused, wake });
}

interface Pausing {
  readonly paused: Set<string>;
  readonly wake: () => void;
}

function subscriptionOf(
  members: readonly Member[],
  readers: readonly Reader[],
  { paused, wake }: Pausing,
): BrokerSubscription {
  const byTopic = new Map(members.map((member) => [member.topic, member]));
  let closing: Promise<void> | null = null;
  const close = async () => {
    await Promise.all(members.map((member) => member.close()));
    await Promise.all(readers.map((reader) => reader.close()));
  };
  const nameOf = ({ topic, partition }: TopicPartition) => `${partition} ${topic}`;
  return {
    get assigned() {
      return members.flatMap(({ assigned }) => assigned);
    },
    async acknowledge(deliveries) {
      const concerned = new Set<Member>();
      for (const { topic, partition, position } of deliveries) {
        const member = byTopic.get(topic);
        if (member?.lanes.get(partition)?.done(position)) concerned.add(member);
      }
      await Promise.all([...concerned].map(({ acknowledger }) => acknowledger.flush()));
    },
    pause(partitions) {
      for (const one of partitions) paused.add(nameOf(one));
      wake();
    },
    resume(partitions) {
      for (const one of partitions) paused.delete(nameOf(one));
      wake();
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

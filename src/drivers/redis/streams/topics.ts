/** Topics and how far groups are behind in them. */
import { MillraceError } from '../../../core/errors.ts';
import type { PartitionLag, TopicInfo, TopicSpec } from '../../../ports/broker.ts';
import type { Redis } from '../connection.ts';
import { unknownTopic } from './failures.ts';
import { baseOf, topicsKey } from './names.ts';
import { scripts } from './scripts.ts';

export async function createTopic(redis: Redis, spec: TopicSpec): Promise<void> {
  const { topic, partitions, retentionMs } = spec;
  if (!Number.isSafeInteger(partitions) || partitions < 1) {
    throw new MillraceError(
      'CONFIG_INVALID',
      `${topic} cannot have ${partitions} partitions: it is not a whole number from 1.`,
    );
  }
  // The list first: a name without a topic is seen by nobody, a topic without its name neither.
  await redis.send(topicsKey, ['SADD', topicsKey, topic]);
  const args = [partitions, retentionMs ?? ''];
  const count = await redis.run<number>(scripts.create, baseOf(topic), args);
  if (count === partitions) return;
  throw new MillraceError(
    'BROKER_TOPIC_MISMATCH',
    `Topic ${topic} has ${count} partitions, not ${partitions}.`,
  );
}

export async function listTopics(
  redis: Redis,
  names: readonly string[] | undefined,
): Promise<readonly TopicInfo[]> {
  const asked = names ?? (await redis.send<string[]>(topicsKey, ['SMEMBERS', topicsKey]));
  const found = await Promise.all(
    [...new Set(asked)].map(async (topic) => {
      const base = baseOf(topic);
      const count = await redis.send<string | null>(base, ['HGET', `${base}:t`, 'partitions']);
      return count === null ? [] : [{ topic, partitions: Number(count) }];
    }),
  );
  return found.flat();
}

export async function deleteTopic(redis: Redis, topic: string): Promise<void> {
  await redis.run(scripts.delete, baseOf(topic), []);
  await redis.send(topicsKey, ['SREM', topicsKey, topic]);
}

/** @throws BROKER_TOPIC_UNKNOWN */
export async function lagOf(
  redis: Redis,
  group: string,
  topic: string,
): Promise<readonly PartitionLag[]> {
  type Found = readonly [undelivered: number, pending: number, from: string];
  const found = await redis.run<Found[] | null>(scripts.lag, baseOf(topic), [group]);
  if (found === null) throw unknownTopic(topic);
  return Promise.all(
    found.map(async ([undelivered, pending, from], partition) => {
      const ahead = undelivered >= 0 ? undelivered : await countFrom(redis, topic, partition, from);
      return { topic, partition, lag: ahead + pending };
    }),
  );
}

/** Redis does not know it after somebody has deleted entries or moved the group by hand. */
async function countFrom(
  redis: Redis,
  topic: string,
  partition: number,
  from: string,
): Promise<number> {
  let total = 0;
  let last = from;
  for (;;) {
    const args = [partition, last];
    type Counted = [count: number, last: string];
    const [count, next] = await redis.run<Counted>(scripts.count, baseOf(topic), args);
    total += count;
    if (count < 1_000) return total;
    last = next;
  }
}

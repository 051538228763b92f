/** What tests of Redis Streams work with. */
import { readFile } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import {
  type BrokerFixture,
  keyIn,
  numbered,
  outgoing,
  type Topic,
} from '../../../ports/broker.fixtures.conformance.ts';
import type { Broker, BrokerSettings, OutgoingEvent, TopicSpec } from '../../../ports/broker.ts';
import { type JoinOptions, Member } from '../../../ports/broker-member.conformance.ts';
import { openRedis, type Redis } from '../connection.ts';
import { openRedisBroker } from './broker.ts';
import { streamKey } from './names.ts';

export function fixtureOf(url: string): BrokerFixture {
  return {
    name: 'Redis Streams',
    open: (settings) => openRedisBroker({ url, source: 'conformance', ...settings }),
    topic: () => `test-${crypto.randomUUID()}`,
    group: () => `test-${crypto.randomUUID()}`,
    openRefused: () => openRedisBroker({ url, username: 'nobody', password: 'wrong' }),
    restart: null,
    elsewhere: {
      module: import.meta.resolve('./broker.ts'),
      opener: 'openRedisBroker',
      settings: { url },
    },
    async close() {},
  };
}

/** A topic of a test's own, and clients that are closed with the test. */
export interface Stage {
  readonly topic: Topic;
  readonly broker: Broker;
  /** The server itself. */
  readonly redis: Redis;
  open(settings?: Partial<BrokerSettings>): Promise<Broker>;
  join(options?: JoinOptions): Promise<Member>;
  /** Numbered events of one key, which is in the partition. */
  publish(count: number, at?: { partition?: number; first?: number }): Promise<void>;
  /** How many entries are in a partition. */
  length(partition?: number): Promise<number>;
}

export const tenant = 'tenant';

export async function openStage(
  t: Pick<TestContext, 'after'>,
  url: string,
  spec: Partial<TopicSpec> = {},
): Promise<Stage> {
  const brokers: Broker[] = [];
  const members: Member[] = [];
  const open = async (settings: Partial<BrokerSettings> = {}) => {
    const opened = await openRedisBroker({ url, ...settings });
    brokers.push(opened);
    return opened;
  };
  const [broker, redis] = await Promise.all([open(), openRedis(url)]);
  const partitions = spec.partitions ?? 2;
  const name = spec.topic ?? `test-${crypto.randomUUID()}`;
  const topic: Topic = { topic: name, partitions, from: 'start' };
  await broker.createTopics([{ ...spec, topic: topic.topic, partitions }]);
  t.after(async () => {
    await Promise.allSettled(members.map((member) => member.close()));
    await broker.deleteTopics([topic.topic]).catch(() => {}); // of a server that is gone
    await Promise.allSettled(brokers.map((opened) => opened.close()));
    await redis.close();
  });
  return {
    topic,
    broker,
    redis,
    open,
    async join(options = {}) {
      const member = new Member(options);
      members.push(member);
      return member.join(options.broker ?? (await open()), options.group ?? 'group', [topic]);
    },
    async publish(count, { partition = 0, first = 0 } = {}) {
      const key = keyIn(topic, tenant, partition);
      await broker.publish(numbered(topic, tenant, key, { count, first }));
    },
    async length(partition = 0) {
      const key = streamKey(topic.topic, partition);
      return redis.send<number>(key, ['XLEN', key]);
    },
  };
}

/** One event for a partition. */
export async function eventFor({ topic }: Stage, partition: number): Promise<OutgoingEvent> {
  const key = keyIn(topic, tenant, partition);
  return outgoing(topic, { tenantId: tenant, key, payload: { n: 0 } });
}

/** The rules that the docs give to a user, so that they stay true. */
export async function userRules(): Promise<readonly string[]> {
  const docs = new URL('../../../../docs/redis-streams.md', import.meta.url);
  const line = /^ACL SETUSER worker on >secret (.*)$/m.exec(await readFile(docs, 'utf8'));
  return (line?.[1] ?? '').split(' ');
}

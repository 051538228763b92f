/**
 * Topics and the queues of groups, as exchanges and queues that any AMQP client can look at; the
 * management plugin is not needed.
 *
 *   T                  direct exchange, durable; routing key = partition
 *   T.group.0 … T.group.7   quorum queue per group and partition, one active consumer
 *   T#partitions       quorum queue that holds 8 messages: the topic has 8 partitions
 *   T#partitions=8     exchange that filled it
 *   T#groups           quorum queue that holds the names of groups, for who deletes the topic
 *
 * The number of partitions is the depth of a queue because that is what a passive declare tells.
 * The queue's maximum length makes it atomic: two who make the topic with different numbers cannot
 * both succeed, and who makes it twice adds nothing. A node that is starting may tell a depth that
 * is too small: so the exchange with the number in its name has to be there too. T itself is made
 * last: a topic that can be seen is complete.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel } from 'rabbitmq-client';
import { MillraceError } from '../../core/errors.ts';
import type { TopicInfo, TopicSpec } from '../../ports/broker.ts';
import {
  isMismatch,
  isMissing,
  isUnknownTopic,
  translate,
  unavailable,
  unknownTopic,
} from './failures.ts';
import type { Link } from './link.ts';
import {
  countExchangeOf,
  countQueueOf,
  groupsQueueOf,
  isTopic,
  membersOf,
  queueOf,
} from './names.ts';

const partitionsMax = 1_024;
/** How long a starting node may tell a number that is too small. */
const countMsMax = 5_000;

/**
 * Our own ordered retry decides how often an event is tried. RabbitMQ 4 drops a message that came
 * back 20 times unless told otherwise; releases before 4 take no -1.
 */
const deliveryLimit = 2_147_483_647;

const replicated = { 'x-queue-type': 'quorum', 'x-queue-leader-locator': 'balanced' } as const;

export class Topics {
  readonly #link: Link;
  /** For the few messages that say what there is. */
  readonly #voice: Link;
  /** Topic → partitions. Neither ever changes while the topic exists. */
  readonly #known = new Map<string, number>();

  constructor(link: Link, voice: Link) {
    this.#link = link;
    this.#voice = voice;
  }

  /** Undefined when it was not asked for yet. */
  known(topic: string): number | undefined {
    return this.#known.get(topic);
  }

  get all(): readonly string[] {
    return [...this.#known.keys()];
  }

  forget(topic: string): void {
    this.#known.delete(topic);
  }

  /** @throws MillraceError BROKER_TOPIC_UNKNOWN, BROKER_DENIED, BROKER_UNAVAILABLE */
  async partitions(topic: string): Promise<number> {
    const found = this.#known.get(topic) ?? (await this.look(topic));
    if (found === null) throw unknownTopic(topic);
    return found;
  }

  /** Null: there is no such topic. */
  async look(topic: string): Promise<number | null> {
    const deadline = performance.now() + countMsMax;
    for (;;) {
      const count = isTopic(topic) ? await this.#count(topic) : null;
      if (count !== 0) {
        if (count === null) this.#known.delete(topic);
        else this.#known.set(topic, count);
        return count;
      }
      if (performance.now() > deadline) throw unavailable(`'${topic}#partitions' cannot be read`);
      await sleep(50);
    }
  }

  /** Null: no such topic; 0: it cannot be told yet. */
  async #count(topic: string): Promise<number | null> {
    return this.#link.use(async (channel) => {
      const exists = await present(() =>
        channel.exchangeDeclare({ exchange: topic, passive: true }),
      );
      if (exists === null) return null;
      const queue = await present(() =>
        channel.queueDeclare({ queue: countQueueOf(topic), passive: true }),
      );
      if (queue === null) throw unknownTopic(topic, 'is an exchange of somebody else');
      const count = queue.messageCount;
      if (count === 0) return 0;
      const vouched = await present(() =>
        channel.exchangeDeclare({ exchange: countExchangeOf(topic, count), passive: true }),
      );
      return vouched === null ? 0 : count;
    });
  }

  /** @throws MillraceError BROKER_TOPIC_MISMATCH, CONFIG_INVALID */
  async create({ topic, partitions }: TopicSpec): Promise<void> {
    checkSpec(topic, partitions);
    const there = await this.look(topic).catch((error: unknown) => {
      if (isUnknownTopic(error)) return null;
      throw error;
    });
    if (there === null) await this.#make(topic, partitions);
    else if (there !== partitions) throw mismatch(topic, partitions, `it has ${there}`);
    this.#known.set(topic, partitions);
  }

  async #make(topic: string, partitions: number): Promise<void> {
    try {
      await this.#voice.use(async (channel) => {
        await channel.confirmSelect();
        const [count, filler] = [countQueueOf(topic), countExchangeOf(topic, partitions)];
        const groups = groupsQueueOf(topic);
        await channel.queueDeclare({
          queue: count,
          durable: true,
          arguments: { ...replicated, 'x-max-length': partitions },
        });
        await channel.queueDeclare({ queue: groups, durable: true, arguments: replicated });
        await channel.exchangeDeclare({ exchange: filler, durable: true });
        await channel.queueBind({ queue: count, exchange: filler, routingKey: 'count' });
        await channel.queueBind({ queue: groups, exchange: filler, routingKey: 'group' });
        const one = { exchange: filler, routingKey: 'count', durable: true };
        const all = Array.from({ length: partitions }, (_, p) =>
          channel.basicPublish(one, `partition ${p}`),
        );
        await Promise.all(all);
        await channel.exchangeDeclare({ exchange: topic, durable: true });
      });
    } catch (error) {
      if (isMismatch(error)) throw mismatch(topic, partitions, 'it is there with others', error);
      throw translate(error, `making topic '${topic}'`);
    }
  }

  /** Those of the names that exist; without names, those that this client has heard of. */
  async list(names: readonly string[] = this.all): Promise<readonly TopicInfo[]> {
    const infos = await inTurns(names, async (topic) => {
      const partitions = await this.look(topic).catch((error: unknown) => {
        if (isUnknownTopic(error)) return null;
        throw error;
      });
      return partitions === null ? null : { topic, partitions };
    });
    return infos.filter((info) => info !== null);
  }

  /** With the queues of all groups. What is gone already is no error. */
  async delete(topic: string): Promise<void> {
    const partitions = await this.look(topic).catch(() => null);
    this.#known.delete(topic);
    if (partitions === null) return;
    try {
      await this.#link.use(async (channel) => {
        await channel.exchangeDelete({ exchange: topic });
        for (const group of await takeGroups(channel, topic)) {
          for (let p = 0; p < partitions; p += 1) {
            await channel.queueDelete(queueOf(topic, group, p));
          }
          await channel.exchangeDelete({ exchange: membersOf(topic, group) });
        }
        await channel.queueDelete(groupsQueueOf(topic));
        await channel.queueDelete(countQueueOf(topic));
        await channel.exchangeDelete({ exchange: countExchangeOf(topic, partitions) });
      });
    } catch (error) {
      throw translate(error, `deleting topic '${topic}'`);
    }
  }

  /** The queues of a group: from now on it gets what is published. */
  async declareGroup(topic: string, group: string): Promise<void> {
    const partitions = await this.look(topic); // what was known may have been deleted since
    if (partitions === null) throw unknownTopic(topic);
    try {
      await this.#register(topic, group, partitions);
      await this.#link.use(async (channel) => {
        const exchange = membersOf(topic, group);
        await channel.exchangeDeclare({ exchange, type: 'fanout', durable: true });
        for (let p = 0; p < partitions; p += 1) {
          const queue = queueOf(topic, group, p);
          await channel.queueDeclare({
            queue,
            durable: true,
            arguments: {
              ...replicated,
              'x-single-active-consumer': true,
              'x-delivery-limit': deliveryLimit,
            },
          });
          await channel.queueBind({ queue, exchange: topic, routingKey: String(p) });
        }
      });
    } catch (error) {
      if (!isMissing(error)) throw translate(error, `declaring the queues of '${topic}'`);
      this.#known.delete(topic);
      throw unknownTopic(topic);
    }
  }

  /** Before its first queue: no queue is ever without its entry. Twice does no harm. */
  async #register(topic: string, group: string, partitions: number): Promise<void> {
    const first = await this.#link.use((channel) =>
      present(() => channel.queueDeclare({ queue: queueOf(topic, group, 0), passive: true })),
    );
    if (first !== null) return;
    await this.#voice.use(async (channel) => {
      await channel.confirmSelect();
      const exchange = countExchangeOf(topic, partitions);
      await channel.basicPublish({ exchange, routingKey: 'group', durable: true }, group);
    });
  }
}

/** A few at a time. */
export async function inTurns<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  for (let i = 0; i < items.length; i += 8) {
    results.push(...(await Promise.all(items.slice(i, i + 8).map(work))));
  }
  return results;
}

async function takeGroups(channel: Channel, topic: string): Promise<ReadonlySet<string>> {
  const groups = new Set<string>();
  for (;;) {
    const message = await channel.basicGet({ queue: groupsQueueOf(topic), noAck: true });
    if (message === undefined) return groups;
    groups.add(String(message.body));
  }
}

/** Null: the server says that it is not there. */
async function present<T>(declare: () => Promise<T>): Promise<T | null> {
  try {
    return await declare();
  } catch (error) {
    if (isMissing(error)) return null;
    throw translate(error, 'asking for what is there');
  }
}

function checkSpec(topic: string, partitions: number): void {
  if (!isTopic(topic)) {
    const problem = `'${topic}' is no name of a topic: 1 to 150 bytes without # and white space.`;
    throw new MillraceError('CONFIG_INVALID', problem);
  }
  if (Number.isSafeInteger(partitions) && partitions >= 1 && partitions <= partitionsMax) return;
  const problem = `${topic}: ${partitions} partitions; 1 to ${partitionsMax} are possible.`;
  throw new MillraceError('CONFIG_INVALID', problem);
}

function mismatch(topic: string, wanted: number, found: string, cause?: unknown): MillraceError {
  return new MillraceError(
    'BROKER_TOPIC_MISMATCH',
    `RabbitMQ: topic '${topic}' should have ${wanted} partitions; ${found}.`,
    { details: { topic, partitions: wanted }, cause },
  );
}

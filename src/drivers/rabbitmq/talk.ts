/**
 * How the members of a group know of each other: each has an exclusive queue that ends with its
 * connection, bound to the group's fanout exchange of every topic, over which all say what they
 * hold. Whether a member that is silent is gone, the server knows: its queue is, or is not, there.
 */
import { randomUUID } from 'node:crypto';
import type { Channel } from 'rabbitmq-client';
import type { PartitionLag } from '../../ports/broker.ts';
import { codeOf, isMissing, translate, unavailable } from './failures.ts';
import type { Link } from './link.ts';
import { memberQueueOf, membersOf, queueOf } from './names.ts';
import { readWord, type Word } from './roster.ts';
import type { Topics } from './topics.ts';

/** Of a server that is blocked; a word is repeated anyway. */
const unsaidMax = 1_000;

export interface TalkOptions {
  /** To hear: the server never blocks it, because nothing is published over it. */
  readonly link: Link;
  /** To speak. While the server blocks it the others hear nothing, and see that we are there. */
  readonly voice: Link;
  readonly group: string;
  readonly topics: readonly string[];
  readonly memberId: string;
  onWord(word: Word | 'ask'): void;
  /** At most once. */
  onClosed(talk: Talk): void;
}

export class Talk {
  /** Of this member; others look for it. */
  readonly queue: string;
  readonly #options: TalkOptions;
  readonly #channel: Channel;
  #voice: Promise<Channel> | null = null;
  /** Words that the socket has not taken yet. */
  #unsaid = 0;

  private constructor(options: TalkOptions, channel: Channel, queue: string) {
    this.#options = options;
    this.#channel = channel;
    this.queue = queue;
  }

  /** @throws MillraceError BROKER_UNAVAILABLE, BROKER_DENIED */
  static async open(options: TalkOptions): Promise<Talk> {
    const { link, group, topics, memberId } = options;
    const channel = await link.channel();
    try {
      const queue = memberQueueOf(topics[0] as string, group, memberId);
      await channel.queueDeclare({ queue, exclusive: true, autoDelete: true });
      for (const topic of topics) {
        await channel.queueBind({ queue, exchange: membersOf(topic, group) });
      }
      const talk = new Talk(options, channel, queue);
      channel.on('basic.cancel', () => void channel.close());
      await channel.basicConsume({ queue, noAck: true }, ({ body }) => {
        const word = readWord(body);
        if (word !== null) options.onWord(word);
      });
      if (!channel.active) throw unavailable('the channel was closed');
      channel.on('close', () => options.onClosed(talk));
      return talk;
    } catch (error) {
      void channel.close();
      throw translate(error, 'joining the group');
    }
  }

  /** Resolves when it was sent, or when it could not be: everything is said again soon. */
  async say(topic: string, word: Word | { readonly ask: true }): Promise<void> {
    if (this.#unsaid >= unsaidMax) return;
    this.#unsaid += 1;
    const { voice, group } = this.#options;
    this.#voice ??= voice.channel();
    const opening = this.#voice;
    try {
      const exchange = membersOf(topic, group);
      await (await opening).basicPublish({ exchange, routingKey: '' }, word);
    } catch {
      if (this.#voice === opening) this.#voice = null;
    } finally {
      this.#unsaid -= 1;
    }
  }

  async close(): Promise<void> {
    const voice = this.#voice;
    this.#voice = null;
    void voice?.then((channel) => channel.close()).catch(() => {});
    await this.#channel.close();
  }
}

/** Whether the member with this queue is connected; null: the server does not tell. */
export async function isConnected(link: Link, queue: string): Promise<boolean | null> {
  try {
    await link.use((channel) => channel.queueDeclare({ queue, passive: true }));
    return true; // on a connection that is ours as well
  } catch (error) {
    if (codeOf(error) === 'RESOURCE_LOCKED') return true;
    return isMissing(error) ? false : null;
  }
}

/** How long holders may take to say what they have not acknowledged. */
const answerMsMax = 1_000;

/**
 * What a group has before it, of one topic. The server tells how many messages wait; how many were
 * delivered and not acknowledged their holders tell.
 */
export async function measureLag(
  { link, voice, topics }: { readonly link: Link; readonly voice: Link; readonly topics: Topics },
  group: string,
  topic: string,
): Promise<readonly PartitionLag[]> {
  const partitions = await topics.partitions(topic);
  const waiting = await readWaiting(link, group, topic, partitions);
  const held = new Set(waiting.flatMap(({ consumed }, partition) => (consumed ? [partition] : [])));
  const inHand =
    held.size === 0 ? new Map() : await askHolders({ link, voice, group, topics: [topic] }, held);
  return waiting.map(({ ready }, partition) => ({
    topic,
    partition,
    lag: ready + (inHand.get(partition) ?? 0),
  }));
}

async function readWaiting(link: Link, group: string, topic: string, partitions: number) {
  const none = Array.from({ length: partitions }, () => ({ ready: 0, consumed: false }));
  try {
    return await link.use(async (channel) => {
      const found = [];
      for (let p = 0; p < partitions; p += 1) {
        const queue = queueOf(topic, group, p);
        const { messageCount, consumerCount } = await channel.queueDeclare({
          queue,
          passive: true,
        });
        found.push({ ready: messageCount, consumed: consumerCount > 0 });
      }
      return found;
    });
  } catch (error) {
    if (isMissing(error)) return none; // nothing is kept for a group that was never there
    throw translate(error, `measuring the lag of '${group}'`);
  }
}

/** @returns partition → deliveries that are not acknowledged; of those who answered in time. */
async function askHolders(
  place: Pick<TalkOptions, 'link' | 'voice' | 'group' | 'topics'>,
  held: ReadonlySet<number>,
): Promise<ReadonlyMap<number, number>> {
  const inHand = new Map<number, number>();
  const { promise, resolve } = Promise.withResolvers<void>();
  const talk = await Talk.open({
    ...place,
    memberId: `asks-${randomUUID()}`,
    onWord(word) {
      if (word === 'ask') return;
      for (const [partition, count] of word.holds) inHand.set(partition, count);
      if ([...held].every((partition) => inHand.has(partition))) resolve();
    },
    onClosed: () => resolve(),
  });
  const timer = setTimeout(resolve, answerMsMax);
  void talk.say(place.topics[0] as string, { ask: true });
  await promise;
  clearTimeout(timer);
  void talk.close();
  return inHand;
}

/**
 * Postgres as a broker of the port: the log is the one topic, a group's cursor is what it has
 * acknowledged, a lease says who has a partition. Nothing is copied; what is published stands in
 * the log, and what the log holds is delivered.
 */
import { MillraceError } from '../../../core/errors.ts';
import type {
  Broker,
  BrokerCapabilities,
  BrokerHealth,
  OutgoingEvent,
  PartitionLag,
  SubscribeOptions,
  TopicInfo,
  TopicSpec,
} from '../../../ports/broker.ts';
import type { Store } from '../../../ports/store.ts';
import { createEars, type Ears } from './ears.ts';
import { Publisher } from './publisher.ts';
import { translate, unavailable, within } from './store-errors.ts';
import { GroupMember, type MemberSettings } from './subscription.ts';

export interface PostgresBrokerOptions {
  readonly store: Store;
  /** True: closing the broker closes the store as well. False by default. */
  readonly ownsStore?: boolean | undefined;
  /** How the log is called as a topic. */
  readonly topic: string;
  /** CloudEvents `source` of what is delivered; `millrace` by default. */
  readonly source?: string | undefined;
  /** 1,000 by default. */
  readonly heartbeatMs?: number | undefined;
  /** A member silent for longer loses its partitions; 5,000 by default. */
  readonly timeToLiveMs?: number | undefined;
  /** How often the log is looked at when no notice comes; 1,000 by default. */
  readonly pollMs?: number | undefined;
  /** 30,000 by default. */
  readonly publishTimeoutMs?: number | undefined;
  readonly onError?: ((error: unknown, where: string) => void) | undefined;
}

const closeMsMax = 10_000;
const pingMsMax = 10_000;

export async function openPostgresBroker(options: PostgresBrokerOptions): Promise<Broker> {
  return new PostgresBroker(options);
}

class PostgresBroker implements Broker {
  readonly name = 'postgres';
  readonly capabilities: BrokerCapabilities = {
    createsTopics: false,
    replays: true,
    keepsWithoutGroup: true,
    deduplicates: true,
    staticMembership: false,
    eventBytesMax: null,
  };
  readonly #options: PostgresBrokerOptions;
  readonly #members = new Set<GroupMember>();
  readonly #ears: Ears;
  readonly #publisher: Publisher;
  readonly #settings: MemberSettings;
  #closing: Promise<void> | null = null;

  constructor(options: PostgresBrokerOptions) {
    this.#options = options;
    const { store, topic, source = 'millrace', onError = () => {} } = options;
    const { heartbeatMs = 1_000, timeToLiveMs = 5_000, pollMs = 1_000 } = options;
    this.#ears = createEars(store, {
      onHeads: (partition) => this.#wake(partition),
      onMembers: () => {
        for (const member of this.#members) member.refresh();
      },
      onError,
    });
    this.#publisher = new Publisher({
      log: store.log,
      timeoutMs: options.publishTimeoutMs ?? 30_000,
      onAppended: (heads) => {
        for (const partition of heads.keys()) this.#wake(partition);
        this.#ears.tell(`heads ${[...heads].map((pair) => pair.join(':')).join(',')}`);
      },
    });
    const { announce } = this.#ears;
    this.#settings = { store, topic, source, heartbeatMs, timeToLiveMs, pollMs, announce };
  }

  async publish(events: readonly OutgoingEvent[]): Promise<void> {
    const { partitions } = this.#options.store;
    for (const [index, { topic, partition }] of events.entries()) {
      this.#check(topic);
      if (partition >= 0 && partition < partitions) continue;
      throw new MillraceError(
        'BROKER_EVENT_REFUSED',
        `Partition ${partition} is not among the ${partitions} of ${topic}.`,
        { fix: 'Choose it with partitionFor and the partitions of the topic.', details: { index } },
      );
    }
    if (events.length > 0) await this.#publisher.publish(events);
  }

  async subscribe(wanted: SubscribeOptions): Promise<GroupMember> {
    if (this.#closing !== null) throw unavailable('This client of the broker is closed.');
    for (const topic of wanted.topics) this.#check(topic);
    const member = new GroupMember(this.#settings, {
      ...wanted,
      onClosed: () => void this.#members.delete(member),
    });
    await this.#ears.open();
    this.#members.add(member);
    try {
      await member.start();
    } catch (error) {
      this.#members.delete(member);
      throw error;
    }
    return member;
  }

  async createTopics(specs: readonly TopicSpec[]): Promise<void> {
    const has = this.#options.store.partitions;
    for (const { topic, partitions } of specs) {
      this.#check(topic);
      if (partitions === has) continue;
      throw new MillraceError(
        'BROKER_TOPIC_MISMATCH',
        `The log has ${has} partitions, not ${partitions}.`,
        { fix: 'The number was fixed when the database was made; ask for that many.' },
      );
    }
  }

  async topics(names?: readonly string[]): Promise<readonly TopicInfo[]> {
    const { topic, store } = this.#options;
    if (names !== undefined && !names.includes(topic)) return [];
    return [{ topic, partitions: store.partitions }];
  }

  async deleteTopics(names: readonly string[]): Promise<void> {
    if (!names.includes(this.#options.topic)) return;
    throw new MillraceError('CAPABILITY_MISSING', 'The log itself cannot be deleted.', {
      fix: 'Drop the database if everything is to go.',
    });
  }

  async lag(group: string, topics: readonly string[]): Promise<readonly PartitionLag[]> {
    const { store, topic } = this.#options;
    for (const name of topics) this.#check(name);
    if (topics.length === 0) return [];
    try {
      // Positions first: a group can then seem to be behind, never ahead.
      const positions = await store.streams.positions([group]);
      const heads = await store.log.heads();
      const of = new Map(positions.map(({ partition, position }) => [partition, position]));
      return heads.map((head, partition) => ({
        ...{ topic, partition, lag: Math.max(0, head - (of.get(partition) ?? 0)) },
      }));
    } catch (error) {
      throw translate(error, 'Asking for the lag');
    }
  }

  async health(): Promise<BrokerHealth> {
    const started = performance.now();
    try {
      await within(pingMsMax, 'The ping', this.#options.store.ping());
      return { ok: true, problem: null, latencyMs: performance.now() - started };
    } catch (error) {
      return { ok: false, problem: (error as Error).message, latencyMs: null };
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const { onError = () => {}, ownsStore, store } = this.#options;
    const leaving = [...this.#members].map((member) => member.close());
    try {
      await within(closeMsMax, 'Closing', this.#publisher.close());
    } catch (error) {
      onError(error, 'close');
    }
    await Promise.all(leaving);
    await this.#ears.close();
    if (ownsStore) await store.close();
  }

  /** Null: any partition may have new events. */
  #wake(partition: number | null): void {
    for (const member of this.#members) member.wake(partition);
  }

  #check(name: string): void {
    const { topic } = this.#options;
    if (name === topic) return;
    throw new MillraceError('BROKER_TOPIC_UNKNOWN', `There is no topic ${name}, only ${topic}.`, {
      fix: `Postgres has one topic, its log: call it ${topic}, or connect a broker with topics.`,
    });
  }
}

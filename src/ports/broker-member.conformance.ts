/**
 * A member of a group that records what it is given, and holds the driver to what the port says of
 * every delivery: none for a partition that is not assigned, none empty, none mislabelled.
 */

import { type Topic, within } from './broker.fixtures.conformance.ts';
import type { Broker, BrokerSubscription, Delivery, TopicPartition } from './broker.ts';

export interface JoinOptions {
  readonly group?: string;
  readonly from?: 'start' | 'end';
  readonly memberId?: string;
  readonly inFlightMax?: number;
  /** Acknowledges what comes at once; true by default. */
  readonly acknowledges?: boolean;
  /** In place of keeping them: the member's own way to handle. */
  readonly handle?: (member: Member, deliveries: readonly Delivery[]) => void;
  /** Before others get the partitions. */
  readonly letGo?: (
    member: Member,
    partitions: readonly TopicPartition[],
    lost: boolean,
  ) => Promise<void> | void;
  /** A client that is there already, in place of one of its own. */
  readonly broker?: Broker;
}

const nameOf = ({ topic, partition }: TopicPartition) => `${topic}/${partition}`;

export class Member {
  /** In the order in which they came. */
  readonly deliveries: Delivery[] = [];
  /** What the driver did and may not do. */
  readonly problems: string[] = [];
  /** What the driver survived, as it told. */
  readonly errors: string[] = [];
  /** What acknowledgements rejected with. */
  readonly refusals: unknown[] = [];
  readonly revocations: { readonly partitions: readonly string[]; readonly lost: boolean }[] = [];
  readonly #held = new Set<string>();
  readonly #options: JoinOptions;
  readonly #underWay = new Set<Promise<void>>();
  #subscription: Promise<BrokerSubscription> | null = null;
  #joined: BrokerSubscription | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: JoinOptions) {
    this.#options = options;
  }

  async join(broker: Broker, group: string, topics: readonly Topic[]): Promise<this> {
    const { memberId, inFlightMax } = this.#options;
    this.#subscription = broker.subscribe({
      group,
      topics: topics.map(({ topic }) => topic),
      from: this.#options.from ?? topics[0]?.from ?? 'start',
      ...(memberId !== undefined && { memberId }),
      ...(inFlightMax !== undefined && { inFlightMax }),
      onDeliveries: (partition, deliveries) => this.#take(partition, deliveries),
      onAssigned: (partitions) => {
        for (const name of partitions.map(nameOf)) {
          if (this.#held.has(name)) this.problems.push(`${name} was assigned twice`);
          this.#held.add(name);
        }
      },
      onRevoked: (partitions, lost) => this.#letGo(partitions, lost),
      onError: (error, where) => this.errors.push(`${where}: ${(error as Error).message}`),
    });
    this.#joined = await this.#subscription;
    return this;
  }

  get subscription(): BrokerSubscription {
    if (this.#joined === null) throw new Error('the member has not joined');
    return this.#joined;
  }

  /** `topic/partition` of what it was told that it has. */
  get held(): ReadonlySet<string> {
    return this.#held;
  }

  get ids(): string[] {
    return this.deliveries.map(({ event }) => event?.id ?? 'unreadable');
  }

  /** The numbers in the payloads of one key. */
  numbers(key: string): number[] {
    return this.deliveries
      .filter(({ event }) => event?.key === key)
      .map(({ event }) => JSON.parse(event?.dataJson ?? 'null').n);
  }

  async received(count: number): Promise<readonly Delivery[]> {
    await within(`${count} deliveries`, () => this.deliveries.length >= count).catch((error) => {
      const seen = `${this.deliveries.length} came; told: ${this.errors.join('; ') || 'nothing'}`;
      throw new Error(`${(error as Error).message} (${seen})`);
    });
    return this.deliveries;
  }

  /** Never rejects; what the driver rejected with is in `refusals`. */
  acknowledge(deliveries: readonly (TopicPartition & { position: string })[]): Promise<void> {
    // Deliveries may come before `subscribe` has answered.
    const subscription = this.#subscription as Promise<BrokerSubscription>;
    const told = (this.#joined ? Promise.resolve(this.#joined) : subscription)
      .then((joined) => joined.acknowledge(deliveries))
      .catch((error) => void this.refusals.push(error))
      .finally(() => this.#underWay.delete(told));
    this.#underWay.add(told);
    return told;
  }

  /** Acknowledgements that the broker has not answered yet. */
  async acknowledged(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  close(): Promise<void> {
    this.#closing ??= this.#joined?.close() ?? Promise.resolve();
    return this.#closing;
  }

  #take(partition: TopicPartition, deliveries: readonly Delivery[]): void {
    const name = nameOf(partition);
    if (!this.#held.has(name)) this.problems.push(`${name} is delivered and not assigned`);
    if (deliveries.length === 0) this.problems.push(`${name}: no delivery in onDeliveries`);
    for (const delivery of deliveries) {
      if (nameOf(delivery) !== name) this.problems.push(`${nameOf(delivery)} came as ${name}`);
    }
    if (this.#options.handle) {
      this.#options.handle(this, deliveries);
      return;
    }
    this.deliveries.push(...deliveries);
    if (this.#options.acknowledges !== false) void this.acknowledge(deliveries);
  }

  async #letGo(partitions: readonly TopicPartition[], lost: boolean): Promise<void> {
    const names = partitions.map(nameOf);
    this.revocations.push({ partitions: names, lost });
    for (const name of names) {
      if (!this.#held.has(name)) this.problems.push(`${name} was revoked and not assigned`);
    }
    if (lost) for (const name of names) this.#held.delete(name);
    await this.#options.letGo?.(this, partitions, lost);
    for (const name of names) this.#held.delete(name);
  }
}

/** Each partition of the topics has one holder among the members, and each member its share. */
export async function shared(members: readonly Member[], topics: readonly Topic[]): Promise<void> {
  const names = topics.flatMap(({ topic, partitions }) =>
    Array.from({ length: partitions }, (_, partition) => `${topic}/${partition}`),
  );
  const least = Math.min(1, Math.floor(names.length / members.length));
  await within(`${members.length} members share ${names.length} partitions`, () => {
    const holders = names.map((name) => members.filter(({ held }) => held.has(name)).length);
    return holders.every((count) => count === 1) && members.every(({ held }) => held.size >= least);
  }).catch((error) => {
    const state = members.map(({ held, errors }) => `[${[...held]}] told: ${errors.join('; ')}`);
    throw new Error(`${(error as Error).message}: ${state.join(' | ')}`);
  });
}

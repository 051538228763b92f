/**
 * The log on its way out: a stream for each partition that this process leases of the group
 * `broker.relay`, so that several processes share the work and take over from one that died. A
 * worker of its own: relaying goes on where nothing is handled.
 */
import type { StoredEvent } from '../core/event.ts';
import type { Broker } from '../ports/broker.ts';
import type { Store } from '../ports/store.ts';
import { sleep } from '../runtime/bell.ts';
import { Membership } from '../runtime/membership.ts';
import type { EventSource } from '../runtime/source.ts';
import { type RelayCounts, RelayStream, type RelayStreamOptions } from './relay-stream.ts';
import type { TopicNames } from './topics.ts';

export const relayGroup = 'broker.relay';

export interface RelayOptions {
  readonly store: Store;
  /** The log. */
  readonly source: EventSource;
  readonly broker: Broker;
  readonly topics: TopicNames;
  readonly heartbeatMs: number;
  readonly timeToLiveMs: number;
  readonly batchMax: number;
  readonly bytesMax: number;
  checkTopics: RelayStreamOptions['checkTopics'];
  createTopics(topics: readonly string[]): Promise<void>;
  onAppended(events: readonly StoredEvent[]): void;
  announce(): void;
  onError(error: unknown, where: string): void;
}

interface Running {
  readonly stream: RelayStream;
  readonly partition: number;
  readonly ended: Promise<void>;
}

export interface RelayPartition {
  readonly partition: number;
  /** The broker has everything up to this offset. */
  readonly position: number;
  readonly blockedKeys: number;
  /** How long the batch at hand could not be published; null when all is well. */
  readonly failingForMs: number | null;
}

export class Relay {
  readonly #options: RelayOptions;
  readonly #running = new Map<number, Running>();
  readonly #membership: Membership;
  readonly counts: RelayCounts = {
    relayed: 0,
    batches: 0,
    retries: 0,
    refused: 0,
    settlements: 0,
  };
  lastError: string | null = null;
  #started = false;
  #stopListening: () => void = () => {};

  constructor(options: RelayOptions) {
    this.#options = options;
    const { store, heartbeatMs, timeToLiveMs, announce } = options;
    this.#membership = new Membership({
      streams: store.streams,
      partitions: store.partitions,
      workerId: crypto.randomUUID(),
      groups: () => [relayGroup],
      heartbeatMs,
      timeToLiveMs,
      onTaken: ({ partition, epoch }) => this.#run(partition, epoch),
      onSurplus: async ({ partition }) => {
        const running = this.#running.get(partition);
        running?.stream.stop();
        const over = new AbortController();
        const late = sleep(timeToLiveMs, over.signal).then(() => running?.stream.giveUp());
        await running?.ended;
        over.abort();
        await late;
      },
      onTakenOver: ({ partition }) => this.#running.get(partition)?.stream.giveUp(),
      onExpired: () => this.#giveUpAll(),
      onJoined: () => {},
      announce,
      onError: (error) => this.#note(error, 'relay membership'),
    });
  }

  /** Partitions that are relayed here. */
  get partitions(): RelayPartition[] {
    const now = performance.now();
    return [...this.#running.values()].map(({ stream, partition }) => ({
      partition,
      position: stream.position,
      blockedKeys: stream.blockedKeys,
      failingForMs: stream.failingSince === null ? null : Math.round(now - stream.failingSince),
    }));
  }

  /** False from the moment the heartbeat is overdue until it gets through again. */
  get alive(): boolean {
    return this.#membership.alive;
  }

  start(): void {
    this.#started = true;
    this.#stopListening = this.#options.source.subscribe((partition) =>
      this.#running.get(partition)?.stream.wake(),
    );
    this.#membership.start();
  }

  /** Others joined or left. */
  refresh(): void {
    if (this.#started) this.#membership.refresh();
  }

  /** Dead letters of the relay were changed by somebody. */
  lookForRetries(partition: number): void {
    this.#running.get(partition)?.stream.lookForRetries();
  }

  /** Publishes what the log has, for the grace at most, and hands the partitions back. */
  async stop(graceMs: number): Promise<void> {
    if (!this.#started) return;
    this.#started = false;
    this.#membership.close();
    const over = setTimeout(() => this.#giveUpAll(), graceMs);
    for (const { stream } of this.#running.values()) stream.stop();
    await Promise.all([...this.#running.values()].map(({ ended }) => ended));
    clearTimeout(over);
    this.#stopListening();
    await this.#membership.stop();
  }

  #run(partition: number, epoch: number): void {
    const { store, source, broker, topics, batchMax, bytesMax } = this.#options;
    const { checkTopics, createTopics, onAppended } = this.#options;
    const stream = new RelayStream({
      store,
      source,
      broker,
      topics,
      group: relayGroup,
      partition,
      epoch,
      batchMax,
      bytesMax,
      retryPollMs: 1_000,
      counts: this.counts,
      checkTopics,
      createTopics,
      onAppended,
      onError: (error) => this.#note(error, `${relayGroup}/${partition}`),
    });
    // The former stream of this partition, if any, ends by itself: its epoch is no longer valid.
    this.#running.get(partition)?.stream.giveUp();
    const ended = stream.run().then((how) => {
      if (this.#running.get(partition)?.stream === stream) this.#running.delete(partition);
      if (how === 'lease-lost') this.#membership.lost({ group: relayGroup, partition, epoch });
    });
    this.#running.set(partition, { stream, partition, ended });
  }

  #giveUpAll(): void {
    for (const { stream } of this.#running.values()) stream.giveUp();
  }

  #note(error: unknown, where: string): void {
    this.lastError = error instanceof Error ? error.message : String(error);
    this.#options.onError(error, where);
  }
}

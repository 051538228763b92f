/**
 * All streams of one process: starts one per (group, partition) that this worker leases, wakes
 * them, watches them, and ends them in order. The lease decides who runs a stream; losing it ends
 * one.
 */
import { createCatalogue } from '../core/catalogue.ts';
import { MillraceError } from '../core/errors.ts';
import type { StoredEvent } from '../core/event.ts';
import type { Redactor } from '../core/redaction.ts';
import type { Store } from '../ports/store.ts';
import { Membership, type Preference } from '../runtime/membership.ts';
import type { EventSource } from '../runtime/source.ts';
import { PartitionStream } from './stream/partition-stream.ts';
import { createGroup, type Group, type Subscription } from './stream/subscription.ts';

export interface StreamsOptions {
  readonly store: Store;
  /** Where events come from: the log, or a broker that carries it. */
  readonly source: EventSource;
  readonly workerId: string;
  readonly heartbeatMs: number;
  readonly timeToLiveMs: number;
  /** How long a shutdown waits for handlers before it aborts them. */
  readonly graceMs: number;
  /** A stream with work that has not turned for this long is stalled. */
  readonly stallMs: number;
  /** Of follow-up events and of what handlers throw. */
  readonly redactor?: Redactor | undefined;
  /** Which partitions a broker brings to this process; left out without one. */
  readonly preference?: Preference | undefined;
  onAppended(events: readonly StoredEvent[]): void;
  /** Another worker has joined, and has not heard of what was appended so far. */
  onJoined(): void;
  announce(): void;
  onError(error: unknown, where: string): void;
}

interface Running {
  readonly stream: PartitionStream;
  readonly group: Group;
  readonly partition: number;
  readonly ended: Promise<void>;
}

/** How one stream of this process is doing. */
export interface StreamStatus {
  readonly group: string;
  readonly partition: number;
  readonly position: number;
  readonly backlog: number;
  readonly underWay: number;
  readonly blockedKeys: number;
  readonly handled: number;
  readonly failed: number;
  readonly settlements: number;
  readonly stalled: boolean;
}

export class Streams {
  readonly #options: StreamsOptions;
  readonly #groups = new Map<string, Group>();
  /** Only these take partitions: a group that is not registered yet holds nothing of the log. */
  readonly #registered = new Set<string>();
  readonly #running = new Map<string, Running>();
  readonly #ended = { handled: 0, failed: 0, settlements: 0 };
  readonly membership: Membership;
  #started = false;
  #registering: NodeJS.Timeout | null = null;
  #stopListening: () => void = () => {};

  constructor(options: StreamsOptions) {
    this.#options = options;
    const { store, workerId, heartbeatMs, timeToLiveMs } = options;
    this.membership = new Membership({
      streams: store.streams,
      partitions: store.partitions,
      workerId,
      heartbeatMs,
      timeToLiveMs,
      preference: options.preference,
      groups: () => [...this.#registered],
      onTaken: (lease) => this.#run(lease),
      onSurplus: (lease) => this.#end(`${lease.group}/${lease.partition}`),
      onTakenOver: ({ group, partition }) => {
        this.#running.get(`${group}/${partition}`)?.stream.giveUp();
      },
      onExpired: () => this.#giveUpAll(),
      onJoined: options.onJoined,
      announce: options.announce,
      onError: (error) => options.onError(error, 'membership'),
    });
  }

  add(subscription: Subscription): void {
    const group = createGroup(subscription);
    if (this.#groups.has(group.name)) {
      throw new MillraceError(
        'DEFINITION_INVALID',
        `Group '${group.name}' is subscribed twice in this process.`,
        { fix: 'Give the second subscription a group of its own, or one handler for both.' },
      );
    }
    this.#groups.set(group.name, group);
  }

  /** Takes a group out: what is under way is finished and settled, its partitions handed back. */
  async remove(group: string): Promise<void> {
    if (!this.#groups.delete(group)) return;
    this.#registered.delete(group);
    await this.membership.leave(group);
  }

  get groups(): readonly string[] {
    return [...this.#groups.keys()];
  }

  /** Which types each group asks for; a `*` in one stands for any text. */
  get subscriptions(): readonly { readonly name: string; readonly types: readonly string[] }[] {
    return [...this.#groups.values()].map(({ name, types }) => ({ name, types }));
  }

  /** Registers a group that was added, and starts to take its partitions. */
  async start(): Promise<void> {
    try {
      await this.#register([...this.#groups.values()]);
    } catch (error) {
      if (this.#started) this.#registerLater();
      throw error;
    }
    if (this.#started) return this.membership.refresh();
    this.#started = true;
    this.#stopListening = this.#options.source.subscribe((partition) => {
      for (const running of this.#running.values()) {
        if (running.partition === partition) running.stream.wake();
      }
    });
    this.membership.start();
  }

  /** Drains: finishes and settles what is under way, then hands the partitions back. */
  async stop(): Promise<void> {
    if (!this.#started) return;
    this.#started = false;
    if (this.#registering !== null) clearTimeout(this.#registering);
    this.membership.close();
    const deadline = setTimeout(() => this.#giveUpAll(), this.#options.graceMs);
    await Promise.all([...this.#running.keys()].map((key) => this.#end(key)));
    clearTimeout(deadline);
    this.#stopListening();
    await this.membership.stop();
  }

  /** Somebody changed the failures of a group: an operator, or another process. */
  lookForRetries(group: string, partition: number): void {
    this.#running.get(`${group}/${partition}`)?.stream.lookForRetries();
  }

  status(): StreamStatus[] {
    const now = performance.now();
    return [...this.#running.values()].map(({ stream, group, partition }) => ({
      group: group.name,
      partition,
      position: stream.position,
      backlog: stream.backlog,
      underWay: stream.underWay,
      blockedKeys: stream.blockedKeys,
      handled: stream.handled,
      failed: stream.failed,
      settlements: stream.settlements,
      stalled:
        stream.backlog > 0 && stream.underWay === 0 && now - stream.turnAt > this.#options.stallMs,
    }));
  }

  /** Where the streams of a group in this process stand, by partition. */
  positionsOf(group: string): ReadonlyMap<number, number> {
    const positions = new Map<number, number>();
    for (const {
      stream,
      group: { name },
      partition,
    } of this.#running.values()) {
      if (name === group) positions.set(partition, stream.position);
    }
    return positions;
  }

  /** Settled offsets of the streams on one partition, of every group that has it here. */
  positionsAt(wanted: number): number[] {
    const positions: number[] = [];
    for (const { stream, partition } of this.#running.values()) {
      if (partition === wanted && stream.opened) positions.push(stream.position);
    }
    return positions;
  }

  /** Handler calls of this process, of streams that have ended as well. */
  totals(): { handled: number; failed: number; settlements: number } {
    const total = { ...this.#ended };
    for (const { stream } of this.#running.values()) {
      total.handled += stream.handled;
      total.failed += stream.failed;
      total.settlements += stream.settlements;
    }
    return total;
  }

  /** The watchdog's remedy: streams that should work and do not are woken. Returns how many. */
  nudge(): number {
    const stalled = this.status().filter((status) => status.stalled);
    for (const { group, partition } of stalled) {
      this.#running.get(`${group}/${partition}`)?.stream.wake();
    }
    return stalled.length;
  }

  #run({ group, partition, epoch }: { group: string; partition: number; epoch: number }): void {
    const { store, source, redactor, onAppended, onError } = this.#options;
    const key = `${group}/${partition}`;
    const definition = this.#groups.get(group);
    if (definition === undefined) return; // taken out meanwhile; the lease is handed back
    const catalogue = createCatalogue([...definition.definitions.values()]);
    const stream = new PartitionStream({
      store,
      source,
      group: definition,
      partition,
      epoch,
      redactor,
      retryPollMs: 1_000,
      // What a pattern brought is handed on as it is.
      decode: (event) =>
        definition.definitions.has(event.eventType) ? catalogue.decode(event, definition) : event,
      onAppended,
      onError: (error) => onError(error, key),
    });
    // The former stream of this partition, if any, ends by itself: its epoch is no longer valid.
    this.#running.get(key)?.stream.giveUp();
    const ended = stream.run().then((how) => {
      if (this.#running.get(key)?.stream === stream) this.#running.delete(key);
      this.#ended.handled += stream.handled;
      this.#ended.failed += stream.failed;
      this.#ended.settlements += stream.settlements;
      if (how !== 'lease-lost') return;
      onError(new Error('another worker owns it; what was under way is undone'), key);
      this.membership.lost({ group, partition, epoch });
    });
    this.#running.set(key, { stream, group: definition, partition, ended });
  }

  async #end(key: string): Promise<void> {
    const running = this.#running.get(key);
    running?.stream.stop();
    await running?.ended;
  }

  async #register(groups: readonly Group[]): Promise<void> {
    const { store } = this.#options;
    for (const { name, types, from } of groups) {
      await store.streams.registerGroup({ group: name, eventTypes: types, from });
      if (this.#groups.has(name)) this.#registered.add(name);
    }
  }

  /** A group that was added while the store was away begins once it is back. */
  #registerLater(): void {
    const { heartbeatMs, onError } = this.#options;
    this.#registering ??= setTimeout(() => {
      this.#registering = null;
      const missing = [...this.#groups.values()].filter(({ name }) => !this.#registered.has(name));
      this.#register(missing).then(
        () => this.membership.refresh(),
        (error) => {
          if (!this.#started) return;
          onError(error, 'registering groups');
          this.#registerLater();
        },
      );
    }, heartbeatMs);
  }

  #giveUpAll(): void {
    for (const { stream } of this.#running.values()) stream.giveUp();
  }
}

/**
 * Publishing with group commit: one buffer per partition, at most one append under way for each.
 * Idle, an event is appended at once; busy, whatever gathers during one commit is the next batch.
 * A promise resolves after the durable commit and never before. Buffers are bounded: beyond the
 * bound publish() waits, so that a producer is slowed down instead of filling the memory.
 */
import { MillraceError } from '../core/errors.ts';
import {
  type EventDefinition,
  type EventInput,
  type PreparedEvent,
  type PrepareOptions,
  prepareEvent,
  type StoredEvent,
} from '../core/event.ts';
import { partitionFor } from '../core/partition.ts';
import type { Redactor } from '../core/redaction.ts';
import {
  type Position,
  placeAt,
  type RoutedEvent,
  routeTo,
  type SqlTransaction,
  type Store,
} from '../ports/store.ts';
import type { Tracing } from '../ports/tracing.ts';
import { sleep } from '../runtime/bell.ts';

export interface PublisherOptions {
  readonly store: Store;
  /** Events of one append at most. */
  readonly batchMax: number;
  /** Events waiting or under way at most, all partitions together. */
  readonly bufferMax: number;
  /** How long an append is tried again while the store is away. */
  readonly patienceMs: number;
  /** Events published inside a span carry its `traceparent` in their metadata. */
  readonly tracing?: Tracing;
  /** Takes personal data and secrets out before anything is written. */
  readonly redactor?: Redactor | undefined;
  /** Throws when no more may be accepted for now. */
  checkRoom?(): void;
  onAppended(events: readonly StoredEvent[]): void;
}

export interface Published extends Position {
  readonly eventId: string;
}

interface Waiting {
  readonly routed: RoutedEvent;
  resolve(position: Position): void;
  reject(error: unknown): void;
}

interface Lane {
  waiting: Waiting[];
  appending: Promise<void> | null;
}

export class Publisher {
  readonly #options: PublisherOptions;
  readonly #prepare: PrepareOptions;
  readonly #lanes: Lane[];
  #buffered = 0;
  #closed = false;
  /** Producers that wait for room, first come first served. */
  readonly #line: Waiting[] = [];
  published = 0;
  appends = 0;
  retried = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#prepare = { redactor: options.redactor };
    this.#lanes = Array.from({ length: options.store.partitions }, () => ({
      waiting: [],
      appending: null,
    }));
  }

  /** Events accepted and not yet durable. */
  get buffered(): number {
    return this.#buffered;
  }

  async publish<P>(definition: EventDefinition<P>, input: EventInput<P>): Promise<Published> {
    return this.append(this.route(definition, input));
  }

  /** The same for an event that was routed before. */
  async append(routed: RoutedEvent): Promise<Published> {
    return { ...(await this.#accept(routed)), eventId: routed.event.eventId };
  }

  /** All of them, or an error for the first that failed; those appended by then stay. */
  async publishMany<P>(
    items: readonly (readonly [EventDefinition<P>, EventInput<NoInfer<P>>])[],
  ): Promise<Published[]> {
    const routed = items.map(([definition, input]) => this.route(definition, input));
    const positions = await Promise.all(routed.map((event) => this.#accept(event)));
    return routed.map(({ event }, i) => ({
      ...(positions[i] as Position),
      eventId: event.eventId,
    }));
  }

  /** Writes into the caller's own transaction; the sequencer appends after it commits. */
  async stage<P>(
    definition: EventDefinition<P>,
    input: EventInput<P>,
    tx: SqlTransaction,
  ): Promise<{ eventId: string }> {
    const routed = this.route(definition, input);
    await this.#options.store.staging.stage(tx, [routed]);
    return { eventId: routed.event.eventId };
  }

  route<P>(definition: EventDefinition<P>, input: EventInput<P>): RoutedEvent {
    const traced = this.#withTrace(input);
    const prepared = prepareEvent(definition, traced, this.#prepare) as PreparedEvent;
    const { tenantId, key } = prepared.event;
    return routeTo(partitionFor(tenantId, key, this.#lanes.length), prepared);
  }

  #withTrace<P>(input: EventInput<P>): EventInput<P> {
    const traceparent = this.#options.tracing?.current() ?? null;
    if (traceparent === null || input.metadata?.traceparent !== undefined) return input;
    return { ...input, metadata: { ...input.metadata, traceparent } };
  }

  /** Waits for everything accepted so far. */
  async flush(): Promise<void> {
    await Promise.all(this.#lanes.map(({ appending }) => appending));
  }

  /** Accepts nothing more and waits for what was accepted. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const waiting of this.#line.splice(0)) refuse(waiting);
    await this.flush();
  }

  /**
   * Takes an event into the buffer, or into the line before it when that is full. Whoever frees a
   * place moves the first of the line up in the same turn: the bound holds, and so does the order.
   */
  #accept(routed: RoutedEvent): Promise<Position> {
    return new Promise((resolve, reject) => {
      this.#options.checkRoom?.();
      const waiting: Waiting = { routed, resolve, reject };
      if (this.#closed) refuse(waiting);
      else if (this.#buffered >= this.#options.bufferMax) this.#line.push(waiting);
      else this.#admit(waiting);
    });
  }

  #admit(waiting: Waiting): void {
    const lane = this.#lanes[waiting.routed.partition] as Lane;
    this.#buffered += 1;
    lane.waiting.push(waiting);
    lane.appending ??= this.#drain(lane);
  }

  #leave(count: number): void {
    this.#buffered -= count;
    const free = Math.max(0, this.#options.bufferMax - this.#buffered);
    for (const waiting of this.#line.splice(0, free)) this.#admit(waiting);
  }

  async #drain(lane: Lane): Promise<void> {
    // Let everything that is published in this turn of the event loop join the first batch.
    await Promise.resolve();
    while (lane.waiting.length > 0) {
      const batch = lane.waiting.splice(0, this.#options.batchMax);
      await this.#append(batch);
      this.#leave(batch.length);
    }
    // In the same turn as the last look at what waits: an event can never fall in between.
    lane.appending = null;
  }

  async #append(batch: readonly Waiting[]): Promise<void> {
    try {
      const positions = await this.#appendPatiently(batch.map(({ routed }) => routed));
      const fresh: StoredEvent[] = [];
      for (const [i, { routed, resolve }] of batch.entries()) {
        const { partition, offset, ...position } = positions[i] as Position;
        // With an id of ours it can only be known from an earlier try of this very append.
        const duplicate = position.duplicate && routed.checkDuplicate;
        if (!duplicate) fresh.push(placeAt(partition, offset, routed.event));
        resolve({ partition, offset, duplicate });
      }
      this.appends += 1;
      this.published += fresh.length;
      this.#options.onAppended(fresh);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }

  /**
   * After a lost connection nobody knows whether the commit happened: the same events, with the
   * same ids, are appended again where missing, which stores each of them once whatever happened.
   */
  async #appendPatiently(events: readonly RoutedEvent[]): Promise<readonly Position[]> {
    const { store, patienceMs } = this.#options;
    const until = performance.now() + patienceMs;
    let once = events.some(({ checkDuplicate }) => checkDuplicate);
    for (let delayMs = 20; ; delayMs = Math.min(delayMs * 2, 1_000)) {
      try {
        return await store.log.append(events, { once });
      } catch (error) {
        const known = error instanceof MillraceError && error.retryable;
        if (!known || performance.now() + delayMs > until) throw error;
        once = true;
        this.retried += 1;
        await sleep(delayMs * (0.5 + Math.random()));
      }
    }
  }
}

function refuse({ reject }: Waiting): void {
  reject(new MillraceError('SHUTTING_DOWN', 'This publisher accepts no more events.'));
}

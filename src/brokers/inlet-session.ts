/**
 * One subscription of an inlet while it lasts: what came and was not taken yet, by partition; which
 * of it may be acknowledged; and when the broker has to wait. Each partition is taken batch by
 * batch, in order, and several partitions at once.
 *
 *   delivered ──> buffered ──> take(batch): durable ──> acknowledge the last of it
 *
 * Invariant: nothing is acknowledged before `take` has resolved for it and all before it. Buffers
 * are bounded: by what the driver may have in flight, and by bytes over all partitions.
 */
import type { Broker, BrokerSubscription, Delivery, TopicPartition } from '../ports/broker.ts';
import { sleep } from '../runtime/bell.ts';

export interface SessionOptions {
  readonly broker: Broker;
  readonly group: string;
  readonly topics: readonly string[];
  readonly from: 'start' | 'end';
  readonly memberId: string | undefined;
  readonly batchMax: number;
  /** Deliveries of one partition that wait, at most; beyond it the partition is paused. */
  readonly bufferMax: number;
  /** Of all that waits, near enough. */
  readonly bytesMax: number;
  /** Resolves when all are durable or refused; after an error it is called with them again. */
  take(batch: readonly Delivery[], signal: AbortSignal): Promise<void>;
  onError(error: unknown, where: string): void;
}

interface Lane {
  readonly at: TopicPartition;
  queue: Delivery[];
  paused: boolean;
  /** The position up to which all is durable; null when the broker knows. */
  done: string | null;
  running: Promise<void>;
  readonly gone: AbortController;
}

const againMs = 500;
const keyOf = ({ topic, partition }: TopicPartition) => `${topic}\0${partition}`;

export class InletSession {
  readonly #options: SessionOptions;
  readonly #lanes = new Map<string, Lane>();
  #subscription: BrokerSubscription | null = null;
  #acknowledging: Promise<void> | null = null;
  #draining = false;
  #bytes = 0;
  #buffered = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  get topics(): readonly string[] {
    return this.#options.topics;
  }

  get assigned(): readonly TopicPartition[] {
    return [...this.#lanes.values()].map(({ at }) => at);
  }

  /** Deliveries that wait or are being taken. */
  get buffered(): number {
    return this.#buffered;
  }

  get bufferedBytes(): number {
    return this.#bytes;
  }

  /** @throws what the broker's `subscribe` throws. */
  async open(): Promise<void> {
    const { broker, group, topics, from, memberId, bufferMax, onError } = this.#options;
    this.#subscription = await broker.subscribe({
      group,
      topics,
      from,
      memberId,
      inFlightMax: bufferMax,
      onDeliveries: (at, deliveries) => this.#put(at, deliveries),
      onAssigned: (partitions) => {
        for (const at of partitions) this.#lane(at);
      },
      onRevoked: (partitions, lost) => this.#leave(partitions, lost),
      onError: (error, where) => onError(error, where),
    });
    // What came while subscribe was under way.
    const paused = [...this.#lanes.values()].filter((lane) => lane.paused);
    if (paused.length > 0) this.#subscription.pause(paused.map(({ at }) => at));
    this.#acknowledge();
  }

  /** Takes what has come, tells the broker, and leaves the group; after `graceMs` it gives up. */
  async close(graceMs: number): Promise<void> {
    this.#draining = true;
    const lanes = [...this.#lanes.values()];
    if (lanes.length > 0) this.#subscription?.pause(lanes.map(({ at }) => at));
    const over = setTimeout(() => {
      for (const { gone } of lanes) gone.abort();
    }, graceMs);
    await Promise.all(lanes.map(({ running }) => running));
    clearTimeout(over);
    if (!lanes.some(({ gone }) => gone.signal.aborted)) await this.#flush(graceMs);
    for (const { gone } of lanes) gone.abort();
    await this.#subscription?.close();
    this.#lanes.clear();
  }

  #lane(at: TopicPartition): Lane {
    const known = this.#lanes.get(keyOf(at));
    if (known !== undefined) return known;
    const lane: Lane = {
      at: { topic: at.topic, partition: at.partition },
      queue: [],
      paused: false,
      done: null,
      running: Promise.resolve(),
      gone: new AbortController(),
    };
    this.#lanes.set(keyOf(at), lane);
    return lane;
  }

  #put(at: TopicPartition, deliveries: readonly Delivery[]): void {
    if (this.#draining) return; // not acknowledged, so they come again
    const lane = this.#lane(at);
    const idle = lane.queue.length === 0;
    for (const delivery of deliveries) {
      lane.queue.push(delivery);
      this.#bytes += sizeOf(delivery);
    }
    this.#buffered += deliveries.length;
    const { bufferMax, bytesMax } = this.#options;
    const full = lane.queue.length >= bufferMax || this.#bytes >= bytesMax;
    if (full && !lane.paused) {
      lane.paused = true;
      this.#subscription?.pause([lane.at]);
    }
    if (idle) lane.running = lane.running.then(() => this.#run(lane));
  }

  async #run(lane: Lane): Promise<void> {
    const { take, batchMax, onError } = this.#options;
    const { signal } = lane.gone;
    while (lane.queue.length > 0 && !signal.aborted) {
      // They stay in the queue until they are durable: it says what is not done.
      const batch = lane.queue.slice(0, batchMax);
      try {
        await take(batch, signal);
      } catch (error) {
        if (signal.aborted) break;
        onError(error, 'taking a batch');
        await sleep(againMs, signal);
        continue;
      }
      this.#forget(lane, batch.length);
      if (signal.aborted) break;
      lane.done = batch.at(-1)?.position ?? null;
      this.#acknowledge();
      this.#makeRoom();
    }
    if (signal.aborted) this.#forget(lane, lane.queue.length);
  }

  #forget(lane: Lane, count: number): void {
    for (const delivery of lane.queue.splice(0, count)) {
      this.#bytes -= sizeOf(delivery);
      this.#buffered -= 1;
    }
  }

  #makeRoom(): void {
    const { bufferMax, bytesMax } = this.#options;
    if (this.#draining || this.#bytes > bytesMax / 2) return;
    const free = [...this.#lanes.values()].filter(
      ({ paused, queue }) => paused && queue.length <= bufferMax / 2,
    );
    if (free.length === 0) return;
    for (const lane of free) lane.paused = false;
    this.#subscription?.resume(free.map(({ at }) => at));
  }

  /** Others get these now: what is being taken is finished and acknowledged, the rest is left. */
  async #leave(partitions: readonly TopicPartition[], lost: boolean): Promise<void> {
    const lanes = partitions.flatMap((at) => this.#lanes.get(keyOf(at)) ?? []);
    for (const lane of lanes) {
      this.#lanes.delete(keyOf(lane.at));
      // One batch is under way at most; what waits behind it is dropped.
      const underWay = Math.min(lane.queue.length, this.#options.batchMax);
      for (const delivery of lane.queue.splice(underWay)) {
        this.#bytes -= sizeOf(delivery);
        this.#buffered -= 1;
      }
      if (lost) lane.gone.abort();
    }
    this.#makeRoom(); // what they held may be all that the others are paused for
    if (lost) return;
    await Promise.all(lanes.map(({ running }) => running));
    this.#makeRoom();
    const done = lanes.flatMap(({ at, done: position }) =>
      position === null ? [] : [{ ...at, position }],
    );
    for (const { gone } of lanes) gone.abort();
    if (done.length === 0) return;
    await this.#subscription
      ?.acknowledge(done)
      .catch((error) => this.#options.onError(error, 'acknowledging'));
  }

  #acknowledge(): void {
    if (this.#subscription === null) return;
    this.#acknowledging ??= this.#tell().finally(() => {
      this.#acknowledging = null;
    });
  }

  /** Again and again while there is something to say; many partitions in one call. */
  async #tell(): Promise<void> {
    for (;;) {
      const lanes = [...this.#lanes.values()].filter(({ done }) => done !== null);
      if (lanes.length === 0) return;
      const told = lanes.map(({ at, done }) => ({ ...at, position: done as string }));
      try {
        await this.#subscription?.acknowledge(told);
        for (const [i, lane] of lanes.entries()) {
          if (lane.done === told[i]?.position) lane.done = null;
        }
      } catch (error) {
        this.#options.onError(error, 'acknowledging');
        if (this.#draining) return;
        await sleep(againMs);
      }
    }
  }

  async #flush(graceMs: number): Promise<void> {
    const over = new AbortController();
    await Promise.race([
      (async () => {
        await this.#acknowledging;
        await this.#tell();
      })(),
      sleep(graceMs, over.signal),
    ]);
    over.abort();
  }
}

function sizeOf({ event, raw }: Delivery): number {
  // What an event takes beside its data: a dozen short texts.
  return 500 + (event?.dataJson.length ?? 0) + (raw?.length ?? 0);
}

/**
 * What the broker brings to this process: one subscription, whatever the number of groups, that
 * fills one lane per log partition. Groups read the lanes where they would read the newest events
 * of the log; what is missing there they read from the log, which has everything.
 *
 * A delivery is acknowledged when every group here that has its partition has settled it, or when
 * it was let go of because one of them is too far behind (that one reads the log). Effects are
 * exactly once by the cursors alone: nothing here decides what is handled.
 */
import { MillraceError } from '../core/errors.ts';
import type { StoredEvent } from '../core/event.ts';
import type { TypeSet } from '../core/event-pattern.ts';
import type { BrokerSubscription, Delivery, TopicPartition } from '../ports/broker.ts';
import type { ReadRequest, ReadResult } from '../ports/store.ts';
import { sleep } from '../runtime/bell.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { FeedLane, type Slot } from './feed-lane.ts';
import type { FeedCounts, FeedOptions } from './feed-options.ts';
import { Presence } from './presence.ts';
import { judge, toStored } from './received.ts';
import type { Refusal } from './refusals.ts';

interface Lane extends FeedLane {
  assigned: Map<string, TopicPartition>;
  paused: boolean;
  deliveredAt: number;
  evictedTo: number;
  unownedSince: number | null;
  /** What the relay had published and we had not seen, and since when. */
  overdue: { readonly to: number; readonly at: number } | null;
}

const acknowledgeMs = 20;
const sweepMs = 250;
const revokeMsMax = 5_000;
/** A sweep that is so late says that the process was busy, not that the broker was silent. */
const stallMs = 1_000;

export class Feed {
  readonly #options: FeedOptions;
  readonly #lanes: readonly Lane[];
  readonly #acknowledgements = new Acknowledgements();
  readonly #listeners = new Set<(partition: number) => void>();
  readonly #stop = new AbortController();
  readonly presence: Presence;
  #subscription: BrokerSubscription | null = null;
  #subscribed: readonly string[] = [];
  #running: Promise<void> = Promise.resolve();
  #looking: Promise<void> = Promise.resolve();
  #quiet = false;
  #sweptAt = performance.now();
  #acknowledging: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  readonly #counts = {
    delivered: 0,
    duplicates: 0,
    gaps: 0,
    refused: 0,
    acknowledged: 0,
    opened: 0,
    evicted: 0,
  };

  constructor(options: FeedOptions) {
    this.#options = options;
    const { broker, heads, patienceMs, store } = options;
    this.presence = new Presence({
      broker,
      partitions: store.partitions,
      patienceMs,
      headOf: (partition) => Math.max(this.reachOf(partition), heads.of(partition)),
    });
    this.#lanes = Array.from({ length: store.partitions }, () =>
      Object.assign(new FeedLane(), {
        assigned: new Map<string, TopicPartition>(),
        paused: false,
        deliveredAt: 0,
        evictedTo: 0,
        unownedSince: null,
        overdue: null,
      }),
    );
  }

  get counts(): FeedCounts {
    return { ...this.#counts };
  }

  /** Log partitions that the broker brings here. */
  get assigned(): number[] {
    return this.#lanes.flatMap(({ assigned }, p) => (assigned.size > 0 ? [p] : []));
  }

  /** Events in memory, and deliveries that the broker has not been told of. */
  get held(): { readonly events: number; readonly unacknowledged: number } {
    const events = this.#lanes.reduce((sum, { held }) => sum + held, 0);
    return { events, unacknowledged: this.#acknowledgements.waiting };
  }

  get paused(): number[] {
    return this.#lanes.flatMap(({ paused }, p) => (paused ? [p] : []));
  }

  get topics(): readonly string[] {
    return this.#subscribed;
  }

  prefers(partition: number): boolean {
    return (this.#lanes[partition] as Lane).assigned.size > 0;
  }

  reachOf(partition: number): number {
    return this.#lanes?.[partition]?.reach ?? 0;
  }

  /** How far the log may be read by somebody who stands at `after`. */
  logLimit(partition: number, after: number): number {
    return (this.#lanes[partition] as Lane).logLimit(after);
  }

  subscribe(listener: (partition: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Takes no more deliveries; goes on acknowledging. */
  quiesce(): void {
    this.#quiet = true;
  }

  /** Tells the broker what is done, and leaves the group. */
  async stop(): Promise<void> {
    this.#quiet = true;
    this.#stop.abort();
    await within(revokeMsMax, this.#running); // a connect under way closes what it opens
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#acknowledging;
    try {
      await within(revokeMsMax, this.#acknowledge());
    } catch (error) {
      this.#options.onError(error, 'feed'); // they come again, and are known
    }
    await this.#unsubscribe();
  }

  /** A stream has settled something: perhaps something can be acknowledged. */
  settled(partition: number): void {
    if (this.prefers(partition)) this.#acknowledgeSoon();
  }

  read(request: ReadRequest, types: TypeSet | null): ReadResult | null {
    const { partition } = request;
    const open = (offset: number, slot: Slot) => this.#open(partition, offset, slot);
    return this.#lanes[partition]?.read(request, types, open) ?? null;
  }

  /**
   * Topics may have come: looked at now rather than soon. One look after the other: two at once
   * would subscribe twice, and one of the two would be nobody's.
   */
  lookForTopics(): Promise<void> {
    this.#looking = this.#looking.then(() => this.#look());
    return this.#looking;
  }

  async #look(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    const { ensureTopics, onError } = this.#options;
    try {
      const wanted = await ensureTopics();
      const fresh = wanted.some((topic) => !this.#subscribed.includes(topic));
      if (fresh || this.#subscription === null) await this.#subscribe(wanted);
    } catch (error) {
      this.presence.failed(error);
      onError(error, 'feed');
    }
  }

  async #run(): Promise<void> {
    let delayMs = 100;
    let looked = 0;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const due = this.#options.topics.perTenant && performance.now() - looked > 5_000;
      if (this.#subscription === null || due) {
        looked = performance.now();
        await this.lookForTopics();
      }
      if (this.#subscription === null) {
        await sleep(delayMs * (0.5 + Math.random()), signal);
        delayMs = Math.min(delayMs * 2, 5_000);
      } else {
        delayMs = 100;
        await sleep(sweepMs, signal);
      }
      if (!signal.aborted) await this.#sweep();
    }
  }

  async #subscribe(topics: readonly string[]): Promise<void> {
    if (topics.length === 0) return; // of tenants that are not there yet
    const { broker, group, memberId, eventsMax, onError } = this.#options;
    await this.#unsubscribe();
    const subscription = await broker.subscribe({
      group,
      topics,
      from: 'start',
      memberId,
      inFlightMax: eventsMax * 2,
      onDeliveries: (at, deliveries) => this.#take(at, deliveries),
      onAssigned: (partitions) => this.#assign(partitions),
      onRevoked: (partitions, lost) => this.#revoke(partitions, lost),
      onError: (error, where) => {
        if (isAway(error)) this.presence.doubt();
        onError(error, `feed: ${where}`);
      },
    });
    if (this.#stop.signal.aborted) return subscription.close();
    this.#subscription = subscription;
    this.#subscribed = topics;
    this.presence.heard();
  }

  async #unsubscribe(): Promise<void> {
    const subscription = this.#subscription;
    this.#subscription = null;
    if (subscription === null) return;
    try {
      await within(revokeMsMax * 2, subscription.close());
    } catch (error) {
      this.#options.onError(error, 'feed');
    }
    for (const lane of this.#lanes) this.#release(lane, [...lane.assigned.values()]);
  }

  #assign(partitions: readonly TopicPartition[]): void {
    this.presence.heard();
    for (const at of partitions) {
      const lane = this.#lanes[at.partition];
      if (lane === undefined) {
        const why = `${at.topic} has partition ${at.partition}; the log has fewer`;
        this.#options.onError(new MillraceError('BROKER_TOPIC_MISMATCH', `${why}.`), 'feed');
        continue;
      }
      lane.assigned.set(at.topic, at);
      lane.deliveredAt = performance.now();
      this.#acknowledgements.open(at);
      if (lane.paused) this.#subscription?.pause([at]);
    }
    this.#options.onAssigned();
  }

  async #revoke(partitions: readonly TopicPartition[], lost: boolean): Promise<void> {
    const gone: number[] = [];
    for (const { topic, partition } of partitions) {
      const lane = this.#lanes[partition];
      if (lane === undefined || !lane.assigned.delete(topic)) continue;
      if (lane.assigned.size === 0) gone.push(partition);
    }
    try {
      if (gone.length > 0) await within(revokeMsMax - 500, this.#options.onRevoked(gone));
      if (!lost) await within(revokeMsMax, this.#acknowledge());
    } catch (error) {
      this.#options.onError(error, 'feed'); // they come again elsewhere, and are known there
    }
    for (const at of partitions) {
      const lane = this.#lanes[at.partition];
      // It may have come back meanwhile.
      if (lane && !lane.assigned.has(at.topic)) this.#release(lane, [at]);
    }
    for (const partition of gone) this.#wake(partition); // kept, they go on from the log
    this.#options.onAssigned();
  }

  #release(lane: Lane, partitions: readonly TopicPartition[]): void {
    for (const at of partitions) {
      lane.assigned.delete(at.topic);
      this.#acknowledgements.close(at);
    }
    if (lane.assigned.size > 0) return;
    lane.paused = false;
    lane.overdue = null;
    lane.evictedTo = 0;
    lane.reset();
  }

  #take(at: TopicPartition, deliveries: readonly Delivery[]): void {
    const lane = this.#lanes[at.partition];
    if (this.#quiet || lane === undefined) return;
    this.presence.heard();
    this.#counts.delivered += deliveries.length;
    const { store, topics, positionsAt } = this.#options;
    // What a group here has settled is in the log: a broker that begins with old events, as for a
    // group that is new to it, need not come that far before anything is read.
    const settled = Math.max(0, ...positionsAt(at.partition));
    if (settled > lane.reach) lane.raise(settled);
    const log = { logId: store.logId, partitions: store.partitions, topics };
    const before = lane.reach;
    let taken = false;
    for (const delivery of deliveries) {
      const judged = judge(delivery, log);
      if (judged.fault !== null) {
        this.#refuse(delivery, judged.fault);
        continue;
      }
      const { event, offset } = judged;
      const arrival = lane.put(offset, event);
      if (arrival === 'duplicate') this.#counts.duplicates += 1;
      if (arrival === 'taken') taken = true;
      // What is not kept is read from the log: nobody here needs it from the broker again.
      this.#acknowledgements.add(at, delivery.position, arrival === 'taken' ? offset : 0);
    }
    // Old events alone are silence: what is new may be far behind them.
    if (taken) lane.deliveredAt = performance.now();
    this.#bound(lane, at.partition);
    if (lane.reach > before) this.#wake(at.partition);
    else this.#acknowledgeSoon(); // duplicates alone: nobody settles anything for them
  }

  #refuse(delivery: Delivery, fault: { reason: Refusal['reason']; message: string }): void {
    const { topic, partition, position, event, raw } = delivery;
    this.#counts.refused += 1;
    const done = this.#acknowledgements.hold({ topic, partition }, position);
    const refusal = { topic, partition, position, event, raw, ...fault };
    this.#options.refuse([refusal]).then(
      () => {
        done();
        this.#acknowledgeSoon();
      },
      (error) => this.#options.onError(error, 'feed'), // not acknowledged: it comes again
    );
  }

  /** Full: what the fastest group has settled goes; if that is not enough, the broker waits. */
  #bound(lane: Lane, partition: number): void {
    const { eventsMax, positionsAt } = this.#options;
    if (this.#isFull(lane)) {
      const positions = positionsAt(partition);
      const fastest = positions.length === 0 ? lane.reach : Math.max(...positions);
      const few = lane.held > eventsMax ? eventsMax : Math.floor(lane.held / 2);
      const upTo = Math.min(fastest, lane.oldestBeyond(few));
      const before = lane.held;
      lane.dropTo(upTo);
      lane.evictedTo = Math.max(lane.evictedTo, upTo);
      this.#counts.evicted += before - lane.held;
      if (before > lane.held) this.#acknowledgeSoon();
    }
    const full = this.#isFull(lane);
    if (full && !lane.paused) {
      lane.paused = true;
      this.#subscription?.pause([...lane.assigned.values()]);
    } else if (lane.paused && !full && this.#mayResume(lane, partition)) {
      lane.paused = false;
      this.#subscription?.resume([...lane.assigned.values()]);
    }
  }

  /** Half empty, or held for a slow group alone: the others must not wait for it. */
  #mayResume(lane: Lane, partition: number): boolean {
    if (lane.held <= this.#options.eventsMax / 2) return true;
    const positions = this.#options.positionsAt(partition);
    return positions.length === 0 || Math.max(...positions) >= lane.reach;
  }

  #isFull(lane: Lane): boolean {
    return lane.held > this.#options.eventsMax || lane.bytes > this.#options.charsMax;
  }

  #wake(partition: number): void {
    for (const listener of this.#listeners) listener(partition);
  }

  #open(partition: number, offset: number, { received }: Slot): StoredEvent | null {
    const ours = this.#options.tail.at(partition, offset);
    if (ours !== null && ours.eventId === received.id) return ours;
    this.#counts.opened += 1;
    return toStored(received, partition, offset);
  }

  /** Up to which offset nothing of this partition is needed here any more. */
  #safe(partition: number): number {
    const lane = this.#lanes[partition] as Lane;
    const positions = this.#options.positionsAt(partition);
    if (positions.length > 0) {
      lane.unownedSince = null;
      return Math.max(lane.evictedTo, Math.min(...positions));
    }
    const now = performance.now();
    lane.unownedSince ??= now;
    return now - lane.unownedSince > this.#options.unownedMs ? lane.reach : lane.evictedTo;
  }

  #acknowledgeSoon(): void {
    if (this.#timer !== null || this.#stop.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#acknowledging = this.#acknowledge().catch((error) => {
        if (isAway(error)) this.presence.doubt();
        this.#options.onError(error, 'feed'); // told again with what is done by then
      });
    }, acknowledgeMs);
  }

  async #acknowledge(): Promise<void> {
    for (const [partition, lane] of this.#lanes.entries()) {
      if (lane.held === 0 && !lane.paused) continue;
      lane.dropTo(this.#safe(partition));
      this.#bound(lane, partition);
    }
    const done = this.#acknowledgements.take((partition) => this.#safe(partition));
    if (done.length === 0 || this.#subscription === null) return;
    const before = this.#acknowledgements.waiting;
    await this.#subscription.acknowledge(done);
    this.#acknowledgements.confirm(done);
    this.#counts.acknowledged = this.#counts.delivered - before;
  }

  /** What no delivery wakes: gaps, silence, a broker that is away, partitions without a group. */
  async #sweep(): Promise<void> {
    const { gapMs, onError } = this.#options;
    const now = performance.now();
    if (now - this.#sweptAt > stallMs) this.#forgiveSilence(now);
    this.#sweptAt = now;
    for (const [partition, lane] of this.#lanes.entries()) {
      if (lane.gapSince !== null && now - lane.gapSince >= gapMs) this.#fillGap(lane, partition);
      if (lane.held > 0 || lane.paused) this.#acknowledgeSoon();
    }
    if (this.#acknowledgements.pending && !this.presence.away) this.#acknowledgeSoon();
    try {
      if (this.presence.mustAsk(now)) await this.presence.ask();
      await this.#fillSilence(now);
    } catch (error) {
      onError(error, 'feed');
    }
    if (this.presence.turned()) for (const p of this.#lanes.keys()) this.#wake(p);
  }

  /** This process was busy elsewhere: what came meanwhile waits before us, and is not missing. */
  #forgiveSilence(now: number): void {
    for (const lane of this.#lanes) {
      lane.deliveredAt = now;
      if (lane.gapSince !== null) lane.gapSince = now;
    }
  }

  #fillGap(lane: Lane, partition: number): void {
    const { early } = lane;
    if (early === null) return;
    // A place beyond the log is nobody's: the log must have what lies before it.
    if (early - 1 > this.#options.heads.of(partition)) return;
    this.#counts.gaps += lane.raise(early - 1);
    this.#wake(partition);
  }

  /** The relay has published what never came: it is not at the broker any more, or never was. */
  async #fillSilence(now: number): Promise<void> {
    const { gapMs, heads, relayGroup, store } = this.#options;
    const silent = this.#lanes.flatMap((lane, partition) => {
      const quiet = lane.assigned.size > 0 && !lane.paused && now - lane.deliveredAt >= gapMs;
      return quiet && heads.of(partition) > lane.reach ? [{ lane, partition }] : [];
    });
    if (silent.length === 0 || this.presence.away) return;
    const positions = await store.streams.positions([relayGroup]);
    const published = new Map(positions.map(({ partition, position }) => [partition, position]));
    for (const { lane, partition } of silent) {
      const to = published.get(partition) ?? 0;
      const { overdue } = lane;
      if (overdue === null || lane.deliveredAt > overdue.at || overdue.to <= lane.reach) {
        lane.overdue = to > lane.reach ? { to, at: now } : null;
      } else if (now - overdue.at >= gapMs) {
        this.#counts.gaps += lane.raise(overdue.to);
        lane.overdue = null;
        this.#wake(partition);
      }
    }
  }
}

export function isAway(error: unknown): boolean {
  return error instanceof MillraceError && error.code === 'BROKER_UNAVAILABLE';
}

/** Resolves when the work does, or after the limit; what it leaves goes on by itself. */
async function within(limitMs: number, work: Promise<void>): Promise<void> {
  const over = new AbortController();
  try {
    await Promise.race([work, sleep(limitMs, over.signal)]);
  } finally {
    over.abort();
  }
}

/**
 * One partition of one group, read by its owner: claim (read after the cursor), handle, settle,
 * again and again. One transaction per batch carries effects, follow-up events, failures and the
 * cursor. When a settlement is refused or its outcome unknown, everything in memory is forgotten
 * and the stream starts again from the stored cursor, so an error costs time and never an event.
 *
 *   open ──> fill ──> handle ──> settle ──┐
 *    ^         ^                          │
 *    │         └──────────────────────────┤
 *    └── error: forget, wait, ask again <─┘        LEASE_LOST or stop: end
 */
import { MillraceError } from '../../core/errors.ts';
import type { StoredEvent } from '../../core/event.ts';
import type { Redactor } from '../../core/redaction.ts';
import type { ReadResult, Store } from '../../ports/store.ts';
import type { Settlement, SettleResult } from '../../ports/streams.ts';
import { Bell, sleep } from '../../runtime/bell.ts';
import type { EventSource } from '../../runtime/source.ts';
import { BatchRunner } from './batch-runner.ts';
import { Effects } from './effects.ts';
import { createEntry, type Entry, laneOf } from './entry.ts';
import { Executor } from './executor.ts';
import type { Group } from './subscription.ts';
import { Window } from './window.ts';

export interface StreamOptions {
  readonly store: Store;
  readonly source: EventSource;
  readonly group: Group;
  readonly partition: number;
  readonly epoch: number;
  /** Between two looks at retries that are not known in this process. */
  readonly retryPollMs: number;
  /** Of follow-up events and of what handlers throw. */
  readonly redactor?: Redactor | undefined;
  /** Brings an event to the version of its definition. */
  decode(event: StoredEvent): StoredEvent;
  /** Follow-up events are durable: other groups may have them. */
  onAppended(events: readonly StoredEvent[]): void;
  onError(error: unknown): void;
}

/** Filtered offsets are settled in passing, not each on its own. */
const scanLagMax = 50_000;
const scanSettleMs = 1_000;
const redeliveryLimits = { keys: 64, perKey: 64 } as const;

export type StreamEnd = 'stopped' | 'lease-lost';

export class PartitionStream {
  readonly #options: StreamOptions;
  readonly #bell = new Bell();
  #window = new Window();
  #effects: Effects;
  #executor: Executor;
  #batches: BatchRunner | null = null;
  #generation = new AbortController();
  #seq = 0;
  #stopping = false;
  #givenUp = false;
  #nextDueAt = Number.POSITIVE_INFINITY;
  #filledAt = 0;
  #scanSettledAt = 0;
  /** After a settlement failed for a reason of its own: so many events one at a time. */
  #singles = 0;
  #handledBefore = 0;
  #failedBefore = 0;
  settlements = 0;
  /** False before the cursor was read: until then the position says nothing. */
  opened = false;
  /** performance.now() of the last turn of the loop, for the watchdog. */
  turnAt = performance.now();

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#effects = new Effects(options.store.streams);
    this.#executor = this.#createExecutor();
  }

  /** Wakes the loop: there may be something to read, to retry, or to stop. */
  wake(): void {
    this.#bell.ring();
  }

  /** Looks for due retries at the next turn, whatever is remembered about them. */
  lookForRetries(): void {
    if (this.#executor.blocked.size > 0) this.#nextDueAt = 0;
    this.#bell.ring();
  }

  /** Takes nothing new, finishes and settles what is under way, then `run` resolves. */
  stop(): void {
    this.#stopping = true;
    this.#bell.ring();
  }

  /** Aborts handlers and ends without settling; what was under way is handled again elsewhere. */
  giveUp(): void {
    this.#givenUp = true;
    this.stop();
    this.#generation.abort();
  }

  get handled(): number {
    return this.#handledBefore + this.#executor.handled;
  }

  get failed(): number {
    return this.#failedBefore + this.#executor.failed;
  }

  get position(): number {
    return this.#window.position;
  }

  /** Offsets known to exist and not looked at yet. */
  get backlog(): number {
    const { source, partition } = this.#options;
    return Math.max(0, source.headOf(partition) - this.#window.scanned);
  }

  get underWay(): number {
    return this.#executor.underWay + (this.#batches?.underWay ?? 0);
  }

  get blockedKeys(): number {
    return this.#executor.blocked.size;
  }

  async run(): Promise<StreamEnd> {
    let delayMs = 50;
    while (!this.#stopping) {
      const settledBefore = this.settlements;
      try {
        await this.#open();
        await this.#loop();
        break;
      } catch (error) {
        await this.#abandon();
        if (error instanceof MillraceError && error.code === 'LEASE_LOST') return 'lease-lost';
        this.#options.onError(error);
        if (this.settlements > settledBefore) delayMs = 50; // it got somewhere since the last error
        if (!this.#stopping) await sleep(delayMs * (0.5 + Math.random()));
        delayMs = Math.min(delayMs * 2, 2_000);
      }
    }
    await this.#abandon();
    return 'stopped';
  }

  async #open(): Promise<void> {
    const { store, group, partition } = this.#options;
    const cursor = await store.streams.openCursor({ group: group.name, partition });
    this.#generation = new AbortController();
    this.#effects = new Effects(store.streams);
    this.#handledBefore = this.handled;
    this.#failedBefore = this.failed;
    this.#executor = this.#createExecutor();
    this.#window = new Window();
    this.#window.open(cursor.position, cursor.ahead);
    this.opened = true;
    this.#seq = cursor.seq;
    for (const key of cursor.blocked) this.#executor.blocked.add(laneOf(key));
    this.#nextDueAt = cursor.blocked.length > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  /** Forgets what is under way, after an error or at the end. */
  async #abandon(): Promise<void> {
    this.#generation.abort();
    await this.#effects.rollback().catch(() => {});
  }

  async #loop(): Promise<void> {
    for (;;) {
      this.turnAt = performance.now();
      if (this.#effects.broken) throw this.#effects.broken;
      if (this.#givenUp) return;
      if (!this.#stopping) await this.#redeliver();
      const filled = this.#stopping ? false : await this.#fill();
      if (this.#effects.broken) throw this.#effects.broken;
      if (this.#executor.finished.length > 0 || this.#scanIsDue()) {
        await this.#settle();
        continue;
      }
      if (this.#stopping && this.#executor.underWay === 0) return;
      if (!filled) await this.#bell.wait(this.#waitMs());
    }
  }

  /** Reads what fits into the window and gives it to the handlers. True when it got something. */
  async #fill(): Promise<boolean> {
    const { group, source, partition } = this.#options;
    const careful = this.#singles > 0;
    const windowMax = careful ? 1 : group.batchMax;
    const room = windowMax - this.#window.size;
    if (room <= 0 || source.headOf(partition) <= this.#window.scanned) return false;
    if (careful && this.#executor.redeliveries > 0) return false;
    if (!careful && this.#lingerMs() > 0) return false;
    const found = await this.#read(room);
    this.#filledAt = performance.now();
    const entries: Entry[] = [];
    for (const event of found.events) {
      if (this.#window.isDone(event.offset)) continue;
      const entry = createEntry(event, 0, false);
      this.#window.add(entry);
      entries.push(entry);
    }
    this.#window.scanned = found.scannedTo;
    // The store answered with less than the head promised: an old hint, not a lost event.
    if (this.#batches) await this.#batches.run(entries);
    else for (const entry of entries) this.#executor.submit(entry);
    return found.scannedTo > 0 && (found.events.length > 0 || !found.atHead);
  }

  #read(limit: number): ReadResult | Promise<ReadResult> {
    const { source, group, partition } = this.#options;
    const after = this.#window.scanned;
    return source.read({ partition, after, limit, types: group.types }, group.typeSet);
  }

  /** How much longer to wait for a fuller batch. */
  #lingerMs(): number {
    const { group } = this.#options;
    if (group.lingerMs === 0 || this.backlog >= group.batchMax) return 0;
    return this.#filledAt + group.lingerMs - performance.now();
  }

  /** Brings back what failed and is due, each key from its first event on. */
  async #redeliver(): Promise<void> {
    const executor = this.#executor;
    if (executor.blocked.size === 0 || executor.redeliveries > 0) return;
    if (performance.now() < this.#nextDueAt) return;
    const { store, group, partition, retryPollMs } = this.#options;
    const at = { group: group.name, partition };
    if (this.#singles > 0 && this.#window.size > 0) return;
    const limits = this.#singles > 0 ? { keys: 1, perKey: 1 } : redeliveryLimits;
    const due = await store.failures.due(at, limits);
    if (due.length === 0) {
      const ms = await store.failures.nextDueMs(at);
      this.#nextDueAt = performance.now() + Math.min(ms ?? retryPollMs, retryPollMs);
      return;
    }
    executor.beginRound();
    const entries = due.map(({ event, attempts }) => createEntry(event, attempts, true));
    if (this.#batches) {
      executor.redeliveries += entries.length;
      await this.#batches.run(entries);
    } else for (const entry of entries) executor.submit(entry);
  }

  /** Far behind in settling what was filtered out, or idle with some of it. */
  #scanIsDue(): boolean {
    const lag = this.#window.scanned - this.#window.position;
    if (lag === 0 || this.#window.size > 0) return false;
    const waited = performance.now() - this.#scanSettledAt;
    return lag > scanLagMax || waited > scanSettleMs || this.#stopping;
  }

  async #settle(): Promise<void> {
    const { group, partition, epoch, store } = this.#options;
    await this.#effects.settle(async (transaction) => {
      // Given up while it waited for the handlers inside: effects of handlers that ended since then
      // are in the transaction, but not among the finished. Committed, they would happen twice.
      if (this.#generation.signal.aborted) return transaction?.rollback();
      const finished = this.#executor.takeFinished();
      const progress = this.#window.progress();
      const settlement: Settlement = {
        group: group.name,
        partition,
        epoch,
        seq: this.#seq + 1,
        ...progress,
        events: finished.flatMap(({ followUps }) => followUps as Settlement['events'][number][]),
        failures: finished.flatMap(({ failure }) => failure ?? []),
        resolved: finished
          .filter(({ redelivery, failure }) => redelivery && failure === null)
          .map(({ event }) => event.offset),
      };
      let result: SettleResult;
      try {
        const target = transaction ?? store.streams;
        result = await target.settle(settlement);
      } catch (error) {
        if (this.#blame(finished, error)) return;
        throw error;
      }
      this.#seq = settlement.seq;
      this.#window.settled(progress);
      this.#scanSettledAt = performance.now();
      this.settlements += 1;
      this.#executor.settled(finished);
      this.#singles = Math.max(0, this.#singles - finished.length);
      this.#learn(settlement, result);
      if (result.appended.length > 0) this.#options.onAppended(result.appended);
      this.#options.source.settled(partition);
    });
  }

  /** What the settlement says about blocked keys and the next retry. */
  #learn({ failures, resolved }: Settlement, { keys }: SettleResult): void {
    for (const key of keys) {
      const lane = laneOf(key);
      // What was parked while the settlement was under way is not known to the store yet: later
      // events of the key would pass it.
      const parked = () =>
        this.#executor.finished.some(
          ({ event, failure }) => failure !== null && laneOf(event) === lane,
        );
      if (key.blocked || parked()) this.#executor.blocked.add(lane);
      else this.#executor.blocked.delete(lane);
    }
    if (resolved.length > 0) this.#nextDueAt = 0;
    for (const { delayMs } of failures) {
      this.#nextDueAt = Math.min(this.#nextDueAt, performance.now() + (delayMs ?? 0));
    }
  }

  /**
   * A settlement that the database refuses for a reason in the effects themselves (a deferred
   * constraint, say) would fail for ever as a batch: go on one event at a time, and when that one
   * event alone is refused, the failure is its own. True when it was blamed on one.
   */
  #blame(finished: readonly Entry[], error: unknown): boolean {
    if (error instanceof MillraceError) return false;
    const [only] = finished;
    // With others under way the next of its key may have been handled already: start again.
    const alone = this.#executor.underWay === 0 && this.#executor.finished.length === 0;
    if (alone && finished.length === 1 && only && only.failure === null) {
      this.#executor.fail(only, error);
      return true;
    }
    this.#singles = finished.length;
    return false;
  }

  #waitMs(): number {
    const now = performance.now();
    let wait = 10_000;
    const { blocked, redeliveries } = this.#executor;
    if (blocked.size > 0 && redeliveries === 0) wait = Math.min(wait, this.#nextDueAt - now);
    if (this.backlog > 0) {
      const linger = this.#lingerMs();
      if (linger > 0) wait = Math.min(wait, linger);
      else if (this.#window.size === 0) wait = Math.min(wait, 5);
    }
    if (this.#window.scanned > this.#window.position && this.#window.size === 0) {
      wait = Math.min(wait, this.#scanSettledAt + scanSettleMs - now);
    }
    return Math.max(1, wait); // never 0: other work of the process must get its turn
  }

  #createExecutor(): Executor {
    const { group, store, redactor, decode } = this.#options;
    const options = {
      group,
      effects: this.#effects,
      partitions: store.partitions,
      signal: this.#generation.signal,
      redactor,
      decode,
      onProgress: () => this.#bell.ring(),
    };
    const executor = new Executor(options);
    this.#batches = group.handleBatch ? new BatchRunner(options, executor) : null;
    return executor;
  }
}

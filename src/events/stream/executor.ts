/**
 * Runs handlers: different keys at once, one key in order, at most `concurrency` at a time. A
 * failed event blocks its key; what follows on that key is parked. Handlers that answer at once
 * (without a promise) cost no bookkeeping at all, which is what makes 100,000 events a second
 * possible.
 */
import type { StoredEvent } from '../../core/event.ts';
import type { Redactor } from '../../core/redaction.ts';
import { type ContextShared, HandlerContext } from './context.ts';
import type { Effects } from './effects.ts';
import { type Entry, laneOf, nothing } from './entry.ts';
import { decideFailure, park } from './failure-policy.ts';
import type { Group } from './subscription.ts';
import { isPromise, isTimeout, withTimeout } from './timeout.ts';

export interface ExecutorOptions {
  readonly group: Group;
  readonly effects: Effects;
  readonly partitions: number;
  /** Aborted when the stream gives up what is under way; nothing counts after that. */
  readonly signal: AbortSignal;
  readonly redactor?: Redactor | undefined;
  /** Brings an event to the version of its definition. */
  decode(event: StoredEvent): StoredEvent;
  /** Called after each handler that did not answer at once. */
  onProgress(): void;
}

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #shared: ContextShared;
  /** Keys with a handler under way, each with the entries that wait for it. */
  readonly #lanes = new Map<string, Entry[]>();
  #ready: Entry[] = [];
  #running = 0;
  /** Keys that wait for a retry or behind a dead letter. */
  readonly blocked = new Set<string>();
  /** Keys whose redelivery failed in this round: what was loaded behind them stays parked. */
  readonly #suspended = new Set<string>();
  /** Finished and not yet settled, in order of finishing. */
  finished: Entry[] = [];
  /** Redelivered and not settled: until then the store would bring the same ones again. */
  redeliveries = 0;
  handled = 0;
  failed = 0;

  constructor(options: ExecutorOptions) {
    this.#options = options;
    const { effects, partitions, signal, redactor } = options;
    this.#shared = { effects, partitions, signal, prepare: { redactor } };
  }

  /** Entries given to it that have not finished. */
  get underWay(): number {
    return this.#running + this.#ready.length + this.#queued();
  }

  submit(entry: Entry): void {
    if (entry.redelivery) this.redeliveries += 1;
    if (this.#ready.length > 0) {
      // Not into the queue of its lane: events of its key may be among those that are ready.
      if (!this.parkIfBlocked(entry, laneOf(entry.event))) this.#ready.push(entry);
      return;
    }
    if (this.#mustWait(entry)) return;
    if (this.#running >= this.#options.group.concurrency) this.#ready.push(entry);
    else this.#start(entry);
  }

  takeFinished(): Entry[] {
    const entries = this.finished;
    this.finished = [];
    return entries;
  }

  beginRound(): void {
    this.#suspended.clear();
  }

  /** Ends an entry as failed, or one that had finished when its settlement is refused. */
  fail(entry: Entry, error: unknown): void {
    const { event } = entry;
    const { group, redactor } = this.#options;
    const attempts = entry.attempts + 1;
    const policy = group.policy(event.eventType);
    const outcome = decideFailure({
      event,
      group: group.name,
      attempts,
      error,
      policy,
      redactor,
    });
    entry.failure = outcome.failure;
    this.failed += 1;
    const lane = laneOf(event);
    this.blocked.add(lane);
    this.#suspended.add(lane);
    this.finish(entry, outcome.followUps);
    // What waits here comes before what is read later: that must not be parked and promoted first.
    for (const waiting of this.#lanes.get(lane)?.splice(0) ?? []) this.parkIfBlocked(waiting, lane);
    if (this.#ready.length === 0) return;
    this.#ready = this.#ready.filter(
      (waiting) => laneOf(waiting.event) !== lane || !this.parkIfBlocked(waiting, lane),
    );
  }

  /** The entries are durable: what was redelivered among them is not under way any more. */
  settled(entries: readonly Entry[]): void {
    for (const { redelivery } of entries) if (redelivery) this.redeliveries -= 1;
  }

  finish(entry: Entry, followUps: Entry['followUps']): void {
    entry.followUps = followUps;
    entry.done = true;
    this.finished.push(entry);
  }

  /** True when the entry is dealt with: parked, dropped, or behind another one of its key. */
  #mustWait(entry: Entry): boolean {
    if (this.blocked.size === 0 && this.#lanes.size === 0) return false;
    const key = laneOf(entry.event);
    if (this.parkIfBlocked(entry, key)) return true;
    const lane = this.#lanes.get(key);
    lane?.push(entry);
    return lane !== undefined;
  }

  parkIfBlocked(entry: Entry, key: string): boolean {
    if (entry.redelivery) {
      if (!this.#suspended.has(key)) return false;
      this.redeliveries -= 1; // its row is there already; the next round brings it again
      return true;
    }
    if (!this.blocked.has(key)) return false;
    entry.failure = park(entry.event);
    this.finish(entry, nothing);
    return true;
  }

  #queued(): number {
    let queued = 0;
    for (const lane of this.#lanes.values()) queued += lane.length;
    return queued;
  }

  #start(entry: Entry): void {
    const { group, decode } = this.#options;
    let context: HandlerContext | null = null;
    try {
      const definition = group.definitions.get(entry.event.eventType);
      const event = definition?.version === entry.event.version ? entry.event : decode(entry.event);
      context = new HandlerContext(event, entry.attempts + 1, this.#shared);
      this.handled += 1;
      const answer = group.handle?.(event, context);
      if (!isPromise(answer) && context.turn === null) {
        this.finish(entry, context.close());
        return;
      }
      this.#follow(entry, context, Promise.resolve(answer));
    } catch (error) {
      if (context?.turn) this.#follow(entry, context, Promise.reject(error));
      else this.fail(entry, error);
    }
  }

  /** A handler that takes its time: its key is busy until it ends, or its time is over. */
  #follow(entry: Entry, context: HandlerContext, answer: Promise<unknown>): void {
    const key = laneOf(entry.event);
    const lane: Entry[] = [];
    this.#lanes.set(key, lane);
    this.#running += 1;
    void this.#conclude(entry, context, answer).then(() => {
      this.#running -= 1;
      this.#lanes.delete(key);
      if (!this.#options.signal.aborted) this.#continue(lane);
      this.#options.onProgress();
    });
  }

  async #conclude(entry: Entry, context: HandlerContext, answer: Promise<unknown>): Promise<void> {
    let error: unknown;
    let failed = false;
    try {
      await withTimeout(answer, this.#options.group.timeoutMs);
    } catch (thrown) {
      failed = true;
      error = thrown;
      if (isTimeout(thrown)) context.abort(thrown);
    }
    const followUps = context.close();
    try {
      if (context.turn) await (await context.turn).end(!failed);
    } catch (thrown) {
      if (this.#options.effects.broken) return; // the stream starts again from its cursor
      failed = true;
      error = thrown;
    }
    if (this.#options.signal.aborted || this.#options.effects.broken) return;
    if (failed) this.fail(entry, error);
    else this.finish(entry, followUps);
  }

  /** What waited behind the key that has become free, then whatever else is ready. */
  #continue(lane: Entry[]): void {
    if (lane.length > 0) this.#ready = lane.concat(this.#ready);
    while (this.#running < this.#options.group.concurrency) {
      const entry = this.#ready.shift();
      if (entry === undefined) return;
      if (!this.#mustWait(entry)) this.#start(entry);
    }
  }
}

/**
 * Fires due schedules. Every process may run one; there is no leader to be believed or to be lost.
 * Who fires a tick is decided by the store: a firing is refused unless its revision is the newest,
 * and a tick is enqueued once whatever happens. So a scheduler that was frozen, cut off or killed
 * in the middle of a firing does no harm, and any other goes on in its place.
 *
 * It sleeps until the next tick, a second at most: schedules may have been added elsewhere, and the
 * clock may have been set. Nothing that the store does or does not answer stops the loop.
 */
import { type Clock, systemClock } from '../../core/clock.ts';
import { MillraceError } from '../../core/errors.ts';
import { parseScheduleRule, type ScheduleRule } from '../../core/schedule-rule.ts';
import type { ScheduleRecord, ScheduleStore } from '../../ports/schedules.ts';
import { jobOfTick, planFiring } from './firing.ts';
import { nextTick } from './ticks.ts';
import { limitTime } from './time-limit.ts';

export interface SchedulerOptions {
  readonly schedules: ScheduleStore;
  /** Whatever went wrong; the scheduler goes on. The schedule is named when it is about one. */
  onError(error: unknown, schedule?: ScheduleName): void;
  /** Jobs were enqueued: their queue's workers want to be woken. */
  onFired?(fired: FiredSchedule): void;
  /** The clock was set by so much, forward or back, while we were looking. */
  onClockSet?(byMs: number): void;
  readonly clock?: Clock;
  /** The longest sleep; 1,000 ms by default. */
  readonly lookMs?: number;
  /** A store that is silent for longer is given up for this time; 5,000 ms by default. */
  readonly answerMs?: number;
}

export interface ScheduleName {
  readonly tenantId: string;
  readonly name: string;
}

export interface FiredSchedule extends ScheduleName {
  readonly queue: string;
  /** ISO 8601; none when all that was due was skipped. */
  readonly ticks: readonly string[];
  /** Ticks before these were missed, or these come late. */
  readonly missed: boolean;
}

/** Schedules read at a look, beside those that fail. */
const batchMax = 100;
const concurrency = 4;
/** A clock that disagrees with the time that went by for more than this was set. */
const clockSetMs = 1_000;
/** What is under way when the scheduler stops may take so long. */
const hurryMs = 1_000;
const failureMs = { first: 100, most: 30_000, mostRetryable: 1_000 };
const rulesMax = 1_000;

interface Failing {
  readonly failures: number;
  readonly retryable: boolean;
  /** In elapsed time. */
  readonly until: number;
}

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #clock: Clock;
  readonly #lookMs: number;
  readonly #rules = new Map<string, ScheduleRule>();
  readonly #failing = new Map<string, Failing>();
  #running: Promise<void> | null = null;
  #stopping = new AbortController();
  #alarm = new AbortController();
  #seen = { now: 0, elapsed: 0 };
  /** Schedules may wait for a time that a clock set wrongly made them wait for. */
  #mustRealign = true;
  #failures = 0;
  /** Ticks of the firings that this scheduler won. */
  fired = 0;

  constructor(options: SchedulerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#lookMs = options.lookMs ?? 1_000;
  }

  start(): void {
    if (this.#running !== null) return;
    this.#stopping = new AbortController();
    this.#mustRealign = true;
    this.#seen = { now: this.#clock.now(), elapsed: this.#clock.elapsedMs() };
    this.#running = this.#run(this.#stopping.signal);
  }

  /** Resolves when nothing is under way any more, after a second at most. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.wake();
    await this.#running;
    this.#running = null;
  }

  /** Looks now: a schedule was saved. */
  wake(): void {
    this.#alarm.abort();
  }

  async #run(stopping: AbortSignal): Promise<void> {
    while (!stopping.aborted) {
      this.#alarm = new AbortController();
      const { signal } = this.#alarm;
      this.#watchClock();
      let waitMs: number;
      try {
        waitMs = await this.#look();
        this.#failures = 0;
      } catch (error) {
        if (stopping.aborted) return;
        this.#options.onError(error);
        waitMs = backoffMs(this.#failures, 5 * this.#lookMs);
        this.#failures += 1;
      }
      if (!stopping.aborted) await this.#clock.sleep(waitMs, signal);
    }
  }

  /**
   * Fires what is due. Answers how long to sleep: asked for what is due within one sleep, the store
   * names the next tick too, behind whatever cannot fire now.
   */
  async #look(): Promise<number> {
    const { schedules } = this.#options;
    if (this.#mustRealign) await this.#realign();
    const now = this.#clock.now();
    const horizon = new Date(now + this.#lookMs).toISOString();
    const limit = batchMax + this.#failing.size;
    const soon = await this.#answer(schedules.due(horizon, limit));
    if (soon.length < limit) this.#forgetFailing(soon);
    const waits = soon.map((record) => this.#waitMs(record, now));
    const ready = soon.filter((_, i) => waits[i] === 0);
    if (ready.length === 0) return Math.min(this.#lookMs, ...waits);
    await this.#fireAll(ready, now);
    return 0;
  }

  /**
   * Until it may fire: its time has come, and it has not just failed to. What will hardly go better
   * soon is tried at a later look and shortens no sleep.
   */
  #waitMs(record: ScheduleRecord, now: number): number {
    const dueMs = Math.max(0, Date.parse(record.nextAt as string) - now);
    const failing = this.#failing.get(keyOf(record));
    const restMs = (failing?.until ?? 0) - this.#clock.elapsedMs();
    if (failing === undefined || restMs <= 0) return dueMs;
    return Math.max(dueMs, restMs, failing.retryable ? 0 : this.#lookMs);
  }

  /** Several at a time, in an order of our own: two schedulers then share the work. */
  async #fireAll(records: readonly ScheduleRecord[], now: number): Promise<void> {
    const line = [...records].sort(() => Math.random() - 0.5);
    const work = async () => {
      for (;;) {
        const record = line.pop();
        if (record === undefined || this.#stopping.signal.aborted) return;
        await this.#fire(record, now);
      }
    };
    await Promise.all(Array.from({ length: concurrency }, work));
  }

  /** Never rejects: one schedule that cannot fire must not hold up the others. */
  async #fire(record: ScheduleRecord, now: number): Promise<void> {
    const { schedules, onError, onFired } = this.#options;
    const { tenantId, name, revision, job } = record;
    try {
      const rule = this.#ruleOf(record);
      const { ticks, nextMs, missed } = planFiring(rule, Date.parse(record.nextAt as string), now);
      const fires = ticks.map((ms) => ({
        at: new Date(ms).toISOString(),
        job: jobOfTick(record, rule, ms),
      }));
      const won = await this.#answer(
        schedules.fire({
          tenantId,
          name,
          revision,
          ticks: fires,
          nextAt: nextMs === null ? null : new Date(nextMs).toISOString(),
          lastAt: fires.at(-1)?.at ?? record.lastAt,
        }),
      );
      this.#failing.delete(keyOf(record));
      if (!won) return;
      this.fired += fires.length;
      onFired?.({ tenantId, name, queue: job.queue, ticks: fires.map(({ at }) => at), missed });
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      this.#noteFailure(record, error);
      onError(error, { tenantId, name });
    }
  }

  /** What is not due any more does not fail any more: it was removed, or fired elsewhere. */
  #forgetFailing(soon: readonly ScheduleRecord[]): void {
    const keys = new Set(soon.map(keyOf));
    for (const key of this.#failing.keys()) if (!keys.has(key)) this.#failing.delete(key);
  }

  #noteFailure(record: ScheduleRecord, error: unknown): void {
    const failures = this.#failing.get(keyOf(record))?.failures ?? 0;
    const retryable = error instanceof MillraceError && error.retryable;
    const waitMs = backoffMs(failures, retryable ? failureMs.mostRetryable : failureMs.most);
    const until = this.#clock.elapsedMs() + waitMs;
    this.#failing.set(keyOf(record), { failures: failures + 1, retryable, until });
  }

  #ruleOf({ ruleJson, tenantId, name }: ScheduleRecord): ScheduleRule {
    const known = this.#rules.get(ruleJson);
    if (known) return known;
    const rule = parseScheduleRule(JSON.parse(ruleJson), `schedule ${name} of ${tenantId}`);
    if (this.#rules.size >= rulesMax) this.#rules.clear();
    this.#rules.set(ruleJson, rule);
    return rule;
  }

  /** The clock tells another story than the time that went by. */
  #watchClock(): void {
    const now = this.#clock.now();
    const elapsed = this.#clock.elapsedMs();
    const byMs = now - this.#seen.now - (elapsed - this.#seen.elapsed);
    this.#seen = { now, elapsed };
    if (Math.abs(byMs) < clockSetMs) return;
    if (byMs < 0) this.#mustRealign = true;
    this.#options.onClockSet?.(Math.round(byMs));
  }

  /**
   * A clock that ran ahead fired ticks of the future, and their schedules would now wait until it
   * has come; after a year's jump, for a year. What fired in the future shall be due by the rule
   * again. Nothing fires twice: the store knows the ticks that did.
   */
  async #realign(): Promise<void> {
    const { schedules, onError } = this.#options;
    const now = this.#clock.now();
    for (const record of await this.#answer(schedules.list(null))) {
      const { tenantId, name, revision, paused, nextAt, lastAt } = record;
      if (paused || lastAt === null || Date.parse(lastAt) <= now) continue;
      try {
        const nextMs = nextTick(this.#ruleOf(record), now);
        if (nextMs === null || (nextAt !== null && Date.parse(nextAt) <= nextMs)) continue;
        const next = new Date(nextMs).toISOString();
        await this.#answer(
          schedules.fire({ tenantId, name, revision, ticks: [], nextAt: next, lastAt }),
        );
      } catch (error) {
        if (error instanceof MillraceError && error.code === 'STORE_UNAVAILABLE') throw error;
        onError(error, { tenantId, name });
      }
    }
    this.#mustRealign = false;
  }

  /** What is still done afterwards is refused by its revision. */
  #answer<T>(work: Promise<T>): Promise<T> {
    const { answerMs = 5_000 } = this.#options;
    return limitTime(work, { limitMs: answerMs, hurry: this.#stopping.signal, hurryMs });
  }
}

const keyOf = ({ tenantId, name }: ScheduleName) => `${tenantId}\u0001${name}`;

/** Between half and all of it, so that schedulers that failed together come back apart. */
function backoffMs(failures: number, most: number): number {
  return Math.min(failureMs.first * 2 ** Math.min(failures, 20), most) * (0.5 + Math.random() / 2);
}

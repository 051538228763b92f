/**
 * Works on one queue: claims as much as its slots can finish soon, runs handlers, settles what they
 * came to. A claim is small while jobs take long (others shall have the rest) and large while they
 * are quick: so many as the slots finish in `horizonMs`.
 */
import type { MillraceError } from '../core/errors.ts';
import { isSuspect, type JobRef } from '../core/job.ts';
import type { AnyJobDefinition } from '../core/job-definition.ts';
import type { ClaimedJob, ExchangeResult } from '../ports/jobs.ts';
import type { Channel, ChannelWorker, ClaimWish } from './channel.ts';
import type { ClaimReport } from './conducting.ts';
import type { Executor } from './executor.ts';
import type { RunningJob, Slot } from './running-job.ts';
import type { Session } from './session.ts';
import { Solitude } from './solitude.ts';

export interface QueueWorkerOptions {
  readonly channel: Channel;
  readonly session: Session;
  /** Handlers at work at the same time at most. */
  readonly concurrency: number;
  /** Jobs of one claim at most. */
  readonly claimMax: number;
  /** Suspects run alone. False where jobs are long and mostly wait: they would never be alone. */
  readonly solitary: boolean;
  /** Null: no handler of this process knows the name. */
  definitionOf(name: string): AnyJobDefinition | null;
  readonly executor: Executor;
  /** A job whose name nobody here knows: put off, so that another worker may have it. */
  putOff(job: ClaimedJob, epoch: number): void;
  /** Claimed and not wanted any more: they wait again. */
  handBack(jobs: readonly ClaimedJob[], epoch: number): void;
  onClaimed(report: ClaimReport): void;
  /** Enqueues of this process are to be found by somebody first. */
  apart(): boolean;
}

const horizonMs = 15;
/** How soon and how late to look again when a limit on concurrency is reached elsewhere. */
const limitedMsLeast = 10;
const limitedMsMost = 500;
const isSound = (job: ClaimedJob) => !isSuspect(job);
/** Of the mean duration: a tenth of each new one. */
const smoothing = 0.1;

export class QueueWorker implements Omit<ChannelWorker, 'committed'> {
  readonly #options: QueueWorkerOptions;
  /** Claimed and not started; taken from `#next` on. */
  #buffer: ClaimedJob[] = [];
  #next = 0;
  readonly #running = new Set<RunningJob>();
  #slotsTaken = 0;
  #lanes = new Set<number>();
  /** Lanes of which only so many jobs are wanted. */
  readonly #rations = new Map<number, number>();
  #rowsMayWait = true;
  #concurrency: number;
  #held = false;
  #suspects = 0;
  readonly #solitude: Solitude;
  /** Whether suspects wait: a new worker asks once its slots are empty, and stops nothing. */
  #unsure = true;
  /** It has claimed before: the first claim is for sound jobs, as many as there are. */
  #claimed = false;
  #meanMs = horizonMs;
  #limitedUntil = 0;
  #limitedMs = limitedMsLeast;
  #timer: NodeJS.Timeout | null = null;
  #timerAt = Number.POSITIVE_INFINITY;
  #claiming = false;
  #stopping = false;
  #batchTimer: NodeJS.Timeout | null = null;
  /** Since when a batch waits to become fuller. */
  #gatherSince: number | null = null;
  paused = false;

  constructor(options: QueueWorkerOptions) {
    this.#options = options;
    this.#concurrency = options.concurrency;
    this.#solitude = new Solitude(() => {
      this.#fill();
      options.channel.kick();
    });
    // A worker that takes the place of one that died does not know what that one died of.
    if (options.solitary) this.#solitude.expect();
  }

  get queue(): string {
    return this.#options.channel.queue;
  }
  get concurrency(): number {
    return this.#concurrency;
  }
  get apart(): boolean {
    return this.#options.apart();
  }
  get running(): number {
    return this.#running.size;
  }
  get buffered(): number {
    return this.#buffer.length - this.#next;
  }
  get epoch(): number | null {
    return this.#options.session.epoch;
  }

  /** These lanes, or state rows, may have jobs. */
  wake(lanes: readonly number[] = []): void {
    for (const lane of lanes) this.#lanes.add(lane);
    this.#rowsMayWait = true;
    if (!this.#stopping) this.#options.channel.kick();
  }

  /** So many jobs of the lane may wait, and no more are wanted. */
  wakeFor(lane: number, most: number): void {
    this.#rations.set(lane, most);
    if (!this.#stopping) this.#options.channel.kick();
  }

  /** From now on; what runs already goes on. */
  resize(concurrency: number): void {
    this.#concurrency = concurrency;
    this.#fill();
  }

  /** Claims nothing until it may proceed, and hands back what was not started. */
  hold(): void {
    this.#held = true;
    this.#rations.clear();
    const { epoch } = this;
    const left = this.#takeBuffer();
    for (const job of left) if (isSuspect(job)) this.#suspects -= 1;
    if (left.length > 0 && epoch !== null) this.#options.handBack(left, epoch);
  }

  proceed(): void {
    this.#held = false;
    this.wake();
  }

  wish(enqueues: boolean): ClaimWish | null {
    if (this.#stopping || this.paused || this.#claiming || this.epoch === null) return null;
    if (this.#held) return null;
    const known = this.#lanes.size > 0 || this.#rations.size > 0 || this.#rowsMayWait;
    if (!enqueues && !known) return null;
    if (this.#limitedUntil > performance.now()) return null;
    const target = this.#target();
    const have = this.#running.size + this.buffered;
    // Refill when half empty: claims of a few jobs each would cost a commit each.
    if (have * 2 > target && have >= this.#concurrency) return null;
    const max = target - have;
    if (max <= 0) return null;
    const { solitary } = this.#options;
    const { wanted, hurried } = this.#solitude;
    if (solitary && have > 0 && wanted && !this.#unsure) return null; // until the slots are empty
    const free = have === 0 && this.#claimed;
    const suspects = !solitary || (this.#suspects === 0 && (free || hurried));
    // What is only held when the process ends is blamed as well: a suspect comes by itself.
    const alone = solitary && free && wanted;
    const ration = this.#lanes.size === 0 ? this.#nextRation() : null;
    if (ration !== null) {
      return { max: alone ? 1 : Math.min(max, ration[1]), lanes: [ration[0]], suspects, ration };
    }
    return { max: alone ? 1 : max, lanes: [...this.#lanes], suspects, ration: null };
  }

  /** One lane at a time, so that none gives what another was asked for. */
  #nextRation(): readonly [lane: number, most: number] | null {
    for (const ration of this.#rations) return ration;
    return null;
  }

  begin({ ration }: ClaimWish): { epoch: number; claimNo: number } | null {
    const { epoch } = this;
    if (epoch === null) return null;
    this.#claiming = true;
    // What is named from here on was not seen by this claim.
    if (ration === null) this.#lanes = new Set();
    else this.#rations.delete(ration[0]);
    this.#rowsMayWait = false;
    return { epoch, claimNo: this.#options.session.openClaim() };
  }

  accept(result: ExchangeResult, claimNo: number, wish: ClaimWish): void {
    const { session } = this.#options;
    this.#claiming = false;
    const { claimed, lanesLeft, limitedMs, nextDueMs } = result;
    session.hold(claimNo, claimed.length);
    session.letGo(claimNo, 1);
    this.paused = result.paused;
    if (this.#held || this.#stopping) {
      if (claimed.length > 0) this.#options.handBack(claimed, this.epoch as number);
      return;
    }
    if (wish.ration === null) for (const lane of lanesLeft) this.#lanes.add(lane);
    const over = wish.ration !== null && !this.#keepRation(wish.ration, result);
    const ration = wish.ration === null ? null : { lane: wish.ration[0], over };
    this.#options.onClaimed({ jobs: claimed, ration, looked: wish.lanes.length > 0 });
    if (limitedMs !== null) {
      // 0: as soon as a job is settled somewhere, which others cannot tell us; so we look.
      const waitMs = limitedMs > 0 ? limitedMs : claimed.length > 0 ? 0 : this.#limitedMs;
      this.#limitedMs = claimed.length > 0 ? limitedMsLeast : Math.min(waitMs * 2, limitedMsMost);
      this.#limitedUntil = performance.now() + waitMs;
      this.#rowsMayWait = true;
      if (waitMs > 0) this.#wakeIn(waitMs);
    }
    if (nextDueMs !== null) {
      if (nextDueMs <= 0 && claimed.length > 0) this.#rowsMayWait = true;
      else this.#wakeIn(Math.max(1, nextDueMs));
    }
    if (claimed.length >= wish.max) this.#rowsMayWait = true;
    const suspects = claimed.filter(isSuspect);
    this.#suspects += suspects.length;
    this.#claimed = true;
    if (wish.suspects && this.#options.solitary) {
      this.#solitude.claimed(suspects.length);
      this.#unsure = false;
    }
    // First, so that it runs before anything else of this claim can end the process.
    this.#append(suspects.length > 0 ? [...suspects, ...claimed.filter(isSound)] : claimed);
    this.#fill();
  }

  /** False when the lane gives no more. State rows that came instead do not use it up. */
  #keepRation([lane, most]: readonly [number, number], result: ExchangeResult): boolean {
    const left = most - result.claimed.filter((job) => job.lane === lane).length;
    if (left <= 0 || !result.lanesLeft.includes(lane)) return false;
    if (!this.#rations.has(lane)) this.#rations.set(lane, left);
    return true;
  }

  refuse(epoch: number, _jobs: number, cause: MillraceError): void {
    this.#claiming = false;
    this.#options.session.lose(epoch, cause);
  }

  /** Suspects wait in the queue: they want to run alone. */
  expectSuspects(): void {
    this.#unsure = false;
    if (this.#options.solitary) this.#solitude.expect();
    this.wake();
  }

  /** A state row becomes due then. */
  expect(delayMs: number): void {
    if (delayMs <= 0) this.wake();
    else this.#wakeIn(delayMs + 1);
  }

  /** A job of this worker has come to its end, or another's might have. */
  settled(): void {
    this.#limitedUntil = 0;
    const known = this.#lanes.size > 0 || this.#rations.size > 0 || this.#rowsMayWait;
    if (known) this.#options.channel.kick();
  }

  /** The one with this reference, if it runs here. */
  find({ lane, offset }: JobRef): RunningJob | undefined {
    for (const run of this.#running) {
      if (run.job.offset === offset && run.job.lane === lane) return run;
    }
    return undefined;
  }

  /** Cancelled before it was started: it must not be. Null when it was not in the buffer. */
  drop(ref: JobRef): ClaimedJob | null {
    for (let i = this.#next; i < this.#buffer.length; i += 1) {
      const job = this.#buffer[i] as ClaimedJob;
      if (job.lane !== ref.lane || job.offset !== ref.offset) continue;
      this.#buffer.splice(i, 1);
      if (isSuspect(job)) this.#suspects -= 1;
      return job;
    }
    return null;
  }

  /** Everything held belongs to nobody now: forget what waits, stop what runs. */
  forget(cause: unknown): void {
    this.#buffer = [];
    this.#next = 0;
    this.#suspects = 0;
    this.#solitude.end();
    this.#claiming = false;
    this.#rowsMayWait = true;
    for (const run of this.#running) run.lose(cause);
  }

  /** Takes nothing new and hands back what was not started. */
  stopClaiming(): readonly ClaimedJob[] {
    this.#stopping = true;
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#batchTimer) clearTimeout(this.#batchTimer);
    return this.#takeBuffer();
  }

  #takeBuffer(): readonly ClaimedJob[] {
    const left = this.#buffer.slice(this.#next);
    this.#buffer = [];
    this.#next = 0;
    return left;
  }

  /** Tells what still runs to stop, and why. */
  abort(cause: unknown): void {
    for (const run of this.#running) run.abort(cause);
  }

  get idle(): boolean {
    return this.#slotsTaken === 0 && !this.#claiming;
  }

  #target(): number {
    const concurrency = this.#concurrency;
    const { claimMax } = this.#options;
    if (this.#meanMs >= horizonMs) return concurrency;
    const soon = Math.ceil((concurrency * horizonMs) / Math.max(this.#meanMs, 0.001));
    return Math.max(concurrency, Math.min(soon, claimMax));
  }

  #append(jobs: readonly ClaimedJob[]): void {
    if (this.#next > 0) {
      this.#buffer = this.#buffer.slice(this.#next);
      this.#next = 0;
    }
    if (this.#buffer.length === 0) this.#buffer = [...jobs];
    else for (const job of jobs) this.#buffer.push(job);
  }

  #fill(): void {
    const { definitionOf } = this.#options;
    while (this.#slotsTaken < this.#concurrency && this.#next < this.#buffer.length) {
      if (this.#solitude.taken) return;
      const { epoch } = this;
      if (epoch === null) return;
      const job = this.#buffer[this.#next] as ClaimedJob;
      const definition = definitionOf(job.name);
      if (definition === null) {
        this.#next += 1;
        if (isSuspect(job)) this.#suspects -= 1;
        this.#options.putOff(job, epoch);
        continue;
      }
      if (definition.body.kind === 'batch') {
        const jobs = this.#takeBatch(definition);
        if (jobs.length === 0) return; // it waits for a fuller one
        this.#startBatch(jobs, definition, epoch);
      } else {
        this.#next += 1;
        this.#start(job, definition, epoch);
      }
    }
    if (this.buffered * 2 <= this.#target()) this.settled();
  }

  /** Jobs of one definition out of the buffer, wherever they stand in it. */
  #takeBatch({ name, body }: AnyJobDefinition): ClaimedJob[] {
    if (body.kind !== 'batch') return [];
    const { max, waitMs } = body;
    const rest = this.#buffer.slice(this.#next);
    const mine = rest.filter((job) => job.name === name && !isSuspect(job)).slice(0, max);
    // One that saw its worker die is tried alone, or the next crash would blame its neighbours.
    if (mine.length === 0) {
      const suspect = rest.find((job) => job.name === name) as ClaimedJob;
      mine.push(suspect);
    }
    const first = mine[0] as ClaimedJob;
    // Of the store's clock and ours, which may be hours apart, the one that lets it go sooner.
    this.#gatherSince ??= performance.now();
    const waitedMs = Math.max(Date.now() - first.enqueuedAt, performance.now() - this.#gatherSince);
    if (mine.length < max && waitMs > 0 && waitedMs < waitMs && !isSuspect(first)) {
      if (rest.length === mine.length) {
        this.#batchTimer ??= setTimeout(() => {
          this.#batchTimer = null;
          this.#fill();
        }, waitMs - waitedMs);
        return [];
      }
    }
    this.#gatherSince = null;
    const taken = new Set(mine);
    this.#buffer = rest.filter((job) => !taken.has(job));
    this.#next = 0;
    return mine;
  }

  #start(job: ClaimedJob, definition: AnyJobDefinition, epoch: number): void {
    if (isSuspect(job) && this.#options.solitary) this.#solitude.begin();
    this.#slotsTaken += 1;
    this.#running.add(this.#options.executor.run(job, definition, epoch, this.#slot));
  }

  readonly #slot: Slot = {
    leave: (run) => {
      this.#slotsTaken -= 1;
      this.#forget(run, performance.now() - run.startedAt);
      this.#fill();
    },
  };

  #startBatch(jobs: readonly ClaimedJob[], definition: AnyJobDefinition, epoch: number): void {
    this.#slotsTaken += 1;
    let left = jobs.length;
    const slot: Slot = {
      leave: (run) => {
        this.#forget(run, (performance.now() - run.startedAt) / jobs.length);
        left -= 1;
        if (left > 0) return;
        this.#slotsTaken -= 1;
        this.#fill();
      },
    };
    const runs = this.#options.executor.runBatch(jobs, definition, epoch, slot);
    for (const run of runs) this.#running.add(run);
  }

  #forget(run: RunningJob, durationMs: number): void {
    this.#running.delete(run);
    this.#meanMs += (durationMs - this.#meanMs) * smoothing;
    if (!isSuspect(run.job)) return;
    this.#suspects = Math.max(0, this.#suspects - 1);
    this.#solitude.end();
    this.#rowsMayWait = true; // the next one of them
  }

  #wakeIn(ms: number): void {
    const at = performance.now() + ms;
    if (at >= this.#timerAt || this.#stopping) return;
    if (this.#timer) clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(
      () => {
        this.#timer = null;
        this.#timerAt = Number.POSITIVE_INFINITY;
        this.#limitedUntil = 0;
        this.wake();
      },
      Math.min(Math.ceil(ms), 60_000),
    );
  }
}

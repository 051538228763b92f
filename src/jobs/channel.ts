/**
 * The one way between a process and a queue: whatever gathers while an exchange is under way
 * (enqueues, settlements, the wish for more jobs) goes out together in the next one. Idle, an
 * enqueue leaves at once and brings its job back with it. Promises resolve after the commit and
 * never before; buffers are bounded, so a producer is slowed down instead of filling the memory.
 */
import { isMillraceError, MillraceError } from '../core/errors.ts';
import type { JobRef, NewJob } from '../core/job.ts';
import type {
  ClaimRequest,
  Exchange,
  ExchangeResult,
  JobDone,
  JobFailure,
  JobSettlement,
  JobStore,
} from '../ports/jobs.ts';
import { sleep } from '../runtime/bell.ts';

/** The side of a channel that works on jobs. */
export interface ChannelWorker {
  /** How many jobs to claim in an exchange that happens now; null for none. */
  wish(enqueues: boolean): ClaimWish | null;
  /** Before `accept`, and for sure once: the claim of a wish is under way. */
  begin(wish: ClaimWish): { readonly epoch: number; readonly claimNo: number } | null;
  accept(result: ExchangeResult, claimNo: number, wish: ClaimWish): void;
  /** The settlement came too late, or the claim was refused. */
  refuse(epoch: number, jobs: number, cause: MillraceError): void;
  /** The settlement is durable. */
  committed(settlement: JobSettlement): void;
  readonly epoch: number | null;
  /** Enqueues of this process must not be claimed by the exchange that carries them. */
  readonly apart: boolean;
}

export interface ClaimWish {
  readonly max: number;
  readonly lanes: readonly number[];
  readonly suspects: boolean;
  /** The claim is for so many jobs of this lane; null: for what the lanes have. */
  readonly ration: readonly [lane: number, most: number] | null;
}

export interface ChannelOptions {
  readonly store: JobStore;
  readonly queue: string;
  /** Jobs of one exchange at most. */
  readonly batchMax: number;
  /** Jobs waiting to be enqueued at most; beyond it callers wait. */
  readonly bufferMax: number;
  /** How long an enqueue is tried while the store is away. */
  readonly patienceMs: number;
  /** A settlement alone waits so long for company. */
  readonly settleMs: number;
  /** Jobs that this process did not claim itself. */
  onWaiting(lanes: readonly number[]): void;
  /** Jobs of these queues may run now because their parents ended. */
  onWoken(queues: readonly string[]): void;
  onError(error: unknown): void;
}

interface Group {
  readonly jobs: readonly NewJob[];
  resolve(refs: readonly JobRef[]): void;
  reject(error: unknown): void;
}

/** What one exchange carries, with whom to tell. */
interface Load {
  groups: readonly Group[];
  settle: Pending | null;
  wish: ClaimWish | null;
}

/** `again` from the first try on whose answer was lost: nobody knows whether that was stored. */
interface Sending extends Exchange {
  again: boolean;
}

interface Pending {
  readonly done: JobDone[];
  readonly failed: JobFailure[];
  readonly released: JobRef[];
  readonly epoch: number;
  readonly after: (() => void)[];
}

export class Channel {
  readonly #options: ChannelOptions;
  #groups: Group[] = [];
  #buffered = 0;
  readonly #line: Group[] = [];
  #pending: Pending | null = null;
  #settleDue = false;
  #settleTimer: NodeJS.Timeout | null = null;
  #running: Promise<void> | null = null;
  #closed = false;
  #worker: ChannelWorker | null = null;
  #claimsNext = false;
  exchanges = 0;
  retried = 0;

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  get queue(): string {
    return this.#options.queue;
  }

  attach(worker: ChannelWorker): void {
    this.#worker = worker;
  }

  enqueue(jobs: readonly NewJob[]): Promise<readonly JobRef[]> {
    return new Promise((resolve, reject) => {
      const group: Group = { jobs, resolve, reject };
      if (this.#closed) refuse(group);
      else if (this.#buffered >= this.#options.bufferMax) this.#line.push(group);
      else this.#admit(group);
    });
  }

  /** `after` is called once it is durable. `urgent`: somebody waits for it. */
  settle(
    epoch: number,
    part: { done?: JobDone; failed?: JobFailure; released?: readonly JobRef[] },
    after: (() => void) | null,
    urgent: boolean,
  ): void {
    if (this.#pending && this.#pending.epoch !== epoch) this.#pending = null; // that one is over
    this.#pending ??= { done: [], failed: [], released: [], epoch, after: [] };
    if (part.done) this.#pending.done.push(part.done);
    if (part.failed) this.#pending.failed.push(part.failed);
    if (part.released) this.#pending.released.push(...part.released);
    if (after) this.#pending.after.push(after);
    if (this.#running) return;
    if (urgent) {
      this.#settleDue = true;
      this.kick();
    } else {
      this.#settleTimer ??= setTimeout(() => this.#settleNow(), this.#options.settleMs);
    }
  }

  /** There may be something to do. */
  kick(): void {
    this.#running ??= this.#drain();
  }

  /** Waits until everything accepted so far has been answered. */
  async flush(): Promise<void> {
    this.#settleNow();
    while (this.#running) await this.#running;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const group of this.#line.splice(0)) refuse(group);
    await this.flush();
  }

  #settleNow(): void {
    if (this.#settleTimer) clearTimeout(this.#settleTimer);
    this.#settleTimer = null;
    this.#settleDue = true;
    this.kick();
  }

  #admit(group: Group): void {
    this.#buffered += group.jobs.length;
    this.#groups.push(group);
    this.kick();
  }

  #leave(count: number): void {
    this.#buffered -= count;
    while (this.#line.length > 0 && this.#buffered < this.#options.bufferMax) {
      this.#admit(this.#line.shift() as Group);
    }
  }

  async #drain(): Promise<void> {
    // Whatever is enqueued or settled in this turn of the event loop joins the first exchange.
    await Promise.resolve();
    for (let load = this.#gather(); load !== null; load = this.#gather()) {
      await this.#deliver(load);
    }
    // In the same turn as the last look, so that nothing is left behind.
    this.#running = null;
  }

  #gather(): Load | null {
    const apart = this.#worker?.apart ?? false;
    // Apart, enqueues and claims go by turns, or constant enqueues would leave no turn to claims.
    const first = apart && this.#claimsNext ? (this.#worker?.wish(false) ?? null) : null;
    const groups = first === null ? this.#takeGroups() : [];
    const together = !apart || groups.length === 0;
    const wish = first ?? (together ? (this.#worker?.wish(groups.length > 0) ?? null) : null);
    this.#claimsNext = groups.length > 0;
    const alone = groups.length === 0 && wish === null;
    if (alone && (this.#pending === null || !this.#settleDue)) {
      if (this.#pending) {
        this.#settleTimer ??= setTimeout(() => this.#settleNow(), this.#options.settleMs);
      }
      return null;
    }
    const settle = this.#pending;
    this.#pending = null;
    this.#settleDue = false;
    if (this.#settleTimer) clearTimeout(this.#settleTimer);
    this.#settleTimer = null;
    return { groups, settle, wish };
  }

  #takeGroups(): Group[] {
    const { batchMax } = this.#options;
    let jobs = 0;
    let count = 0;
    while (count < this.#groups.length) {
      jobs += (this.#groups[count] as Group).jobs.length;
      if (count > 0 && jobs > batchMax) break;
      count += 1;
    }
    return this.#groups.splice(0, count);
  }

  async #deliver(load: Load): Promise<void> {
    const count = load.groups.reduce((sum, { jobs }) => sum + jobs.length, 0);
    try {
      await this.#send(load);
    } finally {
      this.#leave(count);
    }
  }

  /**
   * Sends until it is answered; what only a part of the load is at fault for hits that part.
   * `repeated`: the enqueues may be stored already, under this id.
   */
  async #send(load: Load, repeated: string | null = null): Promise<void> {
    const begun = load.wish ? (this.#worker?.begin(load.wish) ?? null) : null;
    const epoch = begun?.epoch ?? load.settle?.epoch ?? null;
    // Of an epoch that ended while it waited here: the store would refuse it.
    const settle = load.settle?.epoch === epoch ? load.settle : null;
    const exchange = this.#exchangeOf({ ...load, settle }, epoch, begun?.claimNo ?? null, repeated);
    try {
      const result = await this.#exchangePatiently(exchange);
      this.#answer(load.groups, exchange, result);
      if (begun && load.wish) this.#accept(result, begun.epoch, begun.claimNo, load.wish);
      if (settle) this.#committed(settle, result);
    } catch (error) {
      await this.#recover(error, { ...load, settle }, exchange);
    }
  }

  #committed(settle: Pending, { woken }: ExchangeResult): void {
    if (woken.length > 0) this.#options.onWoken(woken);
    for (const after of settle.after) after();
    // The claims of an epoch that is over have the numbers of others by now.
    if (this.#worker?.epoch === settle.epoch) this.#worker.committed(settle);
  }

  /** What was claimed under an epoch that ended meanwhile is left to whoever recovers it. */
  #accept(result: ExchangeResult, epoch: number, claimNo: number, wish: ClaimWish): void {
    if (this.#worker?.epoch === epoch) this.#worker.accept(result, claimNo, wish);
    else this.#worker?.refuse(epoch, 0, new MillraceError('LEASE_LOST', 'The epoch is over.'));
  }

  /** Again while the store is away: for ever with a settlement, but an enqueue's callers wait. */
  async #exchangePatiently(exchange: Sending): Promise<ExchangeResult> {
    const { store, patienceMs, onError } = this.#options;
    const until = performance.now() + patienceMs;
    for (let delayMs = 20; ; delayMs = Math.min(delayMs * 2, 1_000)) {
      try {
        return await store.exchange(exchange);
      } catch (error) {
        const away = isAway(error);
        const waited = performance.now() + delayMs > until;
        const lost = exchange.epoch !== null && this.#worker?.epoch !== exchange.epoch;
        if (!away || lost || (waited && exchange.enqueue.length > 0)) throw error;
        onError(error);
        exchange.again = true;
        this.retried += 1;
        await sleep(delayMs * (0.5 + Math.random()));
      }
    }
  }

  /** Nothing of the exchange happened, or nobody knows: each part gets what it can get. */
  async #recover(error: unknown, load: Load, exchange: Sending): Promise<void> {
    const { groups, settle } = load;
    const { epoch } = exchange;
    const lost = isMillraceError(error) && error.code === 'LEASE_LOST';
    const over = epoch !== null && (lost || this.#worker?.epoch !== epoch);
    if (over) {
      const cause = lost ? error : new MillraceError('LEASE_LOST', 'The epoch is over.');
      const jobs = settle ? settle.done.length + settle.failed.length : 0;
      this.#worker?.refuse(epoch, jobs, cause);
      // The store refused this try as a whole, so the enqueues are still to do, unless one before
      // it was stored and its answer lost: then the store knows them by their id.
      const rest = { groups, settle: null, wish: null };
      if (lost && groups.length > 0) {
        await this.#send(rest, exchange.again ? exchange.enqueueId : null);
      } else for (const { reject } of groups) reject(error);
      return;
    }
    const away = isMillraceError(error) && error.code === 'STORE_UNAVAILABLE';
    const unknown = away || exchange.again;
    if (groups.length > 1 && !unknown) {
      for (const group of groups) await this.#send({ groups: [group], settle: null, wish: null });
    } else for (const { reject } of groups) reject(error);
    if (exchange.settle === null && exchange.claim === null) return;
    if (groups.length === 0) {
      // A settlement that the store will not take, whatever the reason: its jobs are not lost, the
      // lease is. Under a new epoch they run again.
      this.#options.onError(error);
      const cause = new MillraceError('LEASE_LOST', 'A settlement failed.', { cause: error });
      if (epoch !== null) this.#worker?.refuse(epoch, 0, cause);
      return;
    }
    await this.#sendRest(load, { ...exchange, enqueue: [], again: unknown });
  }

  async #sendRest(load: Load, exchange: Sending): Promise<void> {
    try {
      const result = await this.#exchangePatiently(exchange);
      const { epoch } = exchange;
      const claimNo = exchange.claim?.claimNo;
      if (load.wish && claimNo && epoch) this.#accept(result, epoch, claimNo, load.wish);
      if (load.settle) this.#committed(load.settle, result);
    } catch (error) {
      await this.#recover(error, { ...load, groups: [] }, exchange);
    }
  }

  #exchangeOf(
    load: Load,
    epoch: number | null,
    claimNo: number | null,
    repeated: string | null,
  ): Sending {
    this.exchanges += 1;
    const { groups, settle, wish } = load;
    const [first] = groups;
    const enqueue = groups.length === 1 && first ? first.jobs : groups.flatMap(({ jobs }) => jobs);
    return {
      queue: this.#options.queue,
      epoch,
      settle: settle as JobSettlement | null,
      enqueue,
      enqueueId: repeated ?? crypto.randomUUID(),
      claim: wish && claimNo !== null ? claimOf(wish, claimNo) : null,
      again: repeated !== null,
    };
  }

  #answer(groups: readonly Group[], exchange: Exchange, result: ExchangeResult): void {
    if (groups.length === 0) return;
    let from = 0;
    for (const { jobs, resolve } of groups) {
      const alone = groups.length === 1;
      resolve(alone ? result.enqueued : result.enqueued.slice(from, from + jobs.length));
      from += jobs.length;
    }
    const left = exchange.claim ? result.lanesLeft : lanesOf(result.enqueued);
    if (left.length > 0) this.#options.onWaiting(left);
  }
}

function claimOf({ max, lanes, suspects }: ClaimWish, claimNo: number): ClaimRequest {
  return { max, lanes, suspects, claimNo };
}

function lanesOf(refs: readonly JobRef[]): number[] {
  const lanes = new Set<number>();
  for (const { lane } of refs) lanes.add(lane);
  return [...lanes];
}

function refuse({ reject }: Group): void {
  reject(new MillraceError('SHUTTING_DOWN', 'This process accepts no more jobs.'));
}

/** The store did not answer, or not now: the same call may be sent again. */
export function isAway(error: unknown): boolean {
  return isMillraceError(error) && error.retryable && error.code !== 'BACKPRESSURE';
}

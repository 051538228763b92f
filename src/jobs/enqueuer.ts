/**
 * Enqueueing: plain jobs through the channel of their queue, exceptional ones (delayed, unique,
 * dependent, in a caller's transaction) straight to the store, and then the word to whom it may
 * concern. Resolves after the commit and never before.
 */
import { MillraceError } from '../core/errors.ts';
import { formatJobId, isPlain, type JobRef, type NewJob } from '../core/job.ts';
import type { SqlTransaction } from '../core/sql-transaction.ts';
import type { EnqueueResult, JobStore } from '../ports/jobs.ts';
import { sleep } from '../runtime/bell.ts';
import { Announcer } from './announcer.ts';
import { Channel, isAway } from './channel.ts';

/** Where a job stands; `duplicate` is there when a unique key led to it. */
export type Enqueued = JobRef & { readonly duplicate?: boolean };

export interface EnqueuerOptions {
  readonly store: JobStore;
  readonly batchMax: number;
  readonly bufferMax: number;
  readonly patienceMs: number;
  readonly settleMs: number;
  /** False while this process knows that it works alone. */
  othersListen(): boolean;
  /** Jobs stand in the queue that this process has not claimed itself. */
  onWaiting(queue: string, lanes: readonly number[]): void;
  onError(error: unknown, where: string): void;
}

/** A state row takes more of the server than a plain job; so many go in one statement. */
const exceptionalMax = 500;
const stagedMsMax = 60_000;

export class Enqueuer {
  readonly #options: EnqueuerOptions;
  readonly #channels = new Map<string, Channel>();
  readonly #announcer: Announcer;
  readonly #stop = new AbortController();
  readonly #staged = new Set<Promise<void>>();
  enqueued = 0;

  constructor(options: EnqueuerOptions) {
    this.#options = options;
    this.#announcer = new Announcer(options.store.notices, 2);
  }

  channel(queue: string): Channel {
    const known = this.#channels.get(queue);
    if (known) return known;
    const { store, batchMax, bufferMax, patienceMs, settleMs, onError } = this.#options;
    const channel = new Channel({
      store,
      queue,
      batchMax,
      bufferMax,
      patienceMs,
      settleMs,
      onWaiting: (lanes) => this.tell(queue, lanes),
      onWoken: (queues) => {
        for (const woken of queues) this.tell(woken, []);
      },
      onError: (error) => onError(error, `queue ${queue}`),
    });
    this.#channels.set(queue, channel);
    return channel;
  }

  /** In the order given. Plain jobs of one queue are one batch, exceptional ones another. */
  async enqueue(jobs: readonly NewJob[]): Promise<readonly Enqueued[]> {
    if (this.#stop.signal.aborted) {
      throw new MillraceError('SHUTTING_DOWN', 'This process accepts no more jobs.');
    }
    const [first] = jobs;
    if (first === undefined) return [];
    const simple = jobs.every((job) => isPlain(job) && job.queue === first.queue);
    if (simple) {
      const refs = await this.channel(first.queue).enqueue(jobs);
      this.enqueued += jobs.length;
      return refs;
    }
    const results = new Array<Enqueued>(jobs.length);
    const plain = new Map<string, number[]>();
    const exceptional: number[] = [];
    for (const [i, job] of jobs.entries()) {
      if (isPlain(job)) plain.set(job.queue, [...(plain.get(job.queue) ?? []), i]);
      else exceptional.push(i);
    }
    const at = (indexes: readonly number[]) => indexes.map((i) => jobs[i] as NewJob);
    await Promise.all([
      ...[...plain].map(async ([queue, indexes]) => {
        const refs = await this.channel(queue).enqueue(at(indexes));
        for (const [n, i] of indexes.entries()) results[i] = refs[n] as JobRef;
      }),
      (async () => {
        const answers = await this.#enqueueExceptional(at(exceptional));
        for (const [n, i] of exceptional.entries()) results[i] = answers[n] as Enqueued;
      })(),
    ]);
    this.enqueued += jobs.length;
    return results;
  }

  /** Written by the caller's transaction: workers hear of it once it is committed. */
  async enqueueIn(tx: SqlTransaction, jobs: readonly NewJob[]): Promise<readonly EnqueueResult[]> {
    const { store } = this.#options;
    if (!store.capabilities.sqlTransactions) {
      throw new MillraceError('CAPABILITY_MISSING', 'This store has no SQL transactions.', {
        fix: 'Leave out `tx`, or connect Postgres.',
      });
    }
    const enqueueId = crypto.randomUUID();
    const results = await store.enqueue(jobs, { enqueueId, again: false, tx });
    const [first] = results;
    if (first) this.#watch(first, queuesOf(jobs));
    return results;
  }

  /** Accepts nothing more and waits for what was accepted. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#channels.values()].map((channel) => channel.close()));
    await Promise.all(this.#staged);
    await this.#announcer.flush();
  }

  async #enqueueExceptional(jobs: readonly NewJob[]): Promise<readonly EnqueueResult[]> {
    const results: EnqueueResult[] = [];
    for (let from = 0; from < jobs.length; from += exceptionalMax) {
      const part = jobs.slice(from, from + exceptionalMax);
      results.push(...(await this.#patiently(part)));
      for (const queue of queuesOf(part)) this.tell(queue, []);
    }
    return results;
  }

  async #patiently(jobs: readonly NewJob[]): Promise<readonly EnqueueResult[]> {
    const { store, patienceMs } = this.#options;
    const enqueueId = crypto.randomUUID();
    const until = performance.now() + patienceMs;
    let again = false;
    for (let delayMs = 20; ; delayMs = Math.min(delayMs * 2, 1_000)) {
      try {
        return await store.enqueue(jobs, { enqueueId, again });
      } catch (error) {
        if (!isAway(error) || performance.now() + delayMs > until) throw error;
        again = true;
        await sleep(delayMs * (0.5 + Math.random()));
      }
    }
  }

  /** Jobs wait in these lanes, or in state rows: whoever works on the queue shall look. */
  tell(queue: string, lanes: readonly number[]): void {
    this.#options.onWaiting(queue, lanes);
    if (this.#options.othersListen()) this.#announcer.tell(queue, lanes);
  }

  /** Nobody says when a caller's transaction commits: look for its first job until it is there. */
  #watch(job: JobRef, queues: readonly string[]): void {
    const look = async () => {
      const until = performance.now() + stagedMsMax;
      const { signal } = this.#stop;
      for (let delayMs = 2; performance.now() < until; delayMs = Math.min(delayMs * 1.5, 500)) {
        await sleep(delayMs, signal);
        if (signal.aborted) return;
        const [found] = await this.#options.store.queries.find([job]).catch(() => [null]);
        if (!found) continue;
        for (const queue of queues) this.tell(queue, []);
        return;
      }
    };
    const looking = look();
    this.#staged.add(looking);
    void looking.then(() => this.#staged.delete(looking));
  }
}

function queuesOf(jobs: readonly NewJob[]): string[] {
  return [...new Set(jobs.map(({ queue }) => queue))];
}

/** The parents by name, for whoever shows the job and for `results()` of its handler. */
export function withParents(job: NewJob): NewJob {
  const overrides = JSON.parse(job.optionsJson ?? '{}') as Record<string, unknown>;
  const dependsOn = job.dependsOn.map(formatJobId);
  return { ...job, optionsJson: JSON.stringify({ ...overrides, dependsOn }) };
}

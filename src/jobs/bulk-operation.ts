/**
 * One verb for all jobs of a filter: counted first, paced, and stoppable while it runs.
 *
 * Which jobs it is for is settled before the first is changed: a dead job that is retried and dies
 * again is not retried twice. It lives in the process that started it and ends with it; what was
 * changed by then stays changed, and starting it again goes on with the rest.
 */
import { MillraceError } from '../core/errors.ts';
import type { JobRef, JobStatus } from '../core/job.ts';
import type { JobFilter } from '../ports/job-queries.ts';
import type { JobStore, JobVerb } from '../ports/jobs.ts';
import { sleep } from '../runtime/bell.ts';
import { type JobView, toJobView } from './view.ts';

export interface BulkJobsRequest {
  readonly verb: JobVerb;
  /** Without a status: every one that the verb is for (`bulkStatuses`). */
  readonly filter: JobFilter;
  /** Counts and shows examples; changes nothing. */
  readonly dryRun?: boolean;
  /** Jobs a second at most; 500 by default. */
  readonly ratePerSecond?: number;
  /** Jobs at most; 100,000 by default, and a million at most. */
  readonly limit?: number;
  readonly onProgress?: (state: BulkState) => void;
}

/** `stopped` by `stop()`; `failed` when the store went on refusing. */
export type BulkStatus = 'running' | 'paused' | 'stopped' | 'finished' | 'failed';

export interface BulkState {
  readonly id: string;
  readonly verb: JobVerb;
  readonly filter: JobFilter;
  readonly dryRun: boolean;
  readonly status: BulkStatus;
  /** Jobs of the filter as it began. */
  readonly matched: number;
  /** There were more than the limit. */
  readonly more: boolean;
  /** Changed so far. */
  readonly done: number;
  /** Looked at and left as they were: somebody was faster, or they went on by themselves. */
  readonly failed: number;
  /** Why it ended, when `status` is 'failed'. */
  readonly error: string | null;
}

/** What a verb is for. `remove` without a status takes what is over, and nothing that shall run. */
export const bulkStatuses: Readonly<Record<JobVerb, readonly JobStatus[]>> = {
  cancel: ['waiting', 'blocked', 'delayed', 'retrying', 'running'],
  retry: ['dead', 'quarantined', 'cancelled'],
  run: ['delayed', 'retrying'],
  remove: ['completed', 'dead', 'cancelled', 'quarantined'],
};

const rateDefault = 500;
const limitDefault = 100_000;
const limitMax = 1_000_000;
const rateMax = 100_000;
const pageMax = 500;
const chunkMax = 500;
const sampleMax = 5;
/** Tries of one chunk while the store does not answer, with pauses of 0.25, 0.5, 1 … s. */
const triesMax = 6;

/** Resolves when the jobs are counted; then it works by itself, unless it is a dry run. */
export async function startBulkOperation(
  store: Pick<JobStore, 'queries' | 'change'>,
  request: BulkJobsRequest,
): Promise<BulkOperation> {
  const { verb, dryRun = false } = request;
  if (!Object.hasOwn(bulkStatuses, verb)) {
    throw invalid(`verb is '${verb}'; it can be ${Object.keys(bulkStatuses).join(', ')}.`);
  }
  const limit = checkRange(request.limit ?? limitDefault, 'limit', limitMax);
  const rate = checkRange(request.ratePerSecond ?? rateDefault, 'ratePerSecond', rateMax);
  const found = await collect(store, request, limit);
  const operation = new BulkOperation(store, request, found);
  if (!dryRun) operation.begin(rate);
  return operation;
}

interface Found {
  readonly jobs: readonly JobRef[];
  readonly sample: readonly JobView[];
  readonly more: boolean;
}

async function collect(
  { queries }: Pick<JobStore, 'queries'>,
  { verb, filter }: BulkJobsRequest,
  limit: number,
): Promise<Found> {
  const jobs: JobRef[] = [];
  const sample: JobView[] = [];
  for (const status of filter.status === undefined ? bulkStatuses[verb] : [filter.status]) {
    let after: string | null = null;
    do {
      const page = await queries.list({ ...filter, status }, { limit: pageMax, after });
      for (const job of page.jobs) {
        if (jobs.length === limit) return { jobs, sample, more: true };
        jobs.push({ lane: job.lane, offset: job.offset });
        if (sample.length < sampleMax) sample.push(toJobView(job));
      }
      after = page.next;
    } while (after !== null);
  }
  return { jobs, sample, more: false };
}

export class BulkOperation implements BulkState {
  readonly id = crypto.randomUUID();
  readonly verb: JobVerb;
  readonly filter: JobFilter;
  readonly dryRun: boolean;
  readonly matched: number;
  readonly more: boolean;
  /** The first few of them. */
  readonly sample: readonly JobView[];
  /** Resolves with the last state, whatever the end; never rejects. */
  readonly finished: Promise<BulkState>;
  readonly #store: Pick<JobStore, 'change'>;
  readonly #jobs: readonly JobRef[];
  #onProgress: BulkJobsRequest['onProgress'];
  readonly #end = Promise.withResolvers<BulkState>();
  readonly #stopping = new AbortController();
  #resumed: PromiseWithResolvers<void> | null = null;
  #status: BulkStatus = 'running';
  #done = 0;
  #failed = 0;
  #error: string | null = null;

  constructor(store: Pick<JobStore, 'change'>, request: BulkJobsRequest, found: Found) {
    this.#store = store;
    this.#jobs = found.jobs;
    this.#onProgress = request.onProgress;
    this.verb = request.verb;
    this.filter = request.filter;
    this.dryRun = request.dryRun ?? false;
    this.matched = found.jobs.length;
    this.more = found.more;
    this.sample = found.sample;
    this.finished = this.#end.promise;
    if (this.dryRun) this.#finish('finished');
  }

  get status(): BulkStatus {
    return this.#status;
  }

  get done(): number {
    return this.#done;
  }

  get failed(): number {
    return this.#failed;
  }

  get error(): string | null {
    return this.#error;
  }

  /** The jobs under way are still changed; no others until `resume()`. */
  pause(): void {
    if (this.#status !== 'running') return;
    this.#status = 'paused';
    this.#resumed = Promise.withResolvers();
    this.#tell();
  }

  resume(): void {
    if (this.#status !== 'paused') return;
    this.#status = 'running';
    this.#resumed?.resolve();
    this.#tell();
  }

  /** For good: what was changed stays changed. */
  stop(): void {
    this.#stopping.abort();
    this.#resumed?.resolve();
    if (this.#status === 'paused') this.#status = 'running';
  }

  /** A copy that does not change any more. */
  state(): BulkState {
    const { id, verb, filter, dryRun, status, matched, more, done, failed, error } = this;
    return { id, verb, filter, dryRun, status, matched, more, done, failed, error };
  }

  /** Called once, by `startBulkOperation`. */
  begin(ratePerSecond: number): void {
    this.#run(ratePerSecond).then(
      () => this.#finish(this.#done + this.#failed < this.matched ? 'stopped' : 'finished'),
      (error) => {
        this.#error = error instanceof Error ? error.message : String(error);
        this.#finish('failed');
      },
    );
  }

  async #run(ratePerSecond: number): Promise<void> {
    const { signal } = this.#stopping;
    // Ten steps a second at least, so that a pace of 20 a second is even.
    const chunk = Math.min(chunkMax, Math.max(1, Math.ceil(ratePerSecond / 10)));
    let dueAt = performance.now();
    for (let from = 0; from < this.matched; from += chunk) {
      await this.#resumed?.promise;
      await sleep(Math.max(0, dueAt - performance.now()), signal);
      if (signal.aborted) return;
      const jobs = this.#jobs.slice(from, from + chunk);
      // After a pause or a slow store it does not hurry to make up for it.
      dueAt = Math.max(dueAt, performance.now() - 1000) + (jobs.length * 1000) / ratePerSecond;
      const changed = await this.#change(jobs);
      this.#done += changed;
      this.#failed += jobs.length - changed;
      this.#tell();
    }
  }

  /** Repeating a chunk does no harm: what was changed the first time is then in no state for it. */
  async #change(jobs: readonly JobRef[]): Promise<number> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return (await this.#store.change(this.verb, jobs)).length;
      } catch (error) {
        const again = error instanceof MillraceError && error.retryable;
        if (!again || attempt === triesMax || this.#stopping.signal.aborted) throw error;
        await sleep(125 * 2 ** attempt, this.#stopping.signal);
      }
    }
  }

  #finish(status: BulkStatus): void {
    this.#status = status;
    this.#tell();
    this.#end.resolve(this.state());
  }

  /** An onlooker that throws is no reason to leave the jobs half done. */
  #tell(): void {
    try {
      this.#onProgress?.(this.state());
    } catch {
      this.#onProgress = undefined;
    }
  }
}

function checkRange(value: number, name: string, most: number): number {
  if (Number.isFinite(value) && value >= 1 && value <= most) return value;
  throw invalid(`${name} is ${value}, not a number from 1 to ${most}.`);
}

function invalid(message: string): MillraceError {
  return new MillraceError('REQUEST_INVALID', message);
}

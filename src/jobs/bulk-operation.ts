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
import { checkPace, type PacedStatus, PacedWork } from '../runtime/paced-work.ts';
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

export interface BulkState {
  readonly id: string;
  readonly verb: JobVerb;
  readonly filter: JobFilter;
  readonly dryRun: boolean;
  readonly status: PacedStatus;
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

/** Resolves when the jobs are counted; then it works by itself, unless it is a dry run. */
export async function startBulkOperation(
  store: Pick<JobStore, 'queries' | 'change'>,
  request: BulkJobsRequest,
): Promise<BulkOperation> {
  const { verb, dryRun = false } = request;
  if (!Object.hasOwn(bulkStatuses, verb)) {
    throw invalid(`verb is '${verb}'; it can be ${Object.keys(bulkStatuses).join(', ')}.`);
  }
  const limit = checkPace(request.limit ?? limitDefault, 'limit', limitMax);
  const rate = checkPace(request.ratePerSecond ?? rateDefault, 'ratePerSecond', rateMax);
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
  readonly #work: PacedWork<JobRef>;
  #onProgress: BulkJobsRequest['onProgress'];

  constructor(store: Pick<JobStore, 'change'>, request: BulkJobsRequest, found: Found) {
    const { verb } = request;
    this.#onProgress = request.onProgress;
    this.verb = verb;
    this.filter = request.filter;
    this.dryRun = request.dryRun ?? false;
    this.matched = found.jobs.length;
    this.more = found.more;
    this.sample = found.sample;
    this.#work = new PacedWork({
      items: found.jobs,
      chunkMax,
      // What was changed the first time is in no state for it at the second.
      change: async (jobs) => (await store.change(verb, jobs)).length,
      onChange: () => this.#tell(),
    });
    this.finished = this.#work.ended.then(() => this.state());
    if (this.dryRun) this.#work.finish('finished');
  }

  get status(): PacedStatus {
    return this.#work.status;
  }

  get done(): number {
    return this.#work.done;
  }

  get failed(): number {
    return this.#work.failed;
  }

  get error(): string | null {
    return this.#work.error;
  }

  /** The jobs under way are still changed; no others until `resume()`. */
  pause(): void {
    this.#work.pause();
  }

  resume(): void {
    this.#work.resume();
  }

  /** For good: what was changed stays changed. */
  stop(): void {
    this.#work.stop();
  }

  /** A copy that does not change any more. */
  state(): BulkState {
    const { id, verb, filter, dryRun, status, matched, more, done, failed, error } = this;
    return { id, verb, filter, dryRun, status, matched, more, done, failed, error };
  }

  /** Called once, by `startBulkOperation`. */
  begin(ratePerSecond: number): void {
    this.#work.begin(ratePerSecond);
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

function invalid(message: string): MillraceError {
  return new MillraceError('REQUEST_INVALID', message);
}

/**
 * One verb for all runs of a filter: counted first, paced, and stoppable while it runs; shaped like
 * `jobs/bulk-operation.ts`. Which runs it is for is settled before the first is told.
 *
 * A run that is told twice hears it once: the message's id is the operation's and the run's.
 */
import { MillraceError } from '../../core/errors.ts';
import type { TaskState } from '../../core/workflow/states.ts';
import type { BulkStatus } from '../../jobs/bulk-operation.ts';
import type { RunFilter, WorkflowQueries } from '../../ports/workflow-queries.ts';
import type { Delivery, NewMessage } from '../../ports/workflows.ts';
import { sleep } from '../../runtime/bell.ts';
import { openStates } from './lifecycle.ts';
import { type RunView, toRunView } from './run-view.ts';
import { statesFor, verbMessage } from './verbs.ts';

export const bulkVerbs = ['cancel', 'retry', 'resolve_run', 'give_up', 'pause', 'resume'] as const;
export type BulkVerb = (typeof bulkVerbs)[number];

export interface BulkRunsRequest {
  readonly verb: BulkVerb;
  /** Without states: every one that the verb is for. */
  readonly filter: RunFilter;
  /** Counts and shows examples; tells nobody. */
  readonly dryRun?: boolean | undefined;
  /** Runs a second at most; 500 by default. */
  readonly ratePerSecond?: number | undefined;
  /** Runs at most; 10,000 by default, and a million at most. */
  readonly limit?: number | undefined;
  readonly reason?: string | undefined;
  readonly by?: string | undefined;
  readonly onProgress?: ((state: BulkRunsState) => void) | undefined;
}

export interface BulkRunsState {
  readonly id: string;
  readonly verb: BulkVerb;
  readonly filter: RunFilter;
  readonly dryRun: boolean;
  readonly status: BulkStatus;
  readonly matched: number;
  /** There were more than the limit. */
  readonly more: boolean;
  /** Told so far. */
  readonly done: number;
  /** Came to their end, or were removed, before they could be told. */
  readonly failed: number;
  /** Why it ended, when `status` is 'failed'. */
  readonly error: string | null;
}

export interface BulkStore {
  readonly queries: WorkflowQueries;
  deliver(messages: readonly NewMessage[]): Promise<readonly Delivery[]>;
}

const rateDefault = 500;
const limitDefault = 10_000;
const limitMax = 1_000_000;
const rateMax = 100_000;
const pageMax = 500;
const chunkMax = 200;
const sampleMax = 5;
const triesMax = 6;

/** Resolves when the runs are counted; then it works by itself, unless it is a dry run. */
export async function startBulkRuns(store: BulkStore, request: BulkRunsRequest): Promise<BulkRuns> {
  const { verb, dryRun = false } = request;
  if (!bulkVerbs.includes(verb)) {
    throw invalid(`verb is '${verb}'; it can be ${bulkVerbs.join(', ')}.`);
  }
  const limit = checkRange(request.limit ?? limitDefault, 'limit', limitMax);
  const rate = checkRange(request.ratePerSecond ?? rateDefault, 'ratePerSecond', rateMax);
  const found = await collect(store, request, limit);
  const operation = new BulkRuns(store, request, found);
  if (!dryRun) operation.begin(rate);
  return operation;
}

interface Found {
  readonly runs: readonly string[];
  readonly sample: readonly RunView[];
  readonly more: boolean;
}

async function collect(
  { queries }: BulkStore,
  { verb, filter }: BulkRunsRequest,
  limit: number,
): Promise<Found> {
  const runs: string[] = [];
  const sample: RunView[] = [];
  const states: readonly TaskState[] = filter.states ?? statesFor(verb, openStates);
  let after: string | null = null;
  do {
    const page = await queries.list({ ...filter, states }, { limit: pageMax, after });
    for (const run of page.runs) {
      if (runs.length === limit) return { runs, sample, more: true };
      runs.push(run.runId);
      if (sample.length < sampleMax) sample.push(toRunView(run));
    }
    after = page.next;
  } while (after !== null);
  return { runs, sample, more: false };
}

export class BulkRuns implements BulkRunsState {
  readonly id = crypto.randomUUID();
  readonly verb: BulkVerb;
  readonly filter: RunFilter;
  readonly dryRun: boolean;
  readonly matched: number;
  readonly more: boolean;
  /** The first few of them. */
  readonly sample: readonly RunView[];
  /** Resolves with the last state, whatever the end; never rejects. */
  readonly finished: Promise<BulkRunsState>;
  readonly #store: BulkStore;
  readonly #request: BulkRunsRequest;
  readonly #runs: readonly string[];
  readonly #end = Promise.withResolvers<BulkRunsState>();
  readonly #stopping = new AbortController();
  #status: BulkStatus = 'running';
  #done = 0;
  #failed = 0;
  #error: string | null = null;

  constructor(store: BulkStore, request: BulkRunsRequest, found: Found) {
    this.#store = store;
    this.#request = request;
    this.#runs = found.runs;
    this.verb = request.verb;
    this.filter = request.filter;
    this.dryRun = request.dryRun ?? false;
    this.matched = found.runs.length;
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

  /** For good: what was told stays told. */
  stop(): void {
    this.#stopping.abort();
  }

  /** A copy that does not change any more. */
  state(): BulkRunsState {
    const { id, verb, filter, dryRun, status, matched, more, done, failed, error } = this;
    return { id, verb, filter, dryRun, status, matched, more, done, failed, error };
  }

  /** Called once, by `startBulkRuns`. */
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
    const chunk = Math.min(chunkMax, Math.max(1, Math.ceil(ratePerSecond / 10)));
    let dueAt = performance.now();
    for (let from = 0; from < this.matched; from += chunk) {
      await sleep(Math.max(0, dueAt - performance.now()), signal);
      if (signal.aborted) return;
      const runs = this.#runs.slice(from, from + chunk);
      dueAt = Math.max(dueAt, performance.now() - 1000) + (runs.length * 1000) / ratePerSecond;
      const told = await this.#tell(runs);
      this.#done += told;
      this.#failed += runs.length - told;
      this.#show();
    }
  }

  async #tell(runs: readonly string[]): Promise<number> {
    const { verb, reason, by = 'operator' } = this.#request;
    const messages = runs.map((runId) =>
      verbMessage(runId, { verb, reason, by }, `bulk ${this.id} ${runId}`),
    );
    for (let attempt = 1; ; attempt += 1) {
      try {
        const deliveries = await this.#store.deliver(messages);
        return deliveries.filter((one) => one === 'delivered' || one === 'duplicate').length;
      } catch (error) {
        const again = error instanceof MillraceError && error.retryable;
        if (!again || attempt === triesMax || this.#stopping.signal.aborted) throw error;
        await sleep(125 * 2 ** attempt, this.#stopping.signal);
      }
    }
  }

  #finish(status: BulkStatus): void {
    this.#status = status;
    this.#show();
    this.#end.resolve(this.state());
  }

  /** An onlooker that throws is no reason to leave the runs half told. */
  #show(): void {
    try {
      this.#request.onProgress?.(this.state());
    } catch {
      // Its own trouble.
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

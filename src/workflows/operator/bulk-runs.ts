/**
 * One verb for all runs of a filter: counted first, paced, and stoppable while it runs. Which runs
 * it is for is settled before the first is told.
 *
 * A run that is told twice hears it once: the message's id is the operation's and the run's.
 */
import { MillraceError } from '../../core/errors.ts';
import type { TaskState } from '../../core/workflow/states.ts';
import type { RunFilter, WorkflowQueries } from '../../ports/workflow-queries.ts';
import type { Delivery, NewMessage } from '../../ports/workflows.ts';
import { checkPace, type PacedStatus, PacedWork } from '../../runtime/paced-work.ts';
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
  readonly status: PacedStatus;
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

/** Resolves when the runs are counted; then it works by itself, unless it is a dry run. */
export async function startBulkRuns(store: BulkStore, request: BulkRunsRequest): Promise<BulkRuns> {
  const { verb, dryRun = false } = request;
  if (!bulkVerbs.includes(verb)) {
    throw invalid(`verb is '${verb}'; it can be ${bulkVerbs.join(', ')}.`);
  }
  const limit = checkPace(request.limit ?? limitDefault, 'limit', limitMax);
  const rate = checkPace(request.ratePerSecond ?? rateDefault, 'ratePerSecond', rateMax);
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
  readonly #request: BulkRunsRequest;
  readonly #work: PacedWork<string>;

  constructor(store: BulkStore, request: BulkRunsRequest, found: Found) {
    this.#request = request;
    this.verb = request.verb;
    this.filter = request.filter;
    this.dryRun = request.dryRun ?? false;
    this.matched = found.runs.length;
    this.more = found.more;
    this.sample = found.sample;
    this.#work = new PacedWork({
      items: found.runs,
      chunkMax,
      change: (runs) => this.#tell(store, runs),
      onChange: () => this.#show(),
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

  /** For good: what was told stays told. */
  stop(): void {
    this.#work.stop();
  }

  /** A copy that does not change any more. */
  state(): BulkRunsState {
    const { id, verb, filter, dryRun, status, matched, more, done, failed, error } = this;
    return { id, verb, filter, dryRun, status, matched, more, done, failed, error };
  }

  /** Called once, by `startBulkRuns`. */
  begin(ratePerSecond: number): void {
    this.#work.begin(ratePerSecond);
  }

  async #tell(store: BulkStore, runs: readonly string[]): Promise<number> {
    const { verb, reason, by = 'operator' } = this.#request;
    const messages = runs.map((runId) =>
      verbMessage(runId, { verb, reason, by }, `bulk ${this.id} ${runId}`),
    );
    const deliveries = await store.deliver(messages);
    return deliveries.filter((one) => one === 'delivered' || one === 'duplicate').length;
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

function invalid(message: string): MillraceError {
  return new MillraceError('REQUEST_INVALID', message);
}

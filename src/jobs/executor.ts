/**
 * Runs handlers of all kinds (single, batch, in a transaction, in a sandbox) and turns what they
 * came to into endings. It settles nothing itself, but for a transaction's own commit.
 */
import { isMillraceError, MillraceError } from '../core/errors.ts';
import type { BatchJob, JobBatchContext, JobContext, JobLog } from '../core/job-context.ts';
import type { AnyJobDefinition } from '../core/job-definition.ts';
import { snooze } from '../core/job-outcome.ts';
import type { JobBody } from '../core/job-rules.ts';
import type { ClaimedJob, JobStore, JobTransaction } from '../ports/jobs.ts';
import { type ContextTools, RunContext } from './context.ts';
import type { Deadlines } from './deadlines.ts';
import { type Ending, RunningJob, type Slot } from './running-job.ts';
import { SandboxPool } from './sandbox/sandbox-pool.ts';

/** Around every handler of single jobs: `await next()` runs it and gives its result. */
export type JobMiddleware = (job: JobContext, next: () => Promise<unknown>) => Promise<unknown>;

/** After a transaction that the store lost, its job runs again so soon. */
const awayMs = 250;

export interface ExecutorOptions {
  readonly store: JobStore;
  readonly tools: ContextTools;
  readonly deadlines: Deadlines;
  readonly middleware: readonly JobMiddleware[];
  onStarted(run: RunningJob): void;
  /** Jobs of these queues may run now because their parents ended. */
  onWoken(queues: readonly string[]): void;
  /** Once for each job. `settled`: a transaction has done it already. */
  onEnded(run: RunningJob, ending: Ending, settled: boolean): void;
}

export class Executor {
  readonly #options: ExecutorOptions;
  #sandbox: SandboxPool | null = null;

  constructor(options: ExecutorOptions) {
    this.#options = options;
  }

  /** It leaves the slot later, never in this turn. */
  run(job: ClaimedJob, definition: AnyJobDefinition, epoch: number, slot: Slot): RunningJob {
    const run = this.#begin(job, definition, epoch, slot);
    if (definition.transactional) void this.#runInTransaction(run);
    else this.#runPlain(run);
    return run;
  }

  async close(): Promise<void> {
    await this.#sandbox?.close();
  }

  #begin(job: ClaimedJob, definition: AnyJobDefinition, epoch: number, slot: Slot): RunningJob {
    const { tools, deadlines, onStarted } = this.#options;
    const settings = definition.settings(job.optionsJson);
    const context = new RunContext(job, definition, settings, tools);
    const run = new RunningJob(context, epoch, slot, this.#end);
    deadlines.watch(run);
    onStarted(run);
    return run;
  }

  readonly #end = (run: RunningJob, ending: Ending): void => {
    this.#options.deadlines.forget(run);
    this.#options.onEnded(run, ending, run.settled);
    run.slot.leave(run);
  };

  #runPlain(run: RunningJob): void {
    let answer: unknown;
    try {
      answer = this.#call(run);
    } catch (error) {
      answer = Promise.reject(error);
    }
    // Never in this turn: the caller has not written down yet that the job runs.
    Promise.resolve(answer).then(
      (value) => run.end({ kind: 'value', value }),
      (error) => run.end({ kind: 'error', error }),
    );
  }

  #call(run: RunningJob): unknown {
    const { context } = run;
    const { body } = context.definition;
    const payload = context.definition.decode(context.job.version, context.job.payloadJson);
    const { middleware } = this.#options;
    if (middleware.length === 0) return this.#handle(run, body, payload);
    const handle = async () => this.#handle(run, body, payload);
    return throughMiddleware(middleware, context as JobContext, handle);
  }

  #handle(run: RunningJob, body: JobBody, payload: unknown): unknown {
    if (body.kind === 'single') return body.handle(payload, run.context as JobContext);
    if (body.kind === 'sandbox') return this.#runInSandbox(run, body, payload);
    throw new MillraceError('JOB_UNKNOWN', `${run.context.name} is defined without a handler.`);
  }

  async #runInTransaction(run: RunningJob): Promise<void> {
    const { store } = this.#options;
    const { context, epoch } = run;
    let transaction: JobTransaction | null = null;
    try {
      transaction = await store.begin(epoch, context.tenantId);
      context.tx = transaction.tx;
      const value = await this.#call(run);
      if (run.over) return await transaction.rollback();
      const resultJson = context.definition.printResult(value);
      const { lane, offset, claimNo, exceptional } = context.job;
      const done = [{ lane, offset, claimNo, exceptional, resultJson }];
      run.committing = true;
      const { woken } = await transaction.commit({ done, failed: [], released: [] });
      this.#options.onWoken(woken);
      run.settled = true;
      run.end({ kind: 'value', value });
    } catch (error) {
      await transaction?.rollback();
      if (run.committing && isMillraceError(error) && error.code === 'JOB_CANCELLED') {
        run.end({ kind: 'cancelled' });
        return;
      }
      // The transaction's fault and not the handler's: no try is counted.
      const ours = transaction === null || run.committing;
      const undone = ours && isMillraceError(error) && isTheStores(error);
      run.end({ kind: 'error', error: undone ? snooze(awayMs, error.message) : error });
    }
  }

  #runInSandbox(
    run: RunningJob,
    { module, memoryMbMax }: { readonly module: URL; readonly memoryMbMax: number | null },
    payload: unknown,
  ): Promise<unknown> {
    this.#sandbox ??= new SandboxPool();
    const { context } = run;
    const { deadlines } = this.#options;
    // Slots may be more than threads: a job that waits for one has not begun.
    deadlines.forget(run);
    return this.#sandbox.run({
      module,
      memoryMbMax,
      payload,
      context,
      // The worker's own time limit decides; this one ends the thread a little later.
      timeoutMs: context.settings.timeoutMs,
      signal: context.signal,
      log: context.log,
      onProgress: (value) => context.progress(value),
      results: () => context.results(),
      onSeated: () => {
        run.limitTime(performance.now());
        deadlines.watch(run);
      },
    });
  }

  /** They leave the slot one by one, never in this turn. */
  runBatch(
    jobs: readonly ClaimedJob[],
    definition: AnyJobDefinition,
    epoch: number,
    slot: Slot,
  ): readonly RunningJob[] {
    const controller = new AbortController();
    let left = jobs.length;
    const watched: Slot = {
      leave: (run) => {
        left -= 1;
        if (left === 0) controller.abort(allEnded());
        slot.leave(run);
      },
    };
    const runs = jobs.map((job) => this.#begin(job, definition, epoch, watched));
    void this.#callBatch(runs, definition, controller.signal);
    return runs;
  }

  async #callBatch(
    runs: readonly RunningJob[],
    definition: AnyJobDefinition,
    signal: AbortSignal,
  ): Promise<void> {
    await Promise.resolve(); // the caller writes down first that the jobs run
    const { body, name, queue } = definition;
    if (body.kind !== 'batch') return;
    const ready: RunningJob[] = [];
    const items: BatchJob[] = [];
    for (const run of runs) {
      try {
        items.push(batchJob(run.context));
        ready.push(run);
      } catch (error) {
        run.end({ kind: 'error', error });
      }
    }
    const [first] = ready;
    if (first === undefined) return;
    const log: JobLog = first.context.log;
    const context: JobBatchContext = { name, queue, signal, log };
    try {
      const results = await body.handle(items, context);
      if (!Array.isArray(results) || results.length !== items.length) {
        throw new MillraceError(
          'HANDLER_FAILED',
          `${name}: the batch handler answered ${items.length} jobs with ` +
            `${Array.isArray(results) ? `${results.length} results` : 'no list of results'}.`,
          { fix: 'Return one result or Error for each job, in the order of the jobs.' },
        );
      }
      for (const [i, value] of results.entries()) {
        const ending: Ending =
          value instanceof Error ? { kind: 'error', error: value } : { kind: 'value', value };
        (ready[i] as RunningJob).end(ending);
      }
    } catch (error) {
      for (const run of ready) run.end({ kind: 'error', error });
    }
  }
}

/** The store was away, or undid the transaction to end a circle of waiting. */
function isTheStores({ code, retryable }: MillraceError): boolean {
  return code === 'STORE_UNAVAILABLE' || (code === 'STORE_CONFLICT' && retryable);
}

function allEnded(): MillraceError {
  return new MillraceError('HANDLER_FAILED', 'Every job of the batch has ended.');
}

function batchJob(context: RunContext): BatchJob {
  const payload = context.definition.decode(context.job.version, context.job.payloadJson);
  return Object.defineProperty(context, 'payload', { value: payload }) as unknown as BatchJob;
}

function throughMiddleware(
  middleware: readonly JobMiddleware[],
  job: JobContext,
  handle: () => Promise<unknown>,
): Promise<unknown> {
  const step = (i: number): Promise<unknown> => {
    const layer = middleware[i];
    return layer ? layer(job, () => step(i + 1)) : handle();
  };
  return step(0);
}

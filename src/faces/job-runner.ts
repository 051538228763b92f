/**
 * Runs a job of the engine by the processor that is registered for it: in a slot, with what the
 * face shows of it, and to the end that the retry policy or an error strategy wants. The engine
 * alone settles; this only returns and throws.
 *
 * A job for which no processor is registered is put off and offered again: it must not fail because
 * this process lacks its code.
 */
import { permanentFailure } from '../core/errors.ts';
import { type JobOverrides, parseJobId } from '../core/job.ts';
import { type AnyJobDefinition, defineJob } from '../core/job-definition.ts';
import { outcomeOf, snooze } from '../core/job-outcome.ts';
import type { RunContext } from '../jobs/context.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { ErrorRecovery } from './error-recovery.ts';
import { messageOf } from './errors.ts';
import { type Job, type JobVerdict, type StatusNote, verdicts } from './job.ts';
import { type Processor, runProcessor } from './job-processor.ts';
import type { WorkSettings } from './settings.ts';
import type { Slots } from './slots.ts';
import type { ShownState } from './stored-job.ts';

/** How jobs are run that say nothing themselves. */
export interface WorkPolicy extends WorkSettings {
  readonly errorRecovery: ErrorRecovery | null;
}

export interface JobRunnerOptions {
  readonly slots: Slots;
  policy(): WorkPolicy;
  processorFor(queue: string, type: string): Processor | null;
  onError(error: unknown): void;
}

/** As the faces call it. Its priority may change. */
export interface RunnerQueue {
  readonly name: string;
  readonly priority: number;
}

/** A job waits for a slot at most so long, then others may have it. */
const patienceMs = 5_000;
const unknownMs = 5_000;
const dayMs = 86_400_000;

export class JobRunner {
  readonly #options: JobRunnerOptions;
  /** What is waited after a failed try, where a strategy says so. */
  readonly #delays = new WeakMap<object, number>();

  constructor(options: JobRunnerOptions) {
    this.#options = options;
  }

  /** Of every job of the queue, whatever its type, by the policy of this moment. */
  definitionOf(scoped: string, queue: RunnerQueue, jobs: Jobs): AnyJobDefinition {
    const { retryAttempts, retryDelay, timeout, errorRecovery } = this.#options.policy();
    return defineJob('any-job', {
      queue: scoped,
      // With strategies the engine allows as many tries as the most patient of them.
      attempts: Math.max(1, retryAttempts, errorRecovery?.maxAttempts ?? 1),
      timeoutMs: timeout,
      backoff: {
        kind: 'custom',
        delay: (_attempt, error) => this.#delays.get(error as object) ?? retryDelay,
        delayMs: retryDelay,
        maxDelayMs: 30 * dayMs,
      },
      handler: (data, context) => this.#run(queue, jobs, data, context as unknown as RunContext),
    });
  }

  async #run(queue: RunnerQueue, jobs: Jobs, data: unknown, context: RunContext): Promise<unknown> {
    const processor = this.#options.processorFor(queue.name, context.name);
    if (processor === null) {
      const reason = `No processor is registered for '${context.name}' in queue '${queue.name}'.`;
      throw snooze(unknownMs, reason);
    }
    const release = this.#options.slots.takeFree() ?? (await this.#takeSlot(queue, context));
    try {
      return await this.#process(processor, toJob(queue.name, data, context), jobs, context);
    } finally {
      release();
    }
  }

  /** The time limit of the job runs already: half of it at least is left for the processor. */
  async #takeSlot({ priority }: RunnerQueue, context: RunContext): Promise<() => void> {
    const { timeoutMs } = context.settings;
    const limitMs = timeoutMs > 0 ? Math.min(patienceMs, timeoutMs / 2) : patienceMs;
    const late = new AbortController();
    const reason = snooze(0, 'All slots of the worker that had the job were taken.');
    const timer = setTimeout(() => late.abort(reason), limitMs);
    try {
      const signal = AbortSignal.any([context.signal, late.signal]);
      return await this.#options.slots.take(priority, signal);
    } finally {
      clearTimeout(timer);
    }
  }

  async #process(
    processor: Processor,
    job: Job,
    jobs: Jobs,
    context: RunContext,
  ): Promise<unknown> {
    const { policy, onError } = this.#options;
    let shown: ShownState = { value: null, note: null };
    const show = (change: Partial<ShownState>) => {
      shown = { ...shown, ...change };
      context.progress(shown);
    };
    const write = async (note: StatusNote) => {
      show({ note });
      // The engine writes progress now and then; a note is there when it was awaited. That it could
      // not be written must not fail a job that is done.
      const progress = { ...parseJobId(job.id), progressJson: JSON.stringify(shown) };
      await jobs.store.progress([progress]).catch(onError);
    };
    let verdict: JobVerdict | null = null;
    verdicts.set(job, (given) => {
      verdict = given;
    });
    const updateProgress = (value: unknown) => show({ value });
    Object.defineProperty(job, 'updateProgress', { value: updateProgress });
    try {
      return await runProcessor(processor, job, { write });
    } catch (error) {
      if (outcomeOf(error).kind !== 'failed') throw error;
      if (verdict === null) await policy().errorRecovery?.handleError(job, error);
      return this.#conclude(error, verdict, context);
    }
  }

  /** Throws what makes the engine do what was decided; returns when the error is ignored. */
  #conclude(thrown: unknown, verdict: JobVerdict | null, context: RunContext): undefined {
    const error =
      typeof thrown === 'object' && thrown !== null ? thrown : new Error(messageOf(thrown));
    if (verdict?.action === 'ignore') return undefined;
    if (verdict?.action === 'fail') throw final(error);
    if (verdict?.action === 'retry') {
      this.#delays.set(error, verdict.delayMs);
      throw error;
    }
    // No strategy has a say, so the tries that only strategies have are not for this error.
    const { retryAttempts, errorRecovery } = this.#options.policy();
    const usedUp = context.attempt >= Math.max(1, retryAttempts);
    if (errorRecovery !== null && usedUp && !hasOwnAttempts(context)) throw final(error);
    throw error;
  }
}

function hasOwnAttempts({ job }: RunContext): boolean {
  return (JSON.parse(job.optionsJson ?? '{}') as JobOverrides).attempts !== undefined;
}

function toJob(queue: string, data: unknown, context: RunContext): Job {
  const { id, name, priority, tenantId, attempt, metadata, settings } = context;
  return {
    id,
    type: name,
    data,
    priority,
    attempts: settings.attempts,
    queue,
    tenantId,
    metadata,
    attempt,
    get enqueuedAt() {
      return context.enqueuedAt;
    },
    // Made when it is first asked for.
    get signal() {
      return context.signal;
    },
  };
}

function final(error: object): Error {
  return permanentFailure(messageOf(error), { cause: error });
}

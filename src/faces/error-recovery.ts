/**
 * `ErrorRecovery`: what an error of a kind leads to. It decides, counts and notifies; whoever runs
 * the job carries it out. For a job that a processor of this process is running, `handleError` also
 * tells the engine, so that the try ends as decided when the processor then throws.
 */
import { MillraceError } from '../core/errors.ts';
import { messageOf } from './errors.ts';
import { type Job, type JobVerdict, verdicts } from './job.ts';

/**
 * retry: again, `maxAttempts` times in all, each after `delay` ms. fail: dead at once, whatever is
 * left of the job's attempts. ignore: the job counts as completed. notify: nothing but telling.
 */
export type RecoveryAction = 'retry' | 'fail' | 'ignore' | 'notify';

export interface RecoveryStrategy {
  /** Name of the error's class or of one it extends, or its `name` or `code`. '*' is any other. */
  readonly errorType: string;
  readonly action: RecoveryAction;
  /** Tries in all, for retry; 3 by default. */
  readonly maxAttempts?: number;
  /** Milliseconds before the next try; 0 by default. */
  readonly delay?: number;
  /** Tells `onNotify` when the job fails by this strategy. */
  readonly notify?: boolean;
}

export interface RecoveryDecision {
  /** 'none': no strategy has a say, the job's own policy goes on. */
  readonly action: 'retry' | 'fail' | 'ignore' | 'none';
  readonly strategy: RecoveryStrategy | null;
  /** Tries so far, the failed one included. */
  readonly attempt: number;
  readonly maxAttempts: number | null;
  /** Milliseconds until the next try; 0 unless `action` is 'retry'. */
  readonly delay: number;
  /** The strategy said retry, and its attempts are used up. */
  readonly exhausted: boolean;
  readonly notified: boolean;
}

export interface RecoveryNotice {
  readonly job: Pick<Job, 'id' | 'type'>;
  readonly error: unknown;
  readonly decision: RecoveryDecision;
}

export interface ErrorRecoveryOptions {
  /** The first that fits is taken; '*' only when no other does. */
  readonly strategies: readonly RecoveryStrategy[];
  /** Without it, a notification is a warning of the process. */
  readonly onNotify?: (notice: RecoveryNotice) => unknown;
}

const actions: readonly RecoveryAction[] = ['retry', 'fail', 'ignore', 'notify'];
/** Jobs whose tries are counted here at most; the ones not heard of for longest are forgotten. */
const countedMax = 10_000;

export class ErrorRecovery {
  readonly #strategies: readonly RecoveryStrategy[];
  readonly #onNotify: (notice: RecoveryNotice) => unknown;
  readonly #tries = new Map<string, number>();

  /** @throws MillraceError CONFIG_INVALID naming the strategy. */
  constructor({ strategies, onNotify = warn }: ErrorRecoveryOptions) {
    this.#strategies = strategies.map(checkStrategy);
    this.#onNotify = onNotify;
  }

  /** The most tries that any strategy allows. */
  get maxAttempts(): number {
    const tries = this.#strategies.map(({ action, maxAttempts = 3 }) =>
      action === 'retry' ? maxAttempts : 1,
    );
    return Math.max(1, ...tries);
  }

  /** The strategy for an error: by what it is, then by what caused it, then '*'. */
  strategyFor(error: unknown): RecoveryStrategy | null {
    const chain: unknown[] = [];
    for (let at = error; at !== undefined && at !== null && chain.length < 8; ) {
      chain.push(at);
      at = (at as { cause?: unknown }).cause;
    }
    for (const link of chain) {
      const kinds = kindsOf(link);
      const found = this.#strategies.find(({ errorType }) => kinds.has(errorType));
      if (found !== undefined) return found;
    }
    return this.#strategies.find(({ errorType }) => errorType === '*') ?? null;
  }

  /**
   * Decides about the failed try of a job, and notifies. Tries are counted by the engine for jobs
   * that come from it, and else here, by the job's id, until it succeeds (`forget`) or fails.
   */
  async handleError(job: Pick<Job, 'id' | 'type' | 'attempt'>, error: unknown) {
    const decision = this.#decide(job, error);
    verdicts.get(job)?.(toVerdict(decision));
    if (decision.notified) await this.#notify({ job, error, decision });
    return decision;
  }

  /** The job succeeded: its tries need not be remembered. */
  forget(jobId: string): void {
    this.#tries.delete(jobId);
  }

  #decide(job: Pick<Job, 'id' | 'attempt'>, error: unknown): RecoveryDecision {
    const strategy = this.strategyFor(error);
    const attempt = job.attempt ?? this.#count(job.id);
    const none = { strategy, attempt, maxAttempts: null, delay: 0, exhausted: false };
    if (strategy === null) return { ...none, action: 'none', notified: false };
    const { action, delay = 0, maxAttempts = 3, notify = false } = strategy;
    if (action === 'notify') return { ...none, action: 'none', notified: true };
    if (action === 'retry' && attempt < maxAttempts) {
      return { ...none, action: 'retry', maxAttempts, delay, notified: false };
    }
    this.forget(job.id);
    if (action === 'ignore') return { ...none, action: 'ignore', notified: notify };
    const exhausted = action === 'retry';
    return {
      ...none,
      action: 'fail',
      maxAttempts: exhausted ? maxAttempts : null,
      exhausted,
      notified: notify,
    };
  }

  #count(jobId: string): number {
    const tries = (this.#tries.get(jobId) ?? 0) + 1;
    this.#tries.delete(jobId);
    this.#tries.set(jobId, tries);
    const [oldest] = this.#tries.keys();
    if (this.#tries.size > countedMax && oldest !== undefined) this.#tries.delete(oldest);
    return tries;
  }

  /** A notification that fails must not change what becomes of the job. */
  async #notify(notice: RecoveryNotice): Promise<void> {
    try {
      await this.#onNotify(notice);
    } catch (error) {
      process.emitWarning(`onNotify threw: ${messageOf(error)}`, { type: 'MillraceWarning' });
    }
  }
}

function toVerdict({ action, delay, maxAttempts }: RecoveryDecision): JobVerdict | null {
  if (action === 'none') return null;
  return { action, delayMs: delay, attempts: maxAttempts };
}

/** Own and inherited class names, `name` and `code`: what a strategy may call it. */
function kindsOf(error: unknown): ReadonlySet<unknown> {
  if (typeof error !== 'object' || error === null) return new Set();
  const { name, code } = error as { name?: unknown; code?: unknown };
  const kinds = new Set<unknown>([name, code]);
  for (let at = Object.getPrototypeOf(error); at !== null; at = Object.getPrototypeOf(at)) {
    kinds.add(at.constructor?.name);
  }
  return kinds;
}

function checkStrategy(strategy: RecoveryStrategy, index: number): RecoveryStrategy {
  const { errorType, action, maxAttempts, delay } = strategy;
  const path = `strategies[${index}]`;
  if (typeof errorType !== 'string' || errorType === '') {
    throw invalid(`${path}.errorType`, 'is not the name of an error');
  }
  if (!actions.includes(action)) {
    throw invalid(`${path}.action`, `is '${String(action)}', not ${actions.join(', ')}`);
  }
  for (const [name, value] of Object.entries({ maxAttempts, delay })) {
    if (value === undefined || (Number.isInteger(value) && value >= 0)) continue;
    throw invalid(`${path}.${name}`, `is ${String(value)}, not a whole number from 0`);
  }
  return strategy;
}

function invalid(path: string, problem: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `${path} ${problem}.`, { details: { path } });
}

function warn({ job, error, decision }: RecoveryNotice): void {
  process.emitWarning(`Job ${job.id} (${job.type}) ${describe(decision)}: ${messageOf(error)}`, {
    type: 'MillraceWarning',
  });
}

function describe({ action, attempt }: RecoveryDecision): string {
  if (action === 'fail') return `failed for good in try ${attempt}`;
  return action === 'ignore' ? 'failed, which is ignored' : `failed in try ${attempt}`;
}

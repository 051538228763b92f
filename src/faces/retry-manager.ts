/**
 * `RetryManager`: calls again what failed, in this process and at once. Nothing of it is stored; a
 * job that shall survive a restart belongs in a queue, which has the same policy. WorkerManager
 * retries with it what it is handed directly.
 */
import { MillraceError } from '../core/errors.ts';
import { sleep } from '../runtime/bell.ts';
import { JobError, messageOf } from './errors.ts';

export interface RetryManagerOptions {
  /** Tries in all; 3 by default. 0 and 1 both mean: no second try. */
  readonly maxAttempts?: number;
  /** Milliseconds before the second try; 1,000 by default. */
  readonly baseDelay?: number;
  /** No wait is longer; 30,000 ms by default. */
  readonly maxDelay?: number;
  /** Each wait is this many times the one before; 2 by default. */
  readonly backoffMultiplier?: number;
  /** Shortens each wait at random, by up to half; or by up to that share. False by default. */
  readonly jitter?: boolean | number;
}

export interface RetryOptions {
  /** Named in the error. */
  readonly jobId?: string;
  /** Tries in all, in place of `maxAttempts`. */
  readonly attempts?: number;
  /** Ends waiting at once; what runs is handed the same signal. */
  readonly signal?: AbortSignal;
  /** False: this error is final. */
  readonly retryIf?: (error: unknown, attempt: number) => boolean;
  /** Before each wait. */
  readonly onRetry?: (retry: RetryNotice) => void;
}

export interface RetryNotice {
  readonly error: unknown;
  /** The try that failed, from 1. */
  readonly attempt: number;
  readonly delayMs: number;
}

export interface RetryAttempt {
  /** From 1. */
  readonly attempt: number;
  readonly attempts: number;
  readonly signal: AbortSignal;
}

const never = new AbortController().signal;

export class RetryManager {
  readonly #maxAttempts: number;
  readonly #baseDelay: number;
  readonly #maxDelay: number;
  readonly #multiplier: number;
  readonly #jitter: number;

  /** @throws MillraceError CONFIG_INVALID */
  constructor(options: RetryManagerOptions = {}) {
    const { maxAttempts = 3, baseDelay = 1_000, maxDelay = 30_000 } = options;
    const { backoffMultiplier = 2, jitter = false } = options;
    this.#maxAttempts = check('maxAttempts', maxAttempts, 0, 1_000_000);
    this.#baseDelay = check('baseDelay', baseDelay, 0, 2_147_483_647);
    this.#maxDelay = check('maxDelay', maxDelay, 0, 2_147_483_647);
    this.#multiplier = check('backoffMultiplier', backoffMultiplier, 1, 100);
    this.#jitter = check('jitter', jitter === true ? 0.5 : jitter || 0, 0, 1);
  }

  /** What is waited after that try, in milliseconds. `random` from 0 up to 1. */
  delayFor(attempt: number, random: number = Math.random()): number {
    if (this.#baseDelay === 0) return 0; // 0 × Infinity would be NaN
    const delayMs = this.#baseDelay * this.#multiplier ** (attempt - 1);
    return Math.round(Math.min(delayMs, this.#maxDelay) * (1 - this.#jitter * random));
  }

  /**
   * Calls until it succeeds, and answers with what it returned.
   * @throws JobError JOB_FAILED after the last try, with what was thrown as its cause; the reason
   * of `signal` when that was aborted. What cannot succeed (`permanentFailure`) is tried once.
   */
  async retry<T>(
    work: (attempt: RetryAttempt) => T | PromiseLike<T>,
    options: RetryOptions = {},
  ): Promise<T> {
    const { signal = never, jobId } = options;
    const given = check('attempts', options.attempts ?? this.#maxAttempts, 0, 1_000_000);
    const attempts = Math.max(1, given);
    for (let attempt = 1; ; attempt += 1) {
      signal.throwIfAborted();
      try {
        return await work({ attempt, attempts, signal });
      } catch (error) {
        signal.throwIfAborted();
        if (attempt >= attempts || isFinal(error) || options.retryIf?.(error, attempt) === false) {
          throw failure(error, attempt, jobId);
        }
        const delayMs = this.delayFor(attempt);
        options.onRetry?.({ error, attempt, delayMs });
        await sleep(delayMs, signal);
      }
    }
  }
}

/** The one error of which the handler itself said that trying again cannot help. */
export function isFinal(error: unknown): boolean {
  return error instanceof MillraceError && error.code === 'PERMANENT_FAILURE';
}

function failure(error: unknown, attempts: number, jobId: string | undefined): JobError {
  const tries = attempts === 1 ? '1 try' : `${attempts} tries`;
  const message = `${jobId ?? 'The work'} failed after ${tries}: ${messageOf(error)}`;
  return new JobError('JOB_FAILED', message, { cause: error, jobId, attempts });
}

function check(name: string, value: unknown, min: number, max: number): number {
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw new MillraceError(
    'CONFIG_INVALID',
    `${name} is ${String(value)}, not a number from ${min} to ${max}.`,
    { details: { path: name } },
  );
}

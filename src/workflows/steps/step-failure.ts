/**
 * What a failed try means: whether another one may help, and when. Read from whatever a handler
 * threw; nothing here throws.
 *
 *   permanentFailure(…), RESULT_INVALID                     no other try
 *   failure(message, type, retryable), fail(…)              as it says
 *   an HTTP status: 408, 429, 500–504 another try; other 4xx none
 *   anything else                                           another try, while there are any
 */
import { errorRecord, type JobErrorRecord, kindOf } from '../../core/error-record.ts';
import { isMillraceError, MillraceError } from '../../core/errors.ts';

interface FailureView {
  readonly error: JobErrorRecord;
  readonly retryable: boolean;
  /** What the handler, or the service that it called, asked for. */
  readonly delayMs: number | null;
}

export interface StepErrorOptions {
  /** Kind of the failure, for operators and filters: `CardDeclined`. 'STEP_FAILED' by default. */
  readonly type?: string | undefined;
  /** True by default. */
  readonly retryable?: boolean | undefined;
  /** When to try again, instead of by the step's policy. */
  readonly delayMs?: number | undefined;
  /** Facts for programs; no secrets. */
  readonly meta?: Readonly<Record<string, unknown>> | undefined;
  readonly cause?: unknown;
}

/** An error for handlers to throw that says itself what it means. */
export function stepError(message: string, options: StepErrorOptions = {}): MillraceError {
  const { type, retryable = true, delayMs, meta, cause } = options;
  return new MillraceError('STEP_FAILED', message, {
    retryable,
    cause,
    details: { ...meta, type, delayMs },
  });
}

/** Codes of errors that the same step would meet again. */
const finalCodes: ReadonlySet<string> = new Set(['PERMANENT_FAILURE', 'RESULT_INVALID']);
const delayMsMax = 30 * 86_400_000;

export function viewFailure(thrown: unknown, nowMs: number = Date.now()): FailureView {
  const error = errorRecord(thrown);
  if (isMillraceError(thrown)) {
    if (finalCodes.has(thrown.code)) return { error, retryable: false, delayMs: null };
    if (thrown.code !== 'STEP_FAILED') return { error, retryable: true, delayMs: null };
    const { type, delayMs } = thrown.details ?? {};
    return {
      error: typeof type === 'string' ? named(error, type) : error,
      retryable: thrown.retryable,
      delayMs: usableDelay(delayMs),
    };
  }
  const status = statusOf(thrown);
  return {
    error,
    retryable: status === null || isRetryableStatus(status),
    delayMs: status === null ? null : retryAfterOf(thrown, nowMs),
  };
}

/** The type that a handler gave stands where errors have their code. */
function named(error: JobErrorRecord, type: string): JobErrorRecord {
  const code = type.slice(0, 100).toWellFormed();
  return { ...error, code, fingerprint: `${code}: ${kindOf(error.message)}` };
}

/** Of an answer that says no. 5xx beyond 504 are nobody's promise, and tried again as well. */
export function isRetryableStatus(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** HTTP clients put it into `status`, `statusCode` or `response.status` of their errors. */
function statusOf(thrown: unknown): number | null {
  for (const holder of [thrown, read(thrown, 'response')]) {
    for (const member of ['status', 'statusCode']) {
      const status = read(holder, member);
      if (typeof status === 'number' && status >= 400 && status <= 599) return status;
    }
  }
  return null;
}

function retryAfterOf(thrown: unknown, nowMs: number): number | null {
  for (const holder of [thrown, read(thrown, 'response')]) {
    const headers = read(holder, 'headers');
    const text = headerOf(headers);
    if (text !== null) return parseRetryAfter(text, nowMs);
  }
  return null;
}

function headerOf(headers: unknown): string | null {
  try {
    const get = read(headers, 'get');
    const value =
      typeof get === 'function'
        ? (headers as Headers).get('retry-after')
        : (read(headers, 'retry-after') ?? read(headers, 'Retry-After'));
    return typeof value === 'string' || typeof value === 'number' ? String(value) : null;
  } catch {
    return null;
  }
}

/** Seconds or an HTTP date, in milliseconds from now; null for what is neither. At most 30 days. */
export function parseRetryAfter(text: string, nowMs: number = Date.now()): number | null {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return usableDelay(Number(trimmed) * 1_000);
  const at = /[a-z]/i.test(trimmed) ? Date.parse(trimmed) : Number.NaN;
  return Number.isNaN(at) ? null : usableDelay(Math.max(0, at - nowMs));
}

function usableDelay(value: unknown): number | null {
  if (typeof value !== 'number' || !(value >= 0)) return null;
  return Math.ceil(Math.min(value, delayMsMax));
}

/** Getters may throw, and proxies whatever they like. */
function read(object: unknown, member: string): unknown {
  if (typeof object !== 'object' || object === null) return undefined;
  try {
    return (object as Readonly<Record<string, unknown>>)[member];
  } catch {
    return undefined;
  }
}

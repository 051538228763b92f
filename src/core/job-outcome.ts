/**
 * What a handler may throw to end its job otherwise than by success or failure. They are errors of
 * our own class, so that they pass unharmed through promises, middleware and threads. The worker
 * reads them with `outcomeOf`.
 */
import { isMillraceError, MillraceError } from './errors.ts';

/** `throw cancelJob('the order was withdrawn')`: the job is cancelled, for good. */
export function cancelJob(reason: string): MillraceError {
  return new MillraceError('JOB_OUTCOME', reason, { details: { outcome: 'cancelled' } });
}

const delayMsMax = 3_650 * 86_400_000;

/**
 * `throw snooze(60_000)`: the job runs again in a minute, and this try does not count.
 * @throws MillraceError CONFIG_INVALID when it is no number of milliseconds.
 */
export function snooze(delayMs: number, reason = 'The handler put the job off.'): MillraceError {
  if (typeof delayMs === 'number' && delayMs >= 0 && delayMs <= delayMsMax) {
    return new MillraceError('JOB_OUTCOME', reason, {
      details: { outcome: 'snoozed', delayMs: Math.ceil(delayMs) },
    });
  }
  throw new MillraceError('CONFIG_INVALID', `snooze(${String(delayMs)}): that is no delay.`, {
    fix: `Give milliseconds from 0 to ${delayMsMax}.`,
    details: { path: 'delayMs' },
  });
}

export type JobOutcome =
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'snoozed'; readonly delayMs: number }
  /** Trying again cannot help: dead at once. */
  | { readonly kind: 'dead' }
  /** Tried again by its backoff, while there are attempts. */
  | { readonly kind: 'failed' };

const cancelled: JobOutcome = Object.freeze({ kind: 'cancelled' });
const dead: JobOutcome = Object.freeze({ kind: 'dead' });
const failed: JobOutcome = Object.freeze({ kind: 'failed' });

/** Codes of errors that the same job would meet again. */
const finalCodes: ReadonlySet<string> = new Set(['PERMANENT_FAILURE', 'RESULT_INVALID']);

/** What an error that came out of a handler means. Never throws. */
export function outcomeOf(thrown: unknown): JobOutcome {
  if (!isMillraceError(thrown)) return failed;
  if (finalCodes.has(thrown.code)) return dead;
  if (thrown.code !== 'JOB_OUTCOME') return failed;
  const { outcome, delayMs } = thrown.details ?? {};
  if (outcome === 'cancelled') return cancelled;
  return outcome === 'snoozed' ? { kind: 'snoozed', delayMs: Number(delayMs) } : failed;
}

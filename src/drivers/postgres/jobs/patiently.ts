/** Repeats a transaction that the server undid as a whole, for no fault of its own. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isMillraceError, MillraceError } from '../../../core/errors.ts';

const triesMax = 5;
/** SQLSTATE of a lock_timeout. */
const lockNotAvailable = '55P03';

/** Again after a circle of waiting, or when somebody kept a lock for longer than we wait. */
export async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isConflict(error)) throw error;
      if (attempt === triesMax) throw isMillraceError(error) ? error : stillLocked(error);
      await sleep(200 * (attempt - 1) * Math.random());
    }
  }
}

function isConflict(error: unknown): boolean {
  if (isMillraceError(error)) return error.code === 'STORE_CONFLICT' && error.retryable;
  return (error as { code?: string }).code === lockNotAvailable;
}

function stillLocked(cause: unknown): MillraceError {
  return new MillraceError('STORE_CONFLICT', 'Somebody keeps locks of this queue for seconds.', {
    cause,
    retryable: true,
    fix: 'Try again; pg_locks and pg_stat_activity say whose transaction stays open.',
  });
}

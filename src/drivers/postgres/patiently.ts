/** Repeats a transaction that the server undid as a whole, for no fault of its own. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isMillraceError, MillraceError } from '../../core/errors.ts';

/** SQLSTATEs of a lock_timeout, of a circle of waiting, of transactions that cannot be in a row. */
const undone: ReadonlySet<string | undefined> = new Set(['55P03', '40P01', '40001']);

export interface Patience {
  readonly triesMax?: number;
  /** The second try comes at once; the waits before the others grow by up to this. */
  readonly pauseMs?: number;
}

/** Again after a circle of waiting, or when somebody kept a lock for longer than we wait. */
export async function patiently<T>(
  work: () => Promise<T>,
  { triesMax = 5, pauseMs = 200 }: Patience = {},
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (!isInTheWay(error)) throw error;
      if (attempt === triesMax) throw isMillraceError(error) ? error : stillLocked(error);
      await sleep(pauseMs * (attempt - 1) * Math.random());
    }
  }
}

/** Also in our words: then the server's error is its cause. */
function isInTheWay(error: unknown): boolean {
  const { code } = ((isMillraceError(error) ? error.cause : error) ?? {}) as { code?: string };
  return undone.has(code);
}

function stillLocked(cause: unknown): MillraceError {
  return new MillraceError('STORE_CONFLICT', 'Somebody keeps the locks that this needs.', {
    cause,
    retryable: true,
    fix: 'Try again; pg_locks and pg_stat_activity say whose transaction stays open.',
  });
}

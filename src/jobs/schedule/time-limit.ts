/**
 * How long the scheduler waits for its store. A connection may be silent for ever, and a loop that
 * waits for it would be too. In real time, whatever clock the schedules follow.
 */
import { MillraceError } from '../../core/errors.ts';

export interface TimeLimit {
  readonly limitMs: number;
  /** Once aborted, only `hurryMs` are left. */
  readonly hurry: AbortSignal;
  readonly hurryMs: number;
}

/** The answer, or STORE_UNAVAILABLE when there is none in time; the work itself goes on. */
export async function limitTime<T>(work: Promise<T>, limit: TimeLimit): Promise<T> {
  const { limitMs, hurry, hurryMs } = limit;
  let timer: NodeJS.Timeout | undefined;
  const { promise: late, reject } = Promise.withResolvers<never>();
  const giveUpAfter = (ms: number) => {
    clearTimeout(timer);
    const message = `The store has not answered for ${ms} ms.`;
    timer = setTimeout(() => reject(new MillraceError('STORE_UNAVAILABLE', message)), ms);
  };
  const hurryUp = () => giveUpAfter(Math.min(hurryMs, limitMs));
  giveUpAfter(limitMs);
  if (hurry.aborted) hurryUp();
  hurry.addEventListener('abort', hurryUp, { once: true });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    hurry.removeEventListener('abort', hurryUp);
  }
}

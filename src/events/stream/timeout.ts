/**
 * The time limit of a handler. The handler itself cannot be stopped; it has its signal for that.
 */
import { MillraceError } from '../../core/errors.ts';

export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

export function isTimeout(error: unknown): error is MillraceError {
  return error instanceof MillraceError && error.code === 'HANDLER_TIMEOUT';
}

/** Waits for the answer; HANDLER_TIMEOUT when it takes longer. 0 is no limit. */
export async function withTimeout(answer: unknown, timeoutMs: number): Promise<void> {
  if (timeoutMs === 0 || !isPromise(answer)) {
    await answer;
    return;
  }
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const message = `The handler took longer than ${timeoutMs} ms.`;
      reject(new MillraceError('HANDLER_TIMEOUT', message));
    }, timeoutMs);
  });
  try {
    await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

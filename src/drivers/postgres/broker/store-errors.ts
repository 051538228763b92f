/** Errors of the store as the broker port words them. */
import { MillraceError } from '../../../core/errors.ts';

/** What a caller may try again: the store was away, or somebody else was in the way. */
export function isAway(error: unknown): boolean {
  return error instanceof MillraceError && error.retryable;
}

/** `what` begins a sentence: 'Publishing'. */
export function translate(error: unknown, what: string): unknown {
  if (error instanceof MillraceError) {
    if (error.code.startsWith('BROKER_') || !error.retryable) return error;
    return unavailable(`${what} failed: ${error.message}`, error);
  }
  const { code = '', message = '' } = error as { code?: string; message?: string };
  if (/^(28|42501)/.test(code)) {
    return new MillraceError('BROKER_DENIED', `${what} was refused: ${message}`, { cause: error });
  }
  return /pool after calling end/.test(message)
    ? unavailable(`${what}: ${message}.`, error)
    : error;
}

export function unavailable(message: string, cause?: unknown): MillraceError {
  return new MillraceError('BROKER_UNAVAILABLE', message, { cause });
}

/** Rejects with BROKER_UNAVAILABLE when there is no answer by then; a line may be silent. */
export async function within<T>(limitMs: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = unavailable(`${what}: no answer for ${limitMs} ms.`);
    timer = setTimeout(() => reject(error), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

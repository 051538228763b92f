/** Waiting: between tries, and for promises that may take too long. */

/** The wait before try `attempt + 2`, from 50 ms up to 2 s, half of it by chance. */
export function backoffMs(attempt: number): number {
  const full = Math.min(2000, 50 * 2 ** Math.min(attempt, 10));
  return full * (0.5 + Math.random() / 2);
}

/** Resolves after the time, or at once when the signal aborts; never rejects. */
export function abortable(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}

/** Resolves when the promise has settled, or after the time. */
export async function settledWithin(promise: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(resolve, ms, false);
  });
  const settled = promise.then(
    () => true,
    () => true,
  );
  const isSettled = await Promise.race([settled, late]);
  clearTimeout(timer);
  return isSettled;
}

/**
 * Time as something that is handed in, so that tests can run a day in a moment and set the clock
 * back. Two readings, because they disagree when somebody sets the clock: `now` is what calendars
 * mean and may jump; `elapsedMs` only ever goes on.
 */

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Milliseconds since any moment. */
  elapsedMs(): number;
  /** Resolves after `ms` that went by, or at once when the signal is aborted. Never rejects. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

/** setTimeout fires at once for longer ones. */
const timerMsMax = 2_147_483_647;

export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  elapsedMs: () => performance.now(),
  sleep: (ms: number, signal: AbortSignal) =>
    new Promise<void>((resolve) => {
      if (signal.aborted) return resolve();
      const timer = setTimeout(done, Math.min(Math.max(0, ms), timerMsMax));
      function done() {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      }
      signal.addEventListener('abort', done, { once: true });
    }),
});

/**
 * Circuit breaker of one tool of one tenant: opens after 5 failures in a row, lets one call through
 * after 60 s, closes when that succeeds. It lives in the process: each worker learns by itself, and
 * a restart starts closed. The retries themselves are the engine's.
 */

export interface CircuitBreaker {
  /** Milliseconds until a call may be tried; 0 when it may now. */
  openForMs(): number;
  succeeded(): void;
  failed(): void;
}

const failuresMax = 5;
const recoveryMs = 60_000;

export function createCircuitBreaker(now: () => number): CircuitBreaker {
  let failures = 0;
  let openUntil = 0;
  return {
    openForMs() {
      if (failures < failuresMax) return 0;
      const wait = openUntil - now();
      if (wait > 0) return wait;
      // Half open: this caller tries, the others wait another period for its outcome.
      openUntil = now() + recoveryMs;
      return 0;
    },
    succeeded() {
      failures = 0;
    },
    failed() {
      failures += 1;
      if (failures >= failuresMax) openUntil = now() + recoveryMs;
    },
  };
}

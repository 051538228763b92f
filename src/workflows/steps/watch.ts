/**
 * Ends tries of steps whose handlers are still under way: those that take too long, and those whose
 * run was lost or cancelled. One timer for all deadlines and one listener for all tries of a
 * signal: a timer and a listener of its own for each would cost more than many a step.
 */

/** A try of a step while its handler runs. */
export interface Watched {
  /** Of `performance.now()`; no limit: Infinity. */
  readonly deadlineAt: number;
  timeOut(): void;
  abort(reason: unknown): void;
}

const timerMsMax = 2_147_483_647;

const limited = new Set<Watched>();
let timer: NodeJS.Timeout | null = null;
let timerAt = Number.POSITIVE_INFINITY;

/** A deadline that moves later needs no call: it is looked at again when its time has come. */
export function watchDeadline(watched: Watched): void {
  if (watched.deadlineAt === Number.POSITIVE_INFINITY) return;
  limited.add(watched);
  if (watched.deadlineAt < timerAt) setTimer(watched.deadlineAt);
}

export function forgetDeadline(watched: Watched): void {
  limited.delete(watched);
}

function setTimer(at: number): void {
  if (timer) clearTimeout(timer);
  timerAt = at;
  timer = setTimeout(ring, Math.min(timerMsMax, Math.max(1, at - performance.now())));
  timer.unref();
}

function ring(): void {
  timer = null;
  timerAt = Number.POSITIVE_INFINITY;
  const now = performance.now();
  let next = Number.POSITIVE_INFINITY;
  for (const watched of [...limited]) {
    if (watched.deadlineAt <= now) {
      limited.delete(watched);
      watched.timeOut();
    } else next = Math.min(next, watched.deadlineAt);
  }
  if (next < timerAt) setTimer(next);
}

const bySignal = new WeakMap<AbortSignal, Set<Watched>>();

export function watchSignal(signal: AbortSignal, watched: Watched): void {
  let watchers = bySignal.get(signal);
  if (watchers === undefined) {
    watchers = new Set();
    bySignal.set(signal, watchers);
    const all = watchers;
    const abortAll = () => {
      for (const one of [...all]) one.abort(signal.reason);
    };
    signal.addEventListener('abort', abortAll, { once: true });
  }
  watchers.add(watched);
}

export function forgetSignal(signal: AbortSignal, watched: Watched): void {
  bySignal.get(signal)?.delete(watched);
}

/**
 * Ends handlers that take too long. One timer for all: a timer for each job would cost more than
 * many a job. It is set for the earliest deadline it knows and looks at everything when it rings.
 */
import type { RunningJob } from './running-job.ts';

const timerMsMax = 2_147_483_647;

export class Deadlines {
  readonly #runs = new Set<RunningJob>();
  #timer: NodeJS.Timeout | null = null;
  #timerAt = Number.POSITIVE_INFINITY;

  watch(run: RunningJob): void {
    if (run.deadlineAt === Number.POSITIVE_INFINITY) return;
    this.#runs.add(run);
    if (run.deadlineAt < this.#timerAt) this.#set(run.deadlineAt);
  }

  forget(run: RunningJob): void {
    this.#runs.delete(run);
  }

  #set(at: number): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timerAt = at;
    const waitMs = Math.min(timerMsMax, Math.max(1, at - performance.now()));
    this.#timer = setTimeout(() => this.#ring(), waitMs);
    this.#timer.unref();
  }

  #ring(): void {
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const run of [...this.#runs]) {
      if (run.deadlineAt <= now) {
        this.#runs.delete(run);
        run.timeOut();
      } else next = Math.min(next, run.deadlineAt);
    }
    if (next < this.#timerAt) this.#set(next);
  }
}

/**
 * One timer for everything in a process that waits for a time: a timer for each run would cost more
 * than many a step. It is set for the earliest time it knows and looks at all of them then.
 */
export interface Sleeper {
  /** Its time has come, and it is forgotten. */
  ring(): void;
}

const timerMsMax = 2_147_483_647;

export class Alarms {
  readonly #times = new Map<Sleeper, number>();
  #timer: NodeJS.Timeout | null = null;
  #timerAt = Number.POSITIVE_INFINITY;

  /** In milliseconds since 1970. Instead of the time that it had. */
  set(sleeper: Sleeper, at: number): void {
    this.#times.set(sleeper, at);
    if (at < this.#timerAt) this.#setTimer(at);
  }

  clear(sleeper: Sleeper): void {
    this.#times.delete(sleeper);
    if (this.#times.size > 0 || this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  get size(): number {
    return this.#times.size;
  }

  #setTimer(at: number): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timerAt = at;
    const waitMs = Math.min(timerMsMax, Math.max(1, at - Date.now()));
    this.#timer = setTimeout(() => this.#ring(), waitMs);
  }

  #ring(): void {
    this.#timer = null;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = Date.now();
    let next = Number.POSITIVE_INFINITY;
    for (const [sleeper, at] of [...this.#times]) {
      if (at <= now) {
        this.#times.delete(sleeper);
        sleeper.ring();
      } else if (at < next) next = at;
    }
    if (next < this.#timerAt) this.#setTimer(next);
  }
}

/**
 * A clock that a test moves: a day passes in a moment, and somebody may set it back. What waits on
 * it is woken in order of time; between two wakings real work (the database) gets its turn.
 */
import type { Clock } from '../../src/core/clock.ts';
import { eventually } from './eventually.ts';

interface Sleeper {
  readonly wakeAt: number;
  wake(): void;
}

export class VirtualClock implements Clock {
  #now: number;
  #elapsed = 0;
  readonly #sleepers = new Set<Sleeper>();

  constructor(now: string) {
    this.#now = Date.parse(now);
  }

  now(): number {
    return this.#now;
  }

  elapsedMs(): number {
    return this.#elapsed;
  }

  sleep(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const wake = () => {
        this.#sleepers.delete(sleeper);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const sleeper: Sleeper = { wakeAt: this.#elapsed + ms, wake };
      this.#sleepers.add(sleeper);
      signal.addEventListener('abort', wake, { once: true });
    });
  }

  /** Sets the time of day; no time goes by. */
  set(now: string | number): void {
    this.#now = typeof now === 'number' ? now : Date.parse(now);
  }

  /** Lets time go by, from one waking to the next; ends when `sleepers` loops sleep again. */
  async advance(ms: number, sleepers = 1): Promise<void> {
    const target = this.#elapsed + ms;
    for (;;) {
      await this.settled(sleepers);
      const next = Math.min(...[...this.#sleepers].map(({ wakeAt }) => wakeAt));
      this.#move(Math.max(0, Math.min(next, target) - this.#elapsed));
      if (next > target) return;
      for (const sleeper of [...this.#sleepers]) if (sleeper.wakeAt <= next) sleeper.wake();
    }
  }

  /** Resolves when so many loops sleep, with nothing under way. */
  async settled(sleepers = 1): Promise<void> {
    const asleep = () => this.#sleepers.size >= sleepers;
    // Immediates rather than a poll in milliseconds: there are thousands of wakings in a day.
    for (let turns = 0; turns < 1_000 && !asleep(); turns += 1) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    await eventually(`${sleepers} loops sleep`, asleep);
  }

  #move(ms: number): void {
    this.#elapsed += ms;
    this.#now += ms;
  }
}

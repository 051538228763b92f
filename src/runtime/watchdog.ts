/** Looks at the whole loop from outside: wakes what should work and does not, and sweeps up. */
import { Bell } from './bell.ts';

export interface WatchdogOptions {
  readonly everyMs: number;
  /** Wakes stalled streams; returns how many there were. */
  nudge(): number;
  /** Asks the store how far the log reaches: the last resort, in every mode. */
  catchUp(): Promise<void>;
  /** Removes what nobody needs any more, a bounded amount. */
  prune(): Promise<unknown>;
  onError(error: unknown): void;
}

/** Once in this many rounds. */
const pruneRounds = 12;

export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #bell = new Bell();
  #running: Promise<void> = Promise.resolve();
  #stopping = false;
  nudged = 0;

  constructor(options: WatchdogOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#bell.ring();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { everyMs, nudge, catchUp, prune, onError } = this.#options;
    for (let round = 1; ; round += 1) {
      await this.#bell.wait(everyMs);
      if (this.#stopping) return;
      await catchUp().catch(onError);
      const stalled = nudge();
      this.nudged += stalled;
      if (stalled > 0) onError(new Error(`${stalled} streams had work and did not turn`));
      if (round % pruneRounds === 0) await prune().catch(onError);
    }
  }
}

/**
 * Moves events that callers staged in their own transactions into the log. Any process may do it;
 * the store lets one at a time. Rings at once after a commit of this process, and polls otherwise.
 */
import type { StagingStore } from '../ports/store.ts';
import { Bell } from '../runtime/bell.ts';

export interface SequencerOptions {
  readonly staging: StagingStore;
  readonly everyMs: readonly [least: number, most: number];
  readonly batchMax: number;
  onSequenced(partitions: readonly number[]): void;
  onError(error: unknown): void;
}

export class Sequencer {
  readonly #options: SequencerOptions;
  readonly #bell = new Bell();
  #running: Promise<void> = Promise.resolve();
  #stopping = false;
  sequenced = 0;

  constructor(options: SequencerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Something was staged: look soon, and often for a while, as its commit is still to come. */
  wake(): void {
    this.#bell.ring();
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#bell.ring();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { staging, everyMs, batchMax, onSequenced, onError } = this.#options;
    const [least, most] = everyMs;
    let delay = most;
    while (!this.#stopping) {
      const before = performance.now();
      await this.#bell.wait(delay);
      const rung = performance.now() - before < delay - 1;
      if (this.#stopping) return;
      try {
        const { moved, partitions } = await staging.sequence(batchMax);
        this.sequenced += moved;
        if (moved > 0) onSequenced(partitions);
        delay = moved > 0 || rung ? least : Math.min(delay * 1.5, most);
      } catch (error) {
        onError(error);
        delay = most;
      }
    }
  }
}

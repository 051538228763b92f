/**
 * The waker of last resort: asks the store how far each partition reaches. Often while it finds
 * something that nobody told us about, seldom while the other wakers do their work.
 */
import type { LogStore } from '../ports/store.ts';
import { Bell } from './bell.ts';
import type { Heads } from './heads.ts';

export interface PollerOptions {
  readonly log: LogStore;
  readonly heads: Heads;
  readonly everyMs: readonly [least: number, most: number];
  onError(error: unknown): void;
}

export class Poller {
  readonly #options: PollerOptions;
  readonly #bell = new Bell();
  #running: Promise<void> = Promise.resolve();
  #stopping = false;
  /** performance.now() of the last answer of the store. */
  answeredAt = performance.now();

  constructor(options: PollerOptions) {
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

  /** Polls now, whatever the mode: after a connection was lost, hints may have been missed. */
  async catchUp(): Promise<void> {
    const found = await this.#options.log.heads();
    this.answeredAt = performance.now();
    for (const [partition, head] of found.entries()) {
      this.#options.heads.raise(partition, head, 'notice');
    }
  }

  async #run(): Promise<void> {
    const { log, heads, everyMs, onError } = this.#options;
    const [least, most] = everyMs;
    let delay = least;
    while (!this.#stopping) {
      await this.#bell.wait(delay * (0.75 + Math.random() * 0.5));
      if (this.#stopping) return;
      if (heads.mode === 'EventDrivenOnly') continue;
      try {
        const found = await log.heads();
        this.answeredAt = performance.now();
        const news = found.filter((head, partition) => head > heads.of(partition)).length > 0;
        for (const [partition, head] of found.entries()) heads.raise(partition, head, 'poll');
        const busy = heads.mode === 'PollingOnly' || news;
        delay = busy ? least : Math.min(delay * 1.5, most);
      } catch (error) {
        onError(error);
        delay = Math.min(delay * 2, most);
      }
    }
  }
}

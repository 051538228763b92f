/**
 * Removes the dead letters of domain events when their retention is over: every few minutes, by
 * every process for the groups that it has. Sweeps of several processes do no harm to each other.
 */
import type { FailureStore } from '../../ports/failures.ts';
import { sleep } from '../../runtime/bell.ts';

export interface DeadLetterSweeperOptions {
  readonly failures: FailureStore;
  readonly retentionMs: number;
  groups(): readonly string[];
  onRemoved(group: string, partition: number): void;
  onError(error: unknown, where: string): void;
}

const everyMs = 300_000;
const batchMax = 1_000;
/** A failed event is a letter once its settlement is through. */
const soonMs = 250;

export class DeadLetterSweeper {
  readonly #options: DeadLetterSweeperOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #soon: NodeJS.Timeout | null = null;

  constructor(options: DeadLetterSweeperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    if (this.#soon) clearTimeout(this.#soon);
    await this.#running;
  }

  /** Looks again in a moment. */
  sweepSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = null;
      void this.#sweepQuietly();
    }, soonMs);
  }

  /** Answers how many letters went. */
  async sweep(): Promise<number> {
    const { failures, retentionMs, groups, onRemoved } = this.#options;
    const names = groups();
    if (names.length === 0) return 0;
    let removed = 0;
    for (let last = batchMax; last >= batchMax; ) {
      const request = { groups: names, olderThanMs: retentionMs, limit: batchMax };
      const { removed: count, partitions } = await failures.expire(request);
      for (const { group, partition } of partitions) onRemoved(group, partition);
      removed += count;
      last = count;
    }
    return removed;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(everyMs * (0.5 + Math.random()), signal);
      if (!signal.aborted) await this.#sweepQuietly();
    }
  }

  async #sweepQuietly(): Promise<void> {
    try {
      await this.sweep();
    } catch (error) {
      this.#options.onError(error, 'domain events: sweeping dead letters');
    }
  }
}

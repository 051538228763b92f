/**
 * What a working process does now and then: looks at its queues, because notices are hints only
 * (often while nobody can tell it anything, rarely else), and removes what is older than the
 * retention.
 */
import type { JobStore } from '../ports/jobs.ts';
import { Bell, sleep } from '../runtime/bell.ts';
import type { WakeSource } from '../runtime/heads.ts';

export interface UpkeepOptions {
  readonly store: JobStore;
  /** Without and with notices. */
  readonly pollMs: readonly [least: number, most: number];
  /** Null: finished jobs are kept. */
  readonly retentionMs: number | null;
  queues(): readonly string[];
  /** False while notices cannot reach this process, or do not count. */
  listens(): boolean;
  /** This queue is to be looked at now and then. */
  polls(queue: string): boolean;
  tell(queue: string, lanes: readonly number[], source: WakeSource): void;
  onError(error: unknown, where: string): void;
}

const pruneEveryMs = 60_000;
const pruneLimit = 10_000;

export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #stop = new AbortController();
  readonly #bell = new Bell();
  #loops: Promise<unknown> = Promise.resolve();

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loops = Promise.all([this.#look(), this.#prune()]);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#bell.ring();
    await this.#loops;
  }

  /** How often to look has changed. */
  reconsider(): void {
    this.#bell.ring();
  }

  /**
   * Which lanes of a queue have jobs, said by nobody but the store. Unless the poller asks, it
   * counts as a notice: it stands for those that were missed.
   */
  async lookAt(queue: string, source: WakeSource = 'notice'): Promise<void> {
    const { store, tell, onError } = this.#options;
    try {
      tell(queue, await store.readyLanes(queue), source);
    } catch (error) {
      onError(error, `looking at ${queue}`);
    }
  }

  /** All queues at once: whatever happened before now was not heard. */
  async lookAtAll(): Promise<void> {
    await Promise.all(this.#options.queues().map((queue) => this.lookAt(queue)));
  }

  async #look(): Promise<void> {
    const { pollMs, queues, listens, polls } = this.#options;
    const [least, most] = pollMs;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#bell.wait((listens() ? most : least) * (0.8 + Math.random() * 0.4));
      for (const queue of queues()) {
        if (signal.aborted) return;
        if (polls(queue)) await this.lookAt(queue, 'poll');
      }
    }
  }

  async #prune(): Promise<void> {
    const { store, retentionMs, onError } = this.#options;
    const { signal } = this.#stop;
    if (retentionMs === null) return;
    while (!signal.aborted) {
      await sleep(pruneEveryMs * (0.5 + Math.random()), signal);
      try {
        let removed = pruneLimit;
        while (removed >= pruneLimit && !signal.aborted) {
          removed = await store.prune({ olderThanMs: retentionMs, limit: pruneLimit });
        }
      } catch (error) {
        onError(error, 'pruning');
      }
    }
  }
}

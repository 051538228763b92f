/**
 * What a working process does for all runs now and then: wakes those whose time has come, takes
 * over what dead processes held, lets what waits get more urgent, and removes what is older than
 * the retention. Safe to do everywhere at once; the times differ a little, so that processes
 * started together do not look together.
 */
import type { WorkflowStore } from '../ports/workflows.ts';
import { Bell, sleep } from '../runtime/bell.ts';

export interface UpkeepOptions {
  readonly store: WorkflowStore;
  /** How often to look at the latest. */
  readonly lookMs: number;
  /** A run that waits in its queue gets more urgent by one each time. */
  readonly ageingMs: number;
  queues(): readonly string[];
  /** Null: ended runs are kept. */
  readonly retentionMs: number | null;
  woken(queues: readonly string[]): void;
  /** Notices may get lost: runs held here shall look. */
  nudge(): void;
  onError(error: unknown, where: string): void;
}

const wakeMax = 500;
/** Those that become due one after the other are woken together. */
const wakePauseMs = 4;
const pruneEveryMs = 60_000;
const pruneLimit = 1_000;
const nudgeEveryMs = 30_000;
const ageLimit = 1_000;

export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #stop = new AbortController();
  readonly #bell = new Bell();
  #loops: Promise<unknown> = Promise.resolve();
  /** Of `performance.now()`: when to look for due runs. */
  #dueAt = 0;

  constructor(options: UpkeepOptions) {
    this.#options = options;
  }

  start(): void {
    const loops = [this.#wake(), this.#recover(), this.#prune(), this.#age(), this.#nudge()];
    this.#loops = Promise.all(loops);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#bell.ring();
    await this.#loops;
  }

  /** A run rests until then (milliseconds since 1970). */
  expect(wakeAt: number): void {
    const at = performance.now() + Math.max(wakePauseMs, wakeAt - Date.now());
    if (at >= this.#dueAt) return;
    this.#dueAt = at;
    this.#bell.ring();
  }

  /** Now, all that are due. */
  async wakeNow(): Promise<number | null> {
    const { store, woken } = this.#options;
    for (;;) {
      const { runs, nextDueMs, woken: queues } = await store.wakeDue(wakeMax);
      if (queues.length > 0) woken(queues);
      if (runs < wakeMax) return nextDueMs;
    }
  }

  async #wake(): Promise<void> {
    const { lookMs, onError } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const latest = performance.now() + jitter(lookMs);
      this.#dueAt = latest;
      try {
        const nextMs = await this.wakeNow();
        // The clock of the store decides what is due: a little later it is for sure.
        const pauseMs = Math.max(wakePauseMs, (nextMs ?? lookMs) + 1);
        this.#dueAt = Math.min(this.#dueAt, performance.now() + pauseMs);
      } catch (error) {
        onError(error, 'waking runs');
      }
      await this.#pause();
    }
  }

  /** A ring means that the time has changed. */
  async #pause(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const waitMs = this.#dueAt - performance.now();
      if (waitMs <= 0) return;
      await this.#bell.wait(waitMs);
    }
  }

  async #recover(): Promise<void> {
    const { store, lookMs, woken, onError } = this.#options;
    await this.#repeat(lookMs, async () => {
      try {
        const recovered = await store.recover();
        if (recovered.woken.length > 0) woken(recovered.woken);
      } catch (error) {
        onError(error, 'recovering runs');
      }
    });
  }

  async #prune(): Promise<void> {
    const { store, retentionMs, onError } = this.#options;
    if (retentionMs === null) return;
    await this.#repeat(pruneEveryMs, async () => {
      try {
        let removed = pruneLimit;
        while (removed >= pruneLimit && !this.#stop.signal.aborted) {
          removed = await store.prune({ olderThanMs: retentionMs, limit: pruneLimit });
        }
      } catch (error) {
        onError(error, 'pruning runs');
      }
    });
  }

  #age(): Promise<void> {
    const { store, ageingMs, queues, onError } = this.#options;
    return this.#repeat(ageingMs, async () => {
      try {
        await store.age({ queues: queues(), everyMs: ageingMs, limit: ageLimit });
      } catch (error) {
        onError(error, 'ageing runs');
      }
    });
  }

  #nudge(): Promise<void> {
    return this.#repeat(nudgeEveryMs, async () => this.#options.nudge());
  }

  async #repeat(everyMs: number, work: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await sleep(jitter(everyMs), signal);
      if (!signal.aborted) await work();
    }
  }
}

function jitter(ms: number): number {
  return ms * (0.8 + Math.random() * 0.4);
}

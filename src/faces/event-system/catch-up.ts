/**
 * What was shed is made good: events wait a while for room, and a queue whose events were not taken
 * is looked at as soon as a handler has ended, though not more often than `everyMs`. So the load is
 * bounded and no message stays behind, whatever the mode.
 */
import type { ConductedQueue } from '../../jobs/conducting.ts';
import { sleep } from '../../runtime/bell.ts';
import type { WorkerCounters } from './worker-event-statistics.ts';
import type { WorkerQueueListener } from './worker-queue-listener.ts';

export interface CatchUpOptions {
  readonly listener: WorkerQueueListener;
  readonly counters: WorkerCounters;
  readonly everyMs: number;
  queue(name: string): ConductedQueue | null;
  onError(error: unknown, where: string): void;
}

const retryMs = 250;

export class CatchUp {
  readonly #options: CatchUpOptions;
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #lookedAt = new Map<string, number>();

  constructor(options: CatchUpOptions) {
    this.#options = options;
  }

  /** True as soon as a handler may be started; false when none may within the limit. */
  async awaitRoom(queue: ConductedQueue, limitMs: number): Promise<boolean> {
    const free = () => queue.running < queue.concurrency;
    if (free()) return true;
    const until = performance.now() + limitMs;
    const waiting = this.#waiting.get(queue.queue) ?? new Set();
    this.#waiting.set(queue.queue, waiting);
    while (!free()) {
      const left = until - performance.now();
      if (left <= 0) return false;
      const rung = new AbortController();
      const ring = () => rung.abort();
      waiting.add(ring);
      await sleep(left, rung.signal);
      waiting.delete(ring);
    }
    return true;
  }

  /** A handler has ended, or an event was taken. */
  roomIn(name: string): void {
    for (const ring of this.#waiting.get(name) ?? []) ring();
    if (this.#timers.has(name) || !this.#options.listener.takeMissed(name)) return;
    const waited = performance.now() - (this.#lookedAt.get(name) ?? Number.NEGATIVE_INFINITY);
    this.#lookIn(name, Math.max(0, this.#options.everyMs - waited));
  }

  /** Looks at every queue now: nobody heard what happened before. */
  async lookEverywhere(queues: ReadonlyMap<string, ConductedQueue>): Promise<void> {
    await Promise.all([...queues.keys()].map((name) => this.#look(name)));
  }

  stop(): void {
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    for (const waiting of this.#waiting.values()) for (const ring of waiting) ring();
  }

  #lookIn(name: string, ms: number): void {
    const timer = setTimeout(() => {
      this.#timers.delete(name);
      void this.#look(name);
    }, ms);
    this.#timers.set(name, timer);
  }

  async #look(name: string): Promise<void> {
    const { counters, queue, onError } = this.#options;
    const found = queue(name);
    if (found === null) return;
    counters.catchUps += 1;
    this.#lookedAt.set(name, performance.now());
    try {
      found.claim(await found.readyLanes());
    } catch (error) {
      onError(error, `looking at ${name}`);
      if (queue(name) !== null && !this.#timers.has(name)) this.#lookIn(name, retryMs);
    }
  }
}

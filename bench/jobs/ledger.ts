/**
 * What one process handled: each job's number of starts and when it first started. Everything that
 * the bench says about handling is computed from this afterwards, so that a handler only counts.
 */
import { machineMs } from './clock.ts';
import type { Payload } from './product.ts';

export interface Handled {
  readonly handled: number;
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  readonly lost: number;
  readonly doubled: number;
}

/** Without a job for so long, a run has failed. */
const silenceMsMax = 30_000;

export class Ledger {
  /** Handlers never return while set: the worker holds its jobs. */
  hold = false;
  #starts = new Uint8Array(0);
  #startedAt = new Float64Array(0);
  #latencies = new Float64Array(0);
  #handled = 0;
  #lastAtMs = 0;

  /** Jobs `0 ≤ n < count` are to come, and nothing that was before counts any more. */
  expect(count: number): void {
    this.#starts = new Uint8Array(count);
    this.#startedAt = new Float64Array(count);
    this.#latencies = new Float64Array(count);
    this.#handled = 0;
  }

  /** Different jobs that started. */
  get handled(): number {
    return this.#handled;
  }

  readonly handle = async ({ n, sentAtMs }: Payload): Promise<void> => {
    const starts = this.#starts[n];
    if (starts === undefined) throw new Error(`job ${n} was not expected`);
    const now = machineMs();
    this.#starts[n] = Math.min(starts + 1, 255);
    if (starts === 0) {
      this.#startedAt[n] = now;
      this.#latencies[n] = now - sentAtMs;
      this.#handled += 1;
      this.#lastAtMs = now;
    }
    if (this.hold) await new Promise(() => undefined);
  };

  /** Waits until as many were handled as were expected, or as `count` says. */
  async finish(count = this.#starts.length): Promise<Handled> {
    let before = -1;
    let movedAt = performance.now();
    while (this.#handled < count) {
      if (this.#handled !== before) movedAt = performance.now();
      before = this.#handled;
      if (performance.now() - movedAt > silenceMsMax) {
        throw new Error(`handled ${before} of ${count} jobs, then none for ${silenceMsMax} ms`);
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return this.verdict(count);
  }

  verdict(count: number): Handled {
    const starts = this.#starts.subarray(0, count);
    return {
      handled: this.#handled,
      firstAtMs: this.#startedAt.reduce((a, b) => (b > 0 && b < a ? b : a), Infinity),
      lastAtMs: this.#lastAtMs,
      lost: starts.reduce((sum, times) => sum + (times === 0 ? 1 : 0), 0),
      doubled: starts.reduce((sum, times) => sum + Math.max(0, times - 1), 0),
    };
  }

  /** From just before its enqueue to the start of its handler. */
  async latencyOf(n: number): Promise<number> {
    const deadline = performance.now() + silenceMsMax;
    while (this.#starts[n] === 0) {
      if (performance.now() > deadline) throw new Error(`job ${n} did not start`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return this.#latencies[n] as number;
  }

  /** Job → when it first started, of those that did. */
  startTimes(): [n: number, atMs: number][] {
    return [...this.#startedAt.entries()].filter(([, atMs]) => atMs > 0);
  }

  /** Jobs that started in each second after `fromMs`. */
  perSecond(fromMs: number, seconds: number): number[] {
    const series = Array.from({ length: seconds }, () => 0);
    for (const atMs of this.#startedAt) {
      const second = atMs > 0 ? Math.floor((atMs - fromMs) / 1000) : -1;
      if (second >= 0 && second < seconds) series[second] = (series[second] ?? 0) + 1;
    }
    return series;
  }
}

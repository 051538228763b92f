/** Runs of no-op steps: many at once for throughput, one after the other for latency. */
import { median, percentile, round } from '../statistics.ts';
import type { WorkflowSession } from './product.ts';

export interface Throughput {
  readonly concurrency: number;
  readonly stepsPerSecond: number;
  readonly runsPerSecond: number;
}

export async function measureThroughput(
  session: WorkflowSession,
  { steps, runs, concurrency }: { steps: number; runs: number; concurrency: number },
): Promise<Throughput> {
  let left = runs;
  const caller = async () => {
    while (left > 0) {
      left -= 1;
      await session.runSequential(steps);
    }
  };
  const from = performance.now();
  await Promise.all(Array.from({ length: concurrency }, caller));
  const seconds = (performance.now() - from) / 1000;
  return {
    concurrency,
    stepsPerSecond: Math.round((runs * steps) / seconds),
    runsPerSecond: round(runs / seconds, 1),
  };
}

export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Milliseconds of whole runs, from the start to the result, one after the other. */
export async function measureAlone(runs: number, run: () => Promise<unknown>): Promise<Latency> {
  for (let i = 0; i < Math.min(20, runs); i += 1) await run();
  const times: number[] = [];
  for (let i = 0; i < runs; i += 1) {
    const from = performance.now();
    await run();
    times.push(performance.now() - from);
  }
  return { p50Ms: round(median(times), 2), p99Ms: round(percentile(times, 0.99), 2) };
}

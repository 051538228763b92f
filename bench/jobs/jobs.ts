/**
 * `npm run bench -- jobs`: our queues beside others, on one Postgres, one Redis and one machine.
 * Rounds of all products in rotating order for throughput and latency, of which medians count;
 * then, once, what a pinned horizon, limits and killed workers do.
 */
import { loadavg } from 'node:os';
import { randomFrom } from '../../test/support/random.ts';
import { measureFloor } from './floor.ts';
import { type LatencyOptions, measureLatency } from './latency.ts';
import { measureLimits } from './limits.ts';
import { measurePinned } from './pinned.ts';
import { isOurs, loadProduct, type ProductName, productNames } from './products.ts';
import { measureRecovery } from './recovery.ts';
import { type JobsFigures, Report } from './report.ts';
import { Stores } from './stores.ts';
import { type Bench, measureThroughput } from './throughput.ts';

export interface JobsOptions {
  /** Of each run, at most. */
  readonly jobs: number;
  readonly rounds: number;
  /** Names of products; none for all. */
  readonly only: readonly string[];
  readonly quick: boolean;
  readonly seed: number;
  log(line: string): void;
}

/** How long and how often; what `--quick` leaves out is precision. */
interface Sizes {
  readonly secondsWanted: number;
  readonly warmUpJobs: number;
  readonly samples: number;
  readonly pinnedSeconds: number;
  readonly pairs: number;
  readonly pairJobs: number;
  readonly kills: number;
}

function sizesOf({ quick, rounds, jobs }: JobsOptions): Sizes {
  if (quick) {
    return {
      secondsWanted: 0.5,
      warmUpJobs: 1_000,
      samples: 60,
      pinnedSeconds: 3,
      pairs: 1,
      pairJobs: Math.min(jobs, 20_000),
      kills: 1,
    };
  }
  return {
    secondsWanted: 3,
    warmUpJobs: 4_000,
    samples: Math.ceil(1_000 / rounds),
    pinnedSeconds: 20,
    pairs: 5,
    pairJobs: Math.min(jobs, 100_000),
    kills: 6,
  };
}

export async function benchJobs(options: JobsOptions): Promise<JobsFigures> {
  const { log, seed } = options;
  const sizes = sizesOf(options);
  log(`seed ${seed}: repeat with --seed ${seed}`);
  const [load = 0] = loadavg();
  if (load > 1)
    log(`load average ${load.toFixed(1)} before the start: all figures will be too low`);
  await using stores = await Stores.start();
  const benches = await choose(options, stores, sizes);
  const report = new Report(options, benches);
  const rounds = options.quick ? 1 : options.rounds;
  const random = randomFrom(seed);
  for (let round = 0; round < rounds; round += 1) {
    for (const bench of rotate(benches, round)) {
      const started = performance.now();
      const throughput = await measureThroughput(bench);
      const probing: LatencyOptions = { samples: sizes.samples, seed: random.below(2 ** 31) };
      const latencies = await measureLatency(bench, probing);
      report.add(bench.name, throughput, latencies);
      const seconds = Math.round((performance.now() - started) / 1000);
      log(`round ${round + 1} of ${rounds}: ${report.roundLine(bench.name)} (${seconds} s)`);
    }
    const probing = { samples: sizes.samples, seed: random.below(2 ** 31) };
    report.floorMs.push(...(await measureFloor(stores.postgres.url, probing)));
  }
  for (const bench of benches) await measureOnce(bench, sizes, report, log, random.below(2 ** 31));
  return report.figures();
}

async function measureOnce(
  bench: Bench,
  sizes: Sizes,
  report: Report,
  log: (line: string) => void,
  seed: number,
): Promise<void> {
  const { name, product } = bench;
  if (product.store === 'postgres') {
    const pinned = await measurePinned(bench, sizes.pinnedSeconds);
    report.pinned.set(name, pinned);
    log(`pinned horizon: ${name}, jobs in each second: ${pinned.series.join(' ')}`);
  }
  if (!isOurs(name)) return;
  const limits = await measureLimits(bench, sizes.pairJobs, sizes.pairs);
  report.limits.set(name, limits);
  log(`limits that are never reached: ${name}, ${JSON.stringify(limits)}`);
  const recovery = await measureRecovery(bench, { kills: sizes.kills, seed });
  report.recovery.set(name, recovery);
  log(`killed workers: ${name}, ${JSON.stringify(recovery)}`);
}

/** The products to measure, those on Redis only where there is one. */
async function choose(
  { jobs, only, quick, log }: JobsOptions,
  stores: Stores,
  { secondsWanted, warmUpJobs }: Sizes,
): Promise<Bench[]> {
  const unknown = only.find((name) => !productNames.includes(name as ProductName));
  if (unknown !== undefined) {
    throw new Error(`no product '${unknown}'; there are: ${productNames.join(', ')}`);
  }
  const benches: Bench[] = [];
  for (const name of productNames) {
    if (only.length > 0 && !only.includes(name)) continue;
    const product = await loadProduct(name);
    if (product.store === 'redis' && stores.redis === null) {
      log(`left out: ${name}, there is no redis-server on this machine`);
      continue;
    }
    const jobsMax = quick ? Math.min(jobs, 20_000) : jobs;
    benches.push({ name, product, stores, jobsMax, secondsWanted, warmUpJobs });
  }
  return benches;
}

function rotate<Item>(items: readonly Item[], by: number): Item[] {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

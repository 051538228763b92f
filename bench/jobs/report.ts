/** Collects what was measured, takes medians over the rounds, and compares ours with the others. */
import { availableParallelism, loadavg } from 'node:os';
import { median, percentile, round, thousands } from '../statistics.ts';
import type { Latencies } from './latency.ts';
import type { LimitsCost } from './limits.ts';
import type { Pinned } from './pinned.ts';
import { payloadBytes } from './product.ts';
import { isOurs, type ProductName } from './products.ts';
import type { Recovery } from './recovery.ts';
import { redisSettings } from './redis.ts';
import type { Bench, Throughput } from './throughput.ts';

/** Medians over the rounds; latencies are percentiles of all samples. */
export interface ProductFigures extends Throughput {
  readonly settings: string;
  readonly idleP50Ms: number;
  readonly idleP99Ms: number;
  readonly crossProcessP50Ms: number;
  readonly crossProcessP99Ms: number;
  readonly recoveryByDefault: string | null;
  readonly pinned: Pinned | null;
  readonly recovery: Recovery | null;
  readonly limits: LimitsCost | null;
  /** What each round read. */
  readonly rounds: readonly Throughput[];
}

/** Null: not measured in this run. */
export interface JobsFigures {
  /** Drained while a process of its own produces; to the fastest of the others, on either store. */
  readonly ratioToFastestPeer: number | null;
  readonly fastestPeer: string | null;
  /** The same with producer and worker in one process. */
  readonly oneProcessRatioToFastestPeer: number | null;
  readonly backlogRatioToFastestPeer: number | null;
  readonly bulkRatioToFastestPeer: number | null;
  readonly idleP50Ms: number | null;
  readonly idleP99Ms: number | null;
  readonly crossProcessP50Ms: number | null;
  readonly crossProcessP99Ms: number | null;
  /** A bare insert and commit on the same Postgres, after the same pauses. */
  readonly commitFloorP50Ms: number;
  readonly commitFloorP99Ms: number;
  readonly pinnedRatio: number | null;
  readonly walBytesPerJob: number | null;
  readonly redisRatioToBullMQ: number | null;
  readonly recoverySecondsP99: number | null;
  readonly limitsCost: number | null;
  readonly lost: 0;
  readonly doubled: 0;
  readonly products: Readonly<Record<string, ProductFigures>>;
  readonly settings: Readonly<Record<string, unknown>>;
}

interface Sizes {
  readonly jobs: number;
  readonly rounds: number;
  readonly quick: boolean;
  readonly seed: number;
}

type Rate = 'producingPerSecond' | 'oneProcessPerSecond' | 'backlogPerSecond' | 'bulkPerSecond';

export class Report {
  readonly pinned = new Map<ProductName, Pinned>();
  readonly limits = new Map<ProductName, LimitsCost>();
  readonly recovery = new Map<ProductName, Recovery>();
  readonly floorMs: number[] = [];
  readonly #sizes: Sizes;
  readonly #benches: readonly Bench[];
  readonly #throughput = new Map<ProductName, Throughput[]>();
  readonly #latencies = new Map<ProductName, { idleMs: number[]; crossProcessMs: number[] }>();
  readonly #loadBefore = loadavg()[0] ?? 0;

  constructor(sizes: Sizes, benches: readonly Bench[]) {
    this.#sizes = sizes;
    this.#benches = benches;
    for (const { name } of benches) {
      this.#throughput.set(name, []);
      this.#latencies.set(name, { idleMs: [], crossProcessMs: [] });
    }
  }

  add(name: ProductName, throughput: Throughput, latencies: Latencies): void {
    this.#throughput.get(name)?.push(throughput);
    this.#latencies.get(name)?.idleMs.push(...latencies.idleMs);
    this.#latencies.get(name)?.crossProcessMs.push(...latencies.crossProcessMs);
  }

  /** What the last round of a product read, in a line. */
  roundLine(name: ProductName): string {
    const last = this.#throughput.get(name)?.at(-1);
    if (last === undefined) return name;
    const { producingPerSecond: producing, backlogPerSecond: backlog } = last;
    const [first, second] = [thousands(producing), thousands(backlog)];
    return `${name} ${first}/s while producing, ${second}/s of a backlog`;
  }

  figures(): JobsFigures {
    const products: Record<string, ProductFigures> = {};
    for (const bench of this.#benches) products[bench.name] = this.#figuresOf(bench);
    const ours = products.millrace;
    const ratio = (rate: Rate) => ratioOf(ours?.[rate], fastest(products, rate)?.[1][rate]);
    const onRedis = products['millrace-redis']?.producingPerSecond;
    return {
      ratioToFastestPeer: ratio('producingPerSecond'),
      fastestPeer: fastest(products, 'producingPerSecond')?.[0] ?? null,
      oneProcessRatioToFastestPeer: ratio('oneProcessPerSecond'),
      backlogRatioToFastestPeer: ratio('backlogPerSecond'),
      bulkRatioToFastestPeer: ratio('bulkPerSecond'),
      idleP50Ms: ours?.idleP50Ms ?? null,
      idleP99Ms: ours?.idleP99Ms ?? null,
      crossProcessP50Ms: ours?.crossProcessP50Ms ?? null,
      crossProcessP99Ms: ours?.crossProcessP99Ms ?? null,
      commitFloorP50Ms: round(percentile(this.floorMs, 0.5)),
      commitFloorP99Ms: round(percentile(this.floorMs, 0.99)),
      pinnedRatio: ours?.pinned?.ratio ?? null,
      walBytesPerJob: ours?.bytesPerJob ?? null,
      redisRatioToBullMQ: ratioOf(onRedis, products['bullmq-redis']?.producingPerSecond),
      recoverySecondsP99: ours?.recovery?.recoverySecondsP99 ?? null,
      limitsCost: ours?.limits?.limitsCost ?? null,
      lost: 0, // else the run would have ended with an error
      doubled: 0,
      products,
      settings: this.#settings(),
    };
  }

  #figuresOf({ name, product }: Bench): ProductFigures {
    const rounds = this.#throughput.get(name) ?? [];
    const { idleMs = [], crossProcessMs = [] } = this.#latencies.get(name) ?? {};
    const middle = (rate: keyof Throughput) => median(rounds.map((one) => one[rate]));
    return {
      settings: product.settings,
      jobs: middle('jobs'),
      producingPerSecond: middle('producingPerSecond'),
      oneProcessPerSecond: middle('oneProcessPerSecond'),
      backlogPerSecond: middle('backlogPerSecond'),
      bulkPerSecond: middle('bulkPerSecond'),
      singlePerSecond: middle('singlePerSecond'),
      bytesPerJob: middle('bytesPerJob'),
      idleP50Ms: round(percentile(idleMs, 0.5)),
      idleP99Ms: round(percentile(idleMs, 0.99)),
      crossProcessP50Ms: round(percentile(crossProcessMs, 0.5)),
      crossProcessP99Ms: round(percentile(crossProcessMs, 0.99)),
      recoveryByDefault: product.recoveryByDefault,
      pinned: this.pinned.get(name) ?? null,
      recovery: this.recovery.get(name) ?? null,
      limits: this.limits.get(name) ?? null,
      rounds,
    };
  }

  #settings(): Readonly<Record<string, unknown>> {
    const { jobs, rounds, quick, seed } = this.#sizes;
    return {
      seed,
      jobs,
      rounds: quick ? 1 : rounds,
      quick,
      payloadBytes,
      node: process.version,
      cpus: availableParallelism(),
      postgres:
        'embedded 18, fsync and synchronous_commit on, shared_buffers 1GB, max_wal_size 8GB',
      redis: redisSettings,
      loadBefore: round(this.#loadBefore),
    };
  }
}

function fastest(
  products: Readonly<Record<string, ProductFigures>>,
  rate: Rate,
): [string, ProductFigures] | undefined {
  const peers = Object.entries(products).filter(([name]) => !isOurs(name as ProductName));
  return peers.sort(([, a], [, b]) => b[rate] - a[rate])[0];
}

function ratioOf(ours: number | undefined, theirs: number | undefined): number | null {
  return ours === undefined || theirs === undefined ? null : round(ours / theirs);
}

/**
 * `npm run bench -- workflows`: runs of ten no-op steps beside DBOS, each product in a process of
 * its own on one server, in rotating order, of which medians count; then what only ours has:
 * declared DAGs, batches, long runs, fan-out.
 */
import { execFile } from 'node:child_process';
import { loadavg } from 'node:os';
import { promisify } from 'node:util';
import { type BenchServer, startBenchServer } from '../server.ts';
import { median, round } from '../statistics.ts';
import { type ProductFigures, productNames, type Sizes } from './child.ts';
import type { OurFigures, OurSizes } from './ours.ts';

export interface WorkflowsOptions {
  readonly rounds: number;
  readonly quick: boolean;
  /** Names of products; none for all. */
  readonly only: readonly string[];
  log(line: string): void;
}

export interface WorkflowsFigures extends OurFigures {
  /** Ours over theirs, each at its own best number of runs at once. */
  readonly ratioToDbos: number | null;
  readonly stepsPerSecond: number;
  /** Ten steps, one run at a time. */
  readonly soloMedianMs: number;
  readonly products: Readonly<Record<string, Summary>>;
}

interface Summary {
  readonly settings: string;
  readonly stepsPerSecond: number;
  readonly atConcurrency: number;
  readonly soloP50Ms: number;
  readonly soloP99Ms: number;
}

const run = promisify(execFile);

/** Runs a child to its end; its last line is its answer. */
async function child<Figures>(file: string, ...args: readonly string[]): Promise<Figures> {
  const script = new URL(file, import.meta.url).pathname;
  const argv = ['--conditions=millrace-source', script, ...args];
  const { stdout } = await run(process.execPath, argv, { maxBuffer: 16 << 20 });
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Figures;
}

/** Each product finds its server empty. */
async function clear({ client }: BenchServer): Promise<void> {
  const { rows } = await client.query(
    `select quote_ident(nspname) as name from pg_namespace
     where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')`,
  );
  for (const { name } of rows) await client.query(`drop schema ${name} cascade`);
  await client.query('checkpoint');
}

function sizesOf(name: string, quick: boolean): Sizes {
  const runs = quick ? 200 : 2_000;
  // Theirs takes fifteen seconds for what takes ours one: its figure is as good from fewer runs.
  const slower = name === 'millrace' ? 1 : 2;
  return {
    steps: 10,
    runs: Math.ceil(runs / slower),
    concurrencies: [20, 100, 200],
    warmUpRuns: quick ? 50 : 300,
    aloneRuns: quick ? 50 : 300,
  };
}

export async function benchWorkflows(options: WorkflowsOptions): Promise<WorkflowsFigures> {
  const { log, only, quick } = options;
  const [load = 0] = loadavg();
  if (load > 1) log(`load average ${load.toFixed(1)} before the start: figures will be too low`);
  const names = productNames.filter((name) => only.length === 0 || only.includes(name));
  await using server = await startBenchServer();
  const found = new Map<string, ProductFigures[]>();
  const rounds = quick ? 1 : options.rounds;
  for (let i = 0; i < rounds; i += 1) {
    for (const name of [...names.slice(i % names.length), ...names.slice(0, i % names.length)]) {
      await clear(server);
      const sizes = JSON.stringify(sizesOf(name, quick));
      const figures = await child<ProductFigures>('./child.ts', name, server.url, sizes);
      found.set(name, [...(found.get(name) ?? []), figures]);
      const at = figures.throughput.map((one) => `${one.stepsPerSecond}/s at ${one.concurrency}`);
      const { p50Ms } = figures.alone;
      log(`round ${i + 1} of ${rounds}: ${name}: ${at.join(', ')}; alone ${p50Ms} ms`);
    }
  }
  await clear(server);
  const sizes: OurSizes = { quick };
  const ours = await child<OurFigures>('./ours.ts', server.url, JSON.stringify(sizes));
  const products = Object.fromEntries([...found].map(([name, of]) => [name, summarise(of)]));
  const [mine, theirs] = [products.millrace, products.dbos];
  return {
    ratioToDbos: mine && theirs ? round(mine.stepsPerSecond / theirs.stepsPerSecond) : null,
    stepsPerSecond: mine?.stepsPerSecond ?? 0,
    soloMedianMs: mine?.soloP50Ms ?? 0,
    ...ours,
    products,
  };
}

/** Medians over the rounds, at the number of runs at once that is best for the product. */
function summarise(of: readonly ProductFigures[]): Summary {
  const first = of[0] as ProductFigures;
  const best = first.throughput
    .map(({ concurrency }, i) => ({
      concurrency,
      stepsPerSecond: median(of.map(({ throughput }) => throughput[i]?.stepsPerSecond ?? 0)),
    }))
    .reduce((a, b) => (b.stepsPerSecond > a.stepsPerSecond ? b : a));
  return {
    settings: first.settings,
    stepsPerSecond: best.stepsPerSecond,
    atConcurrency: best.concurrency,
    soloP50Ms: median(of.map(({ alone }) => alone.p50Ms)),
    soloP99Ms: median(of.map(({ alone }) => alone.p99Ms)),
  };
}

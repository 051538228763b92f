/**
 * Measures one product in a process of its own, so that no product pays for another's timers and
 * pools: `child.ts <product> <url> <sizes as JSON>`; the last line it prints is its figures.
 */
import type { WorkflowProduct } from './product.ts';
import { type Latency, measureAlone, measureThroughput, type Throughput } from './sequential.ts';

export interface Sizes {
  readonly runs: number;
  readonly steps: number;
  readonly concurrencies: readonly number[];
  readonly warmUpRuns: number;
  readonly aloneRuns: number;
}

export interface ProductFigures {
  readonly settings: string;
  readonly throughput: readonly Throughput[];
  readonly alone: Latency;
}

const loaders: Readonly<Record<string, () => Promise<WorkflowProduct>>> = {
  millrace: async () => (await import('./millrace.ts')).millrace,
  dbos: async () => (await import('../peers/dbos.ts')).dbos,
};

export const productNames = Object.keys(loaders);

async function measure(product: WorkflowProduct, url: string, sizes: Sizes) {
  const { steps, runs, warmUpRuns } = sizes;
  const session = await product.open(url);
  try {
    await measureThroughput(session, { steps, runs: warmUpRuns, concurrency: 20 });
    const throughput: Throughput[] = [];
    for (const concurrency of sizes.concurrencies) {
      throughput.push(await measureThroughput(session, { steps, runs, concurrency }));
    }
    const alone = await measureAlone(sizes.aloneRuns, () => session.runSequential(steps));
    const figures: ProductFigures = { settings: product.settings, throughput, alone };
    return figures;
  } finally {
    await session.close();
  }
}

if (import.meta.main) {
  const [name = '', url = '', sizes = '{}'] = process.argv.slice(2);
  const load = loaders[name];
  if (load === undefined) throw new Error(`no product '${name}': ${productNames.join(', ')}`);
  const figures = await measure(await load(), url, JSON.parse(sizes) as Sizes);
  console.log(JSON.stringify(figures));
  process.exit(0); // a peer's timers shall not keep the bench waiting
}

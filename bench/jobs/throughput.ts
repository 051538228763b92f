/**
 * How many jobs a second: bulk and single enqueue, a backlog, and while producing, with the
 * producer in a process of its own and in the worker's. Every job of every run must be handled
 * once, and the store must hold nothing unfinished afterwards; else the run throws.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { round } from '../statistics.ts';
import { Child } from './child.ts';
import type { Product, SessionOptions } from './product.ts';
import type { ProductName } from './products.ts';
import type { Stores } from './stores.ts';

/** What every measure of a product gets. */
export interface Bench {
  readonly name: ProductName;
  readonly product: Product;
  readonly stores: Stores;
  readonly jobsMax: number;
  /** Slow products get as many jobs as they handle in about so long. */
  readonly secondsWanted: number;
  /** Before anything counts, in each process. */
  readonly warmUpJobs: number;
}

export interface Throughput {
  /** Jobs of each run below. */
  readonly jobs: number;
  readonly bulkPerSecond: number;
  readonly singlePerSecond: number;
  readonly producingPerSecond: number;
  readonly backlogPerSecond: number;
  readonly oneProcessPerSecond: number;
  readonly bytesPerJob: number;
}

export const batch = 1_000;
/** Bulk calls under way at once: the next is made while one is stored. */
const bulkCallers = 2;
const singly = { callers: 100 };

export async function measureThroughput(bench: Bench): Promise<Throughput> {
  const { name, product, stores } = bench;
  await stores.clear(product);
  const options: SessionOptions = { url: stores.urlOf(product), aim: 'throughput' };
  await using producer = await Child.start(name, options);
  await producer.call('prepare');
  const { jobs, ...drained } = await measureDrains(bench, producer, options);
  await using both = await Child.start(name, options);
  await both.call('work', {});
  await produceAndDrain(both, both, bench.warmUpJobs);
  await stores.settle(product);
  return { jobs, ...drained, oneProcessPerSecond: await produceAndDrain(both, both, jobs) };
}

/** Everything with a producer process beside the worker process. */
async function measureDrains(bench: Bench, producer: Child, options: SessionOptions) {
  const { product, stores, jobsMax } = bench;
  await using worker = await Child.start(bench.name, options);
  await worker.call('work', {});
  await produceAndDrain(producer, worker, bench.warmUpJobs / 2);
  const warm = await produceAndDrain(producer, worker, bench.warmUpJobs);
  const wanted = Math.ceil((warm * bench.secondsWanted) / batch) * batch;
  const jobs = Math.min(jobsMax, Math.max(2 * batch, wanted));
  await stores.settle(product);
  const before = await stores.written(product);
  const producingPerSecond = await produceAndDrain(producer, worker, jobs);
  const bytesPerJob = Math.round(((await stores.written(product)) - before) / jobs);

  await worker.call('rest');
  await stores.settle(product);
  await worker.call('expect', { count: jobs });
  const bulk = await producer.call('produce', { count: jobs, batch, callers: bulkCallers });
  await worker.call('work', {});
  const drained = await worker.call('finish', {});
  await verify(worker);

  await worker.call('rest');
  await stores.settle(product);
  const single = await producer.call('produceSingly', {
    ...singly,
    seconds: bench.secondsWanted / 3,
  });
  await worker.call('expect', { count: single.count });
  await worker.call('work', {});
  await worker.call('finish', {});
  await verify(worker);
  return {
    jobs,
    producingPerSecond,
    bytesPerJob,
    bulkPerSecond: perSecond(jobs, bulk.fromMs, bulk.toMs),
    backlogPerSecond: perSecond(jobs, drained.firstAtMs, drained.lastAtMs),
    singlePerSecond: perSecond(single.count, single.fromMs, single.toMs),
  };
}

/** From the first enqueue to the start of the last job's handler. */
export async function produceAndDrain(
  producer: Child,
  worker: Child,
  count: number,
): Promise<number> {
  await worker.call('expect', { count });
  const finishing = worker.call('finish', {});
  finishing.catch(() => undefined); // when enqueueing fails, that is the error to see
  const { fromMs } = await producer.call('produce', { count, batch, callers: bulkCallers });
  const handled = await finishing;
  await verify(worker);
  return perSecond(count, fromMs, handled.lastAtMs);
}

/** Nothing left, lost or doubled; asked in this order, so that nothing comes later. */
async function verify(worker: Child): Promise<void> {
  const deadline = performance.now() + 20_000;
  let unfinished = await worker.call('unfinished');
  while (unfinished > 0) {
    if (performance.now() > deadline) throw new Error(`${unfinished} jobs were left unfinished`);
    await sleep(5);
    unfinished = await worker.call('unfinished');
  }
  const { lost, doubled } = await worker.call('finish', {});
  if (lost + doubled > 0) throw new Error(`${lost} jobs were lost, ${doubled} doubled`);
}

const perSecond = (count: number, fromMs: number, toMs: number): number =>
  round((count / (toMs - fromMs)) * 1000, 0);

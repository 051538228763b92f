/**
 * Another session's snapshot pins the xmin horizon while jobs are enqueued and handled as fast as
 * it goes, in one process. Rows that are updated or deleted cannot be cleaned up then, and a queue
 * made of such rows slows down with every job: the series of jobs per second shows it. Ours runs
 * without the pin too, half of that before and half after, so that a machine that drifts does not
 * count.
 */
import { round } from '../statistics.ts';
import { Child } from './child.ts';
import type { SessionOptions } from './product.ts';
import { isOurs } from './products.ts';
import { type Bench, batch } from './throughput.ts';
import type { Sustained } from './worker.ts';

export interface Pinned {
  readonly seconds: number;
  /** Jobs handled in each second. */
  readonly series: readonly number[];
  readonly firstPerSecond: number;
  readonly lastPerSecond: number;
  /** To the rate without the pin; `null` where that was not measured. */
  readonly ratio: number | null;
}

/** Jobs that one sustained run may number at most; each takes 17 bytes of its process. */
const jobsMax = 8_000_000;

export async function measurePinned(bench: Bench, seconds: number): Promise<Pinned> {
  const { name, product, stores } = bench;
  await stores.clear(product);
  const options: SessionOptions = { url: stores.urlOf(product), aim: 'throughput' };
  await using both = await Child.start(name, options);
  await both.call('prepare');
  await both.call('work', {});
  const run = async (length: number): Promise<Sustained> => {
    await stores.settle(product);
    await both.call('expect', { count: jobsMax });
    const sustained = await both.call('sustain', { length, batch });
    const { lost, doubled } = sustained.verdict;
    if (lost + doubled > 0) throw new Error(`${lost} jobs were lost, ${doubled} doubled`);
    return sustained;
  };
  await run(Math.min(3, seconds));
  const half = Math.ceil(seconds / 2);
  const before = isOurs(name) ? await run(half) : null;
  const { series, perSecond } = await stores.withPinnedHorizon(() => run(seconds));
  const after = before === null ? null : await run(half);
  const edge = Math.min(3, Math.floor(seconds / 2));
  const mean = (values: readonly number[]) =>
    Math.round(values.reduce((sum, value) => sum + value, 0) / values.length);
  return {
    seconds,
    series,
    firstPerSecond: mean(series.slice(0, edge)),
    lastPerSecond: mean(series.slice(-edge)),
    ratio:
      before === null || after === null
        ? null
        : round(perSecond / ((before.perSecond + after.perSecond) / 2), 3),
  };
}

/**
 * What limits cost that are never reached: concurrency 10,000 and rate 10 million a second, on the
 * queue and on each of its ten keys. Pairs of runs, with and without, in alternating order; the
 * median of the pairs counts, because a machine drifts more between minutes than between seconds.
 */
import { median, round } from '../statistics.ts';
import { Child } from './child.ts';
import { type Bench, produceAndDrain } from './throughput.ts';

export interface LimitsCost {
  readonly limitsCost: number;
  readonly unlimitedPerSecond: number;
  readonly limitedPerSecond: number;
}

export async function measureLimits(
  bench: Bench,
  jobs: number,
  pairs: number,
): Promise<LimitsCost> {
  const rates = { limited: [] as number[], unlimited: [] as number[] };
  for (let pair = 0; pair < pairs; pair += 1) {
    const order = ['limited', 'unlimited'] as const;
    for (const keys of pair % 2 === 0 ? order : order.toReversed()) {
      rates[keys].push(await run(bench, keys, jobs));
    }
  }
  const ratios = rates.limited.map((limited, pair) => limited / (rates.unlimited[pair] as number));
  return {
    limitsCost: round(1 - median(ratios), 3),
    unlimitedPerSecond: median(rates.unlimited),
    limitedPerSecond: median(rates.limited),
  };
}

async function run(
  { name, product, stores }: Bench,
  keys: 'limited' | 'unlimited',
  jobs: number,
): Promise<number> {
  await stores.clear(product);
  const url = stores.urlOf(product);
  await using both = await Child.start(name, { url, aim: 'throughput', keys });
  await both.call('prepare');
  await both.call('work', {});
  await produceAndDrain(both, both, Math.ceil(jobs / 4));
  await stores.settle(product);
  return await produceAndDrain(both, both, jobs); // not after `both` was disposed of
}

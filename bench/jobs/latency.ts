/**
 * From just before an enqueue to the start of its handler, when nothing else is to be done: one job
 * at a time, with random pauses up to 10 ms. In one process, and from one process to another.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { randomFrom } from '../../test/support/random.ts';
import { Child } from './child.ts';
import type { SessionOptions } from './product.ts';
import type { Bench } from './throughput.ts';

export interface Latencies {
  readonly idleMs: readonly number[];
  readonly crossProcessMs: readonly number[];
}

export interface LatencyOptions {
  readonly samples: number;
  readonly seed: number;
}

export const warmUps = 60;

export async function measureLatency(
  { name, product, stores }: Bench,
  { samples, seed }: LatencyOptions,
): Promise<Latencies> {
  await stores.clear(product);
  const options: SessionOptions = { url: stores.urlOf(product), aim: 'latency' };
  await using worker = await Child.start(name, options);
  await worker.call('prepare');
  await worker.call('expect', { count: 2 * (warmUps + samples) });
  await worker.call('work', {});
  await worker.call('probe', { from: 0, count: warmUps, seed });
  const idleMs = await worker.call('probe', { from: warmUps, count: samples, seed });

  await using producer = await Child.start(name, options);
  const random = randomFrom(seed);
  const crossProcessMs: number[] = [];
  for (let i = 0; i < warmUps + samples; i += 1) {
    const n = warmUps + samples + i;
    await producer.call('enqueueOne', { n });
    const latency = await worker.call('latencyOf', { n });
    if (i >= warmUps) crossProcessMs.push(latency);
    await sleep(random.next() * 10);
  }
  return { idleMs, crossProcessMs };
}

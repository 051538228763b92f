/**
 * A worker process is killed by SIGKILL while it holds jobs: seconds until each of them starts in
 * another worker, with default settings. Ours only: by default the others take half a minute to
 * four hours, which their documentation says and nobody has to wait for.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { randomFrom } from '../../test/support/random.ts';
import { percentile, round } from '../statistics.ts';
import { Child } from './child.ts';
import { machineMs } from './clock.ts';
import type { SessionOptions } from './product.ts';
import type { Bench } from './throughput.ts';

export interface Recovery {
  readonly kills: number;
  readonly jobs: number;
  readonly recoverySecondsMin: number;
  readonly recoverySecondsP50: number;
  readonly recoverySecondsP99: number;
  readonly recoverySecondsMax: number;
}

const jobsHeld = 20;

export async function measureRecovery(
  { name, product, stores }: Bench,
  { kills, seed }: { kills: number; seed: number },
): Promise<Recovery> {
  await stores.clear(product);
  const options: SessionOptions = { url: stores.urlOf(product), aim: 'latency' };
  await using producer = await Child.start(name, options);
  await producer.call('prepare');
  const random = randomFrom(seed);
  const seconds: number[] = [];
  for (let kill = 0; kill < kills; kill += 1) {
    await using victim = await Child.start(name, options);
    await victim.call('expect', { count: jobsHeld });
    await victim.call('work', { hold: true });
    await producer.call('produce', { count: jobsHeld, batch: 1, callers: 1 });
    await victim.call('finish', {});
    await using heir = await Child.start(name, options);
    await heir.call('expect', { count: jobsHeld });
    await heir.call('work', {});
    // Somewhere between two heartbeats, not always at the same place.
    await sleep(500 + random.next() * 1_500);
    const killedAtMs = machineMs();
    await victim.kill();
    await heir.call('finish', {});
    for (const [, atMs] of await heir.call('startTimes')) {
      seconds.push((atMs - killedAtMs) / 1000);
    }
  }
  return {
    kills,
    jobs: seconds.length,
    recoverySecondsMin: round(Math.min(...seconds)),
    recoverySecondsP50: round(percentile(seconds, 0.5)),
    recoverySecondsP99: round(percentile(seconds, 0.99)),
    recoverySecondsMax: round(Math.max(...seconds)),
  };
}

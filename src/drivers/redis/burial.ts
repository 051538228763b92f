/**
 * The end of an epoch. It is first declared dead in the registry, where it can then enter no
 * further queue, and after that fenced in every queue it entered, there in one step with its jobs
 * waiting again. Whoever does this may crash anywhere: the epoch stays on the registry's list of
 * the dying until all of it is done.
 */
import type { Recovery } from '../../ports/jobs.ts';
import type { Context } from './context.ts';
import { carryNews } from './news.ts';
import { scripts } from './scripts.ts';

export interface DeadEpoch {
  readonly epoch: number;
  readonly crashed: boolean;
  /** False: somebody else declared it dead and did not finish. */
  readonly isNew: boolean;
  readonly queues: readonly string[];
}

export type RecoveredJob = Recovery['jobs'][number] & { readonly quarantined: boolean };

/**
 * Declares one epoch dead, or all silent ones (null). Those that others declared dead `takeoverMs`
 * ago and did not finish are answered as well.
 */
export async function declareDead(
  { redis, keys }: Context,
  epoch: number | null,
  takeoverMs: number,
): Promise<readonly DeadEpoch[]> {
  type Found = [epoch: number, crashed: number, isNew: number, queues: string[]];
  const args = [epoch ?? '', takeoverMs];
  const found = await redis.run<Found[]>(scripts.declareDead, keys.registry, args);
  return found.map(([number, crashed, isNew, queues]) => ({
    epoch: number,
    crashed: crashed === 1,
    isNew: isNew === 1,
    queues,
  }));
}

/** Makes its jobs wait again, in all of its queues, and forgets it. */
export async function bury(
  context: Context,
  dead: DeadEpoch,
  crashesMax: number,
): Promise<RecoveredJob[]> {
  const { redis, keys } = context;
  const jobs = await Promise.all(
    dead.queues.map((queue) => fence(context, dead, queue, crashesMax)),
  );
  await redis.run(scripts.forgetWorker, keys.registry, [dead.epoch]);
  return jobs.flat();
}

async function fence(
  context: Context,
  { epoch, crashed }: DeadEpoch,
  queue: string,
  crashesMax: number,
): Promise<RecoveredJob[]> {
  const { redis, keys } = context;
  const jobs: RecoveredJob[] = [];
  for (let more = 1; more === 1; ) {
    const args = [epoch, crashed ? '1' : '', crashesMax];
    const reply = await redis.run<number[]>(scripts.fence, keys.queue(queue), args);
    const [isMore, news, ...moved] = reply as [number, number, ...number[]];
    for (let i = 0; i < moved.length; i += 4) {
      const [lane, offset, crashes, lost] = moved.slice(i, i + 4) as [
        number,
        number,
        number,
        number,
      ];
      jobs.push({ lane, offset, queue, crashes, quarantined: lost === 1 });
    }
    if (news === 1) await carryNews(context, queue);
    more = isMore;
  }
  return jobs;
}

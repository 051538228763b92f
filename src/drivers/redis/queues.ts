/** Which queues there are, and in which of them jobs are. */
import type { JobRef } from '../../core/job.ts';
import type { Context } from './context.ts';

export async function knownQueues({ redis, keys }: Context): Promise<string[]> {
  const { registry } = keys;
  return (await redis.send<string[]>(registry, ['SMEMBERS', `${registry}:queues`])).sort();
}

interface QueuePart {
  readonly queue: string;
  /** Indexes into the references. */
  readonly places: readonly number[];
}

/** References by the queue of their lane, in parts of a size; unknown lanes are left out. */
export async function byQueue(
  { lanes }: Context,
  refs: readonly JobRef[],
  sizeMax: number,
): Promise<QueuePart[]> {
  await lanes.load(refs.map(({ lane }) => lane));
  const queueOf = (i: number) => lanes.get((refs[i] as JobRef).lane)?.queue;
  const parts: QueuePart[] = [];
  for (const [queue, places] of Map.groupBy(refs.keys(), queueOf)) {
    if (queue === undefined) continue;
    for (let from = 0; from < places.length; from += sizeMax) {
      parts.push({ queue, places: places.slice(from, from + sizeMax) });
    }
  }
  return parts;
}

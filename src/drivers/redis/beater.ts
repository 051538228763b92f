/**
 * Says that a worker lives, over a connection of its own. The heartbeat's thread imports this file
 * and calls `openBeater`, both as `JobStore.beater` names them.
 */
import type { JobRef } from '../../core/job.ts';
import type { Beater } from '../../ports/jobs.ts';
import { openRedis } from './connection.ts';
import { createKeys } from './keys.ts';
import { scripts } from './scripts.ts';

export interface BeaterOptions {
  readonly url: string;
  readonly prefix: string;
}

export async function openBeater({ url, prefix }: BeaterOptions): Promise<Beater> {
  const keys = createKeys(prefix);
  const redis = await openRedis(url);

  async function cancelledIn(queue: string, epoch: number): Promise<JobRef[]> {
    const base = keys.queue(queue);
    const key = `${base}:xc:${epoch}`;
    const found = await redis.send<string[]>(base, ['ZRANGE', key, '0', '999']);
    return found.map((padded) => {
      const [lane, offset] = padded.split('-');
      return { lane: Number(lane), offset: Number(offset) };
    });
  }

  return {
    async beat(epoch, { running, concurrency }) {
      const args = [epoch, running, concurrency];
      const queues = await redis.run<string[] | null>(scripts.beat, keys.registry, args);
      if (queues === null) return { alive: false, cancelled: [] };
      const cancelled = await Promise.all(queues.map((queue) => cancelledIn(queue, epoch)));
      return { alive: true, cancelled: cancelled.flat() };
    },
    close: () => redis.close(),
  };
}

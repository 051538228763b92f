/**
 * The job port on Redis 7 or newer, on Valkey, or on a cluster of either. What it promises less
 * than Postgres does is in docs/decisions/0008-redis.md. `connect.ts` is the only caller.
 */
import { MillraceError } from '../../core/errors.ts';
import type { JobStore } from '../../ports/jobs.ts';
import { createChanges } from './changes.ts';
import { openRedis } from './connection.ts';
import type { Context } from './context.ts';
import { createEnqueue } from './enqueue.ts';
import { createEpochs } from './epochs.ts';
import { createExchange } from './exchange.ts';
import { createKeys } from './keys.ts';
import { Lanes } from './lanes.ts';
import { createNotices } from './notices.ts';
import { createQueries } from './queries.ts';
import { createSchedules } from './schedules.ts';
import { createSettings } from './settings.ts';

export interface RedisOptions {
  /** redis:// or rediss://; of a cluster that of any node. */
  readonly url: string;
  /** What all keys begin with; 'millrace' by default. */
  readonly prefix?: string;
  /** Completed jobs that each queue keeps for readers, roughly; 10,000 by default. */
  readonly historyMax?: number;
}

export async function openRedisJobStore(options: RedisOptions): Promise<JobStore> {
  const { url, prefix = 'millrace', historyMax = 10_000 } = options;
  if (!(Number.isInteger(historyMax) && historyMax >= 0)) {
    throw new MillraceError('CONFIG_INVALID', `historyMax is ${historyMax}, not a whole number.`);
  }
  const keys = createKeys(prefix);
  const redis = await openRedis(url);
  const context: Context = { redis, keys, historyMax, lanes: new Lanes(redis, keys) };
  const epochs = createEpochs(context);
  const { register, retire, workers, recover } = epochs;
  const module = new URL(`./beater${import.meta.url.slice(-3)}`, import.meta.url).href;
  return {
    capabilities: { durability: 'server', sqlTransactions: false, history: historyMax > 0 },
    queries: createQueries(context),
    schedules: createSchedules(context),
    notices: createNotices(context),
    beater: { module, options: { url, prefix } },
    ...createSettings(context),
    ...{ register, retire, workers, recover },
    ...createChanges(context),
    exchange: createExchange(context, epochs),
    async readyLanes(queue) {
      const base = keys.queue(queue);
      const lanes = await redis.send<string[]>(base, ['ZRANGE', `${base}:ready`, '0', '9999']);
      return lanes.map(Number);
    },
    enqueue: createEnqueue(context),
    async begin() {
      throw new MillraceError('CAPABILITY_MISSING', 'Redis has no SQL transactions.', {
        fix: 'Keep queues of transactional jobs in Postgres.',
      });
    },
    ping: async () => void (await redis.send(null, ['PING'])),
    close: () => redis.close(),
  };
}

// biome-ignore-all assist/source/organizeImports: as the document has it
// #region document
import { WorkerHealthChecker } from 'millrace';
// #endregion
import type { JobQueue } from 'millrace';
import type { Setting } from './setting.ts';

interface Around extends Setting {
  readonly redis: { ping(): Promise<unknown> };
  readonly jobQueue: Pick<JobQueue, 'getLength'>;
}

export async function healthChecks({ connection, redis, jobQueue }: Around) {
  // #region document
  const workerHealthChecker = new WorkerHealthChecker({
    ...connection,
    checks: [
      {
        name: 'redis-connection',
        check: async () => {
          try {
            await redis.ping();
            return { status: 'healthy' };
          } catch (error) {
            // @ts-expect-error strict has useUnknownInCatchVariables; the document counts on less
            return { status: 'unhealthy', error: error.message };
          }
        },
      },
      {
        name: 'queue-health',
        check: async () => {
          const queueLength = await jobQueue.getLength('invoices');
          if (queueLength > 1000) {
            return { status: 'unhealthy', error: 'Queue too long' };
          }
          return { status: 'healthy' };
        },
      },
    ],
  });

  // Check worker health
  const health = await workerHealthChecker.checkHealth();
  // #endregion
  return { workerHealthChecker, health };
}

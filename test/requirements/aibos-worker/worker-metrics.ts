// #region document
import { WorkerMetrics } from 'millrace';
// #endregion
import type { Setting } from './setting.ts';

export async function workerMetricsOf({ connection }: Setting) {
  // #region document
  const workerMetrics = new WorkerMetrics({
    ...connection,
    metrics: [
      'jobs.processed',
      'jobs.failed',
      'jobs.retried',
      'processing.time',
      'queue.length',
      'worker.utilization',
    ],
  });

  // Get metrics
  const metrics = await workerMetrics.getMetrics();

  console.log('Jobs processed:', metrics.jobsProcessed);
  console.log('Jobs failed:', metrics.jobsFailed);
  console.log('Average processing time:', metrics.avgProcessingTime);
  console.log('Queue length:', metrics.queueLength);
  // #endregion
  return { workerMetrics, metrics };
}

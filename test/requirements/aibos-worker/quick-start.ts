// biome-ignore-all lint/correctness/noUnusedImports: as the document has it
// biome-ignore-all assist/source/organizeImports: as the document has it
// #region document
import { WorkerManager, JobQueue, WorkflowEngine } from 'millrace';
// #endregion
import type { Setting } from './setting.ts';

export async function quickStart({ connection }: Setting) {
  void WorkflowEngine; // imported above, as in the document
  // #region document
  // Initialize worker manager
  const workerManager = new WorkerManager({
    ...connection,
    concurrency: 5,
    retryAttempts: 3,
    retryDelay: 1000,
  });

  // Initialize job queue
  const jobQueue = new JobQueue({
    ...connection,
    queues: ['invoices', 'bills', 'payments', 'reports'],
  });

  // Start worker
  await workerManager.start();
  // #endregion
  return { workerManager, jobQueue };
}

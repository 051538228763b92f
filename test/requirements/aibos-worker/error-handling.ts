// biome-ignore-all lint/correctness/noUnusedVariables: as the document has it
// biome-ignore-all assist/source/organizeImports: as the document has it
// #region document
import { WorkerError, JobError, QueueError } from 'millrace';
// #endregion
import type { Job, WorkerManager } from 'millrace';

export async function errorHandling(workerManager: Pick<WorkerManager, 'processJob'>, job: Job) {
  // #region document
  try {
    // @ts-expect-error noUnusedLocals: as the document has it
    const result = await workerManager.processJob(job);
  } catch (error) {
    if (error instanceof JobError) {
      // Handle job errors
      console.error('Job processing failed:', error.message);
    } else if (error instanceof QueueError) {
      // Handle queue errors
      console.error('Queue operation failed:', error.message);
    } else if (error instanceof WorkerError) {
      // Handle worker errors
      console.error('Worker error:', error.message);
    }
  }
  // #endregion
}

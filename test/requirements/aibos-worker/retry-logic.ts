// #region document
import { RetryManager } from 'millrace';
// #endregion

export async function retryLogic<T>(processInvoice: (data: T) => Promise<unknown>, invoiceData: T) {
  // #region document
  const retryManager = new RetryManager({
    maxAttempts: 3,
    baseDelay: 1000,
    maxDelay: 10000,
    backoffMultiplier: 2,
    jitter: true,
  });

  // Retry job
  await retryManager.retry(
    async () => {
      return await processInvoice(invoiceData);
    },
    {
      jobId: 'job_001',
      attempts: 3,
    },
  );
  // #endregion
}

// #region document
import { JobQueue } from 'millrace';
// #endregion
import { InvoiceProcessor } from './job-definition.ts';
import type { Setting } from './setting.ts';

export async function jobQueueManagement({ connection }: Setting) {
  // #region document
  const jobQueue = new JobQueue({
    ...connection,
    queues: [
      {
        name: 'invoices',
        priority: 1,
        concurrency: 3,
      },
      {
        name: 'bills',
        priority: 2,
        concurrency: 2,
      },
      {
        name: 'payments',
        priority: 3,
        concurrency: 5,
      },
      {
        name: 'reports',
        priority: 4,
        concurrency: 1,
      },
    ],
  });

  // Add job to queue
  await jobQueue.add('invoices', {
    type: 'invoice.processing',
    data: {
      invoiceId: 'inv_001',
      tenantId: 'tenant_123',
      companyId: 'company_123',
    },
    priority: 1,
    delay: 0,
    attempts: 3,
  });

  // Process jobs
  await jobQueue.process('invoices', new InvoiceProcessor());
  // #endregion
  return { jobQueue };
}

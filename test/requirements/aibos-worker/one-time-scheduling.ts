// #region document
import { OneTimeScheduler } from 'millrace';
// #endregion
import type { Setting } from './setting.ts';

export async function oneTimeScheduling({ connection }: Setting) {
  // #region document
  const oneTimeScheduler = new OneTimeScheduler({
    ...connection,
  });

  // Schedule one-time task
  await oneTimeScheduler.schedule('invoice-reminder', {
    executeAt: new Date(Date.now() + 24 * 60 * 60 * 1000), // 24 hours from now
    job: {
      type: 'invoice.reminder',
      data: {
        invoiceId: 'inv_001',
        customerId: 'cust_123',
      },
    },
  });
  // #endregion
  return { oneTimeScheduler };
}

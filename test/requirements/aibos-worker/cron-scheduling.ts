// #region document
import { CronScheduler } from 'millrace';
// #endregion
import type { Setting } from './setting.ts';

export async function cronScheduling({ connection }: Setting) {
  // #region document
  const cronScheduler = new CronScheduler({
    ...connection,
    timezone: 'UTC',
  });

  // Schedule recurring task
  await cronScheduler.schedule('daily-reports', {
    cron: '0 2 * * *', // 2 AM daily
    job: {
      type: 'report.generation',
      data: {
        reportType: 'daily',
        tenantId: 'all',
      },
    },
  });

  // Schedule monthly task
  await cronScheduler.schedule('monthly-cleanup', {
    cron: '0 0 1 * *', // 1st of every month
    job: {
      type: 'data.cleanup',
      data: {
        retentionDays: 90,
      },
    },
  });

  // Start scheduler
  await cronScheduler.start();
  // #endregion
  return { cronScheduler };
}

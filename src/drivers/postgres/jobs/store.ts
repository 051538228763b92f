/** The job port of a database by itself, for processes that have to do with queues only. */
import type { JobStore } from '../../../ports/jobs.ts';
import { openPostgresStore, type PostgresOptions } from '../store.ts';

export async function openPostgresJobStore(options: PostgresOptions): Promise<JobStore> {
  const store = await openPostgresStore(options);
  return { ...store.jobs, close: () => store.close() };
}

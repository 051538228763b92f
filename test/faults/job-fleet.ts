/** Worker processes of the job faults, ready to work. */
import { Fleet, type FleetSetup } from './fleet.ts';
import type { JobWorkerOptions } from './job-worker.ts';

export type JobFleet = Fleet<JobWorkerOptions>;

const script = new URL('./job-worker.ts', import.meta.url);

export async function startJobFleet(
  count: number,
  options: Partial<JobWorkerOptions> & { readonly url: string; readonly directory: string },
  setup: FleetSetup = {},
): Promise<JobFleet> {
  const pace = { handlerMs: 20, heartbeatMs: 500, timeToLiveMs: 2_500 };
  const fleet: JobFleet = new Fleet({ ...pace, ...options }, { script, ...setup });
  for (let i = 0; i < count; i += 1) fleet.start();
  await Promise.all(fleet.workers.map(({ ready }) => ready));
  return fleet;
}

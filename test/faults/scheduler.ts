/**
 * A scheduler process of the fault runs, on the database of FAULT_OPTIONS, until it is killed or
 * told to stop. Says `ready`, and each error that it survived, on standard output.
 */
import { openPostgresJobStore } from '../../src/drivers/postgres/jobs/store.ts';
import { createSchedules } from '../../src/jobs/schedule/schedules.ts';

const { url } = JSON.parse(process.env.FAULT_OPTIONS ?? '{}') as { readonly url: string };
const store = await openPostgresJobStore({ url, migrate: false });
const schedules = createSchedules({
  schedules: store.schedules,
  onError: (error) => console.log(`survived ${(error as Error).message}`),
});
process.on('SIGTERM', () => {
  void schedules
    .stop()
    .then(() => store.close())
    .then(() => process.exit(0));
});
schedules.start();
console.log('ready');

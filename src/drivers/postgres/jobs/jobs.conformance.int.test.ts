/** The Postgres job store against the suite of its port. */
import { callerTransaction } from '../../../../test/support/caller-transaction.ts';
import { eachPostgres } from '../../../../test/support/database.ts';
import { testJobStore } from '../../../ports/jobs.conformance.ts';
import { openPostgresJobStore } from './store.ts';

eachPostgres('the job store', (server) => {
  testJobStore(server.name, async () => {
    const { url, drop } = await server.fresh();
    const transaction = callerTransaction(url);
    return { open: () => openPostgresJobStore({ url }), transaction, remove: drop };
  });
});

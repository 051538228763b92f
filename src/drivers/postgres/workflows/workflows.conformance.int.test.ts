/** The Postgres workflow store against the suite of its port. */
import { callerTransaction } from '../../../../test/support/caller-transaction.ts';
import { eachPostgres } from '../../../../test/support/database.ts';
import { testWorkflowStore } from '../../../ports/workflows.conformance.ts';
import { openPostgresStore } from '../store.ts';

eachPostgres('the workflow store', (server) => {
  testWorkflowStore(server.name, async () => {
    const { url, drop } = await server.fresh();
    const transaction = callerTransaction(url);
    return { open: () => openPostgresStore({ url }), transaction, remove: drop };
  });
});

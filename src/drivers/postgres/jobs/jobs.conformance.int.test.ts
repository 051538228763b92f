/** The Postgres job store against the suite of its port. */
import pg from 'pg';
import { eachPostgres } from '../../../../test/support/database.ts';
import { testJobStore } from '../../../ports/jobs.conformance.ts';
import type { CallerTransaction } from '../../../ports/jobs.fixtures.conformance.ts';
import { openPostgresJobStore } from './store.ts';

eachPostgres('the job store', (server) => {
  testJobStore(server.name, async () => {
    const { url, drop } = await server.fresh();
    const transaction = callerTransaction(url);
    return { open: () => openPostgresJobStore({ url }), transaction, remove: drop };
  });
});

/** As an application has one: a connection of its own, with its own role. */
function callerTransaction(url: string): CallerTransaction {
  return async (work) => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      await client.query('begin');
      const result = await work({
        query: async <Row>(text: string, values: readonly unknown[] = []) =>
          (await client.query(text, [...values])).rows as Row[],
      });
      await client.query('commit');
      return result;
    } finally {
      await client.end(); // without a commit that is a rollback
    }
  };
}

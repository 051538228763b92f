/** The Postgres store against the suite of its port. */
import { eachPostgres } from '../../../test/support/database.ts';
import { testStore } from '../../ports/store.conformance.ts';
import { openPostgresStore } from './store.ts';

eachPostgres('the store', (server) => {
  testStore(server.name, async () => {
    const { url, drop } = await server.fresh();
    return { open: () => openPostgresStore({ url }), remove: drop };
  });
});

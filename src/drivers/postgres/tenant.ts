/** The one way to read or write as a tenant: its role and its name hold for one transaction. */
import type pg from 'pg';
import type { Database } from './connection.ts';
import { sql } from './statements.ts';

/** Row-level security decides what `work` sees, not only its where clauses. */
export function asTenant<T>(
  database: Database,
  tenantId: string,
  work: (client: pg.ClientBase) => Promise<T>,
): Promise<T> {
  return database.transaction(async (client) => {
    await client.query(sql.enterTenant.text, [tenantId]);
    return work(client);
  });
}

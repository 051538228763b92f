/** A caller's own transaction, as an application has one: its connection and its role. */
import pg from 'pg';
import type { CallerTransaction } from '../../src/ports/jobs.fixtures.conformance.ts';

export function callerTransaction(url: string): CallerTransaction {
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

/**
 * Breaks the promise on purpose, to prove that the tests would notice: statements of a pool of its
 * own, each committed at once instead of with the cursor.
 */
import type { SqlTransaction } from 'millrace';
import pg from 'pg';

export function outsideOf(url: string): SqlTransaction {
  const pool = new pg.Pool({ connectionString: url });
  pool.on('error', () => {});
  return {
    async query<Row>(text: string, values: readonly unknown[] = []) {
      return (await pool.query(text, [...values])).rows as Row[];
    },
  };
}

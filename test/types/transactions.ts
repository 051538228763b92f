/** Which transactions of other libraries can be given as `tx`; checked by `tsc`, never run. */
import type { NodePgDatabase } from 'drizzle-orm/node-postgres';
import type { PgTransaction } from 'drizzle-orm/pg-core';
import type { PostgresJsQueryResultHKT } from 'drizzle-orm/postgres-js';
import type { Knex } from 'knex';
import type { ControlledTransaction, Kysely, Transaction } from 'kysely';
import type pg from 'pg';
import type { SqlTransaction } from '../../src/core/sql-transaction.ts';
import { asSqlTransaction } from '../../src/jobs/transaction.ts';

interface Schema {
  person: { id: number };
}
type Client = <T = unknown>(query: string, ...values: unknown[]) => Promise<T>;

export function given(
  sql: SqlTransaction,
  client: pg.Client,
  pooled: pg.PoolClient,
  kysely: Transaction<Schema>,
  controlled: ControlledTransaction<Schema>,
  drizzle: Parameters<Parameters<NodePgDatabase['transaction']>[0]>[0],
  postgresJs: PgTransaction<PostgresJsQueryResultHKT>,
  knex: Knex.Transaction,
  prisma: { readonly $queryRawUnsafe: Client },
): void {
  for (const tx of [sql, client, pooled, kysely, controlled, drizzle, postgresJs, knex, prisma]) {
    asSqlTransaction(tx);
  }
}

export function refused(kysely: Kysely<Schema>, knex: Knex, drizzle: NodePgDatabase): void {
  // @ts-expect-error not in a transaction
  asSqlTransaction(kysely);
  // @ts-expect-error not in a transaction
  asSqlTransaction(knex);
  // @ts-expect-error not in a transaction
  asSqlTransaction(drizzle);
  // @ts-expect-error no connection at all
  asSqlTransaction('postgres://localhost');
}

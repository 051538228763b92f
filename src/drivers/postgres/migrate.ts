/**
 * Forward-only migrations: each runs once, in order of names, in one transaction under a lock, as
 * the connecting user. What ran is remembered with a hash, so that an edited migration is noticed.
 */
import { createHash } from 'node:crypto';
import type pg from 'pg';
import { MillraceError } from '../../core/errors.ts';
import type { Migration } from '../../ports/store.ts';
import { missingRights } from './connect-failure.ts';
import type { Database } from './connection.ts';
import { patiently } from './patiently.ts';

const bookkeeping = `
create schema if not exists millrace_migrations;
create table if not exists millrace_migrations.applied (
  namespace text not null,
  name text not null,
  hash text not null,
  applied_at timestamptz not null default clock_timestamp(),
  primary key (namespace, name)
);
alter table millrace_migrations.applied enable row level security;
alter table millrace_migrations.applied force row level security;
do $$ begin
  create policy migrator on millrace_migrations.applied to current_user using (true);
exception when duplicate_object then null; end $$;`;

/** Applies what is missing and answers with the names that ran. MIGRATION_FAILED names the file. */
export async function migrate(
  database: Database,
  namespace: string,
  migrations: readonly Migration[],
): Promise<readonly string[]> {
  // Of a database at work: others may keep a lock, or wait for one of ours.
  const once = () => migrateOnce(database, namespace, migrations);
  return patiently(once, { triesMax: 8, pauseMs: 500 });
}

function migrateOnce(
  database: Database,
  namespace: string,
  migrations: readonly Migration[],
): Promise<readonly string[]> {
  return database.transaction(async (client) => {
    await client.query('select pg_advisory_xact_lock(7304, 0)');
    // Whoever waits for a table's lock holds up all who come after: not for long.
    await client.query("select set_config('lock_timeout', '5s', true)");
    await client.query(bookkeeping);
    const known = await appliedHashes(client, namespace);
    const ran: string[] = [];
    for (const migration of [...migrations].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const hash = createHash('sha256').update(migration.sql).digest('hex');
      const before = known.get(migration.name);
      if (before === hash) continue;
      if (before !== undefined) throw edited(namespace, migration.name);
      await apply(client, namespace, migration, hash);
      ran.push(migration.name);
    }
    return ran;
  });
}

async function appliedHashes(
  client: pg.ClientBase,
  namespace: string,
): Promise<ReadonlyMap<string, string>> {
  const { rows } = await client.query<{ name: string; hash: string }>(
    'select name, hash from millrace_migrations.applied where namespace = $1',
    [namespace],
  );
  return new Map(rows.map(({ name, hash }) => [name, hash]));
}

async function apply(
  client: pg.ClientBase,
  namespace: string,
  { name, sql }: Migration,
  hash: string,
): Promise<void> {
  try {
    await client.query(sql);
    await client.query(
      'insert into millrace_migrations.applied (namespace, name, hash) values ($1, $2, $3)',
      [namespace, name, hash],
    );
  } catch (error) {
    const denied = (error as { code?: string }).code === '42501';
    throw new MillraceError(
      'MIGRATION_FAILED',
      `${namespace}/${name}: ${(error as Error).message}`,
      {
        cause: error,
        ...(denied && { fix: missingRights }),
      },
    );
  }
}

function edited(namespace: string, name: string): MillraceError {
  return new MillraceError(
    'MIGRATION_FAILED',
    `${namespace}/${name} was changed after it ran on this database.`,
    { fix: 'Restore the file and put the change into a new migration with a higher number.' },
  );
}

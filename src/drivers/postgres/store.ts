/**
 * The store port on Postgres 15 to 18. Opens the pool in the worker role, after migrations ran as
 * the connecting user; `connect.ts` is the only caller.
 */
import { MillraceError } from '../../core/errors.ts';
import type { Migration, SqlTransaction, Store } from '../../ports/store.ts';
import { refused } from './connect-failure.ts';
import { type Database, openDatabase, translate } from './connection.ts';
import { createFailures } from './failures.ts';
import { createHistory } from './history.ts';
import { createJobStore } from './jobs/assemble.ts';
import { createLog } from './log.ts';
import { migrate } from './migrate.ts';
import { migrations } from './migrations.ts';
import { createNotices } from './notices.ts';
import { createRetention } from './retention.ts';
import { createStaging } from './staging.ts';
import { createStreams } from './streams.ts';
import { asTenant } from './tenant.ts';
import { createWorkflowStore } from './workflows/assemble.ts';

export interface PostgresOptions {
  readonly url: string;
  /** Partitions of a new database; an existing one keeps its number. 8 by default. */
  readonly partitions?: number;
  /** Connections of this process at most; 12 by default. */
  readonly connectionsMax?: number;
  /** False when another process migrates; then the schema must be there. */
  readonly migrate?: boolean;
}

const partitionsDefault = 8;
const partitionsMax = 1024;

export function openPostgresStore(options: PostgresOptions): Promise<Store> {
  return refused(open(options));
}

async function open(options: PostgresOptions): Promise<Store> {
  const owner = openDatabase({ url: options.url, connectionsMax: 2, role: null });
  try {
    await checkServer(owner);
    if (options.migrate !== false) await migrate(owner, 'millrace', migrations);
  } finally {
    await owner.close();
  }
  const { url, connectionsMax } = options;
  const database = openDatabase({
    url,
    role: 'millrace_worker',
    ...(connectionsMax && { connectionsMax }),
  });
  try {
    const partitions = await settlePartitions(database, options.partitions);
    return assemble(database, { partitions, logId: await readLogId(database) }, options);
  } catch (error) {
    await database.close();
    throw error;
  }
}

interface LogIdentity {
  readonly partitions: number;
  readonly logId: string;
}

function assemble(
  database: Database,
  { partitions, logId }: LogIdentity,
  options: PostgresOptions,
): Store {
  const notices = createNotices(database);
  return {
    capabilities: { sqlTransactions: true, notices: true },
    partitions,
    logId,
    log: createLog(database, partitions),
    retention: createRetention(database, partitions),
    staging: createStaging(database),
    streams: createStreams(database, partitions),
    failures: createFailures(database),
    history: createHistory(database),
    notices,
    jobs: createJobStore(database, { url: options.url, close: async () => {} }),
    workflows: createWorkflowStore(database, notices),
    migrate: (namespace, steps) => migrateAs(options.url, namespace, steps),
    withTenant: (tenantId, work) =>
      asTenant(database, tenantId, (client) => {
        const tx: SqlTransaction = {
          async query<Row>(text: string, values: readonly unknown[] = []) {
            return (await client.query(text, [...values])).rows as Row[];
          },
        };
        return work(tx);
      }),
    ping: async () => void (await database.rows({ text: 'select 1' })),
    close: () => database.close(),
  };
}

async function migrateAs(url: string, namespace: string, steps: readonly Migration[]) {
  const owner = openDatabase({ url, connectionsMax: 1, role: null });
  try {
    return await migrate(owner, namespace, steps);
  } finally {
    await owner.close();
  }
}

async function checkServer(database: Database): Promise<void> {
  const [row] = await database.records<{ version: string; recovery: boolean }>({
    text: `select current_setting('server_version_num') as version,
      pg_is_in_recovery() as recovery`,
  });
  if (Number(row?.version) < 150_000) {
    throw new MillraceError(
      'STORE_MISCONFIGURED',
      `This server is Postgres ${Math.floor(Number(row?.version) / 10_000)}; 15 is the oldest.`,
      { fix: 'Upgrade the server, or leave the URL out to use the embedded Postgres 18.' },
    );
  }
  if (row?.recovery) {
    throw new MillraceError('STORE_MISCONFIGURED', 'This server is a read-only replica.', {
      fix: 'Connect to the primary.',
    });
  }
}

/** The number of partitions decides where a key lives, so the first process fixes it for good. */
async function settlePartitions(database: Database, wanted?: number): Promise<number> {
  if (
    wanted !== undefined &&
    !(Number.isInteger(wanted) && wanted > 0 && wanted <= partitionsMax)
  ) {
    throw new MillraceError(
      'CONFIG_INVALID',
      `partitions is ${wanted}, not a whole number from 1 to ${partitionsMax}.`,
    );
  }
  try {
    await database.rows(
      {
        text: `insert into millrace.setting (name, value) values ('partitions', $1)
        on conflict do nothing`,
      },
      [String(wanted ?? partitionsDefault)],
    );
    const [row] = await database.rows<[string]>({
      text: `select value from millrace.setting where name = 'partitions'`,
    });
    return Number(row?.[0]);
  } catch (error) {
    if ((error as { code?: string }).code !== '42P01') throw translate(error);
    throw new MillraceError('STORE_MISCONFIGURED', 'The schema millrace is not there.', {
      cause: error,
      fix: 'Connect once with migrate: true.',
    });
  }
}

/** Made by the migration 0008, once for each database. */
async function readLogId(database: Database): Promise<string> {
  const [row] = await database.rows<[string]>({
    text: `select value #>> '{}' from millrace.setting where name = 'log_id'`,
  });
  if (row !== undefined) return row[0];
  throw new MillraceError('STORE_MISCONFIGURED', 'The database has no log id.', {
    fix: 'Connect once with migrate: true: this schema is older than the program.',
  });
}

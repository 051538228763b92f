/**
 * From a URL to a running platform; the only file that names every driver, each loaded when asked
 * for. Without a URL the embedded Postgres is started in a local directory.
 */
import { MillraceError } from './core/errors.ts';
import { Millrace, type MillraceOptions } from './millrace.ts';

export interface ConnectOptions extends MillraceOptions {
  /** Directory of the embedded Postgres; `.millrace/postgres` by default. */
  readonly directory?: string;
  /** Partitions of a new database; 8 by default, and fixed from then on. */
  readonly partitions?: number;
  readonly connectionsMax?: number;
  /** False where another process migrates. */
  readonly migrate?: boolean;
}

/**
 * Connects to Postgres 15 or newer, or starts the embedded one.
 * @example
 * const mill = await connect();                       // embedded, in .millrace/postgres
 * const mill = await connect('postgres://user@host/db');
 * @throws MillraceError STORE_UNAVAILABLE, STORE_MISCONFIGURED, MIGRATION_FAILED, EMBEDDED_…
 */
export async function connect(url?: string, options: ConnectOptions = {}): Promise<Millrace> {
  if (url === undefined || url === '') return connectEmbedded(options);
  if (!/^postgres(ql)?:\/\//.test(url)) {
    throw new MillraceError('CONFIG_INVALID', `'${url}' is not a postgres:// URL.`, {
      fix: 'Give a URL like postgres://user:password@host:5432/database, or none at all.',
    });
  }
  const { openPostgresStore } = await import('./drivers/postgres/store.ts');
  return new Millrace(await openPostgresStore({ url, ...options }), options);
}

async function connectEmbedded(options: ConnectOptions): Promise<Millrace> {
  const { startEmbeddedPostgres } = await import('./drivers/postgres/embedded/launcher.ts');
  const { openPostgresStore } = await import('./drivers/postgres/store.ts');
  const directory = options.directory ?? '.millrace/postgres';
  const postgres = await startEmbeddedPostgres({ directory });
  try {
    const store = await openPostgresStore({ url: postgres.url, ...options });
    return new Millrace(store, options, () => postgres.stop());
  } catch (error) {
    await postgres.stop();
    throw error;
  }
}

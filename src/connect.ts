/**
 * From a URL to a running platform; the only file that names every driver, each loaded when asked
 * for. Without a URL the embedded Postgres is started in a local directory.
 */
import { MillraceError } from './core/errors.ts';
import { Jobs } from './jobs/jobs.ts';
import type { JobsOptions } from './jobs/options.ts';
import { Millrace, type MillraceOptions } from './millrace.ts';
import type { Store } from './ports/store.ts';
import { type TelemetryOptions, telemetrySettings } from './telemetry/settings.ts';

export interface ConnectOptions extends MillraceOptions {
  /** Directory of the embedded Postgres; `.millrace/postgres` by default. */
  readonly directory?: string;
  /** Partitions of a new database; 8 by default, and fixed from then on. */
  readonly partitions?: number;
  readonly connectionsMax?: number;
  /** False where another process migrates. */
  readonly migrate?: boolean;
  /** Off by default, and as the environment says (TELEMETRY_ENABLED, OTEL_…). */
  readonly telemetry?: TelemetryOptions;
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
  return assemble(await openPostgresStore({ url, ...options }), options);
}

async function connectEmbedded(options: ConnectOptions): Promise<Millrace> {
  const { startEmbeddedPostgres } = await import('./drivers/postgres/embedded/launcher.ts');
  const { openPostgresStore } = await import('./drivers/postgres/store.ts');
  const directory = options.directory ?? '.millrace/postgres';
  const postgres = await startEmbeddedPostgres({ directory });
  try {
    const store = await openPostgresStore({ url: postgres.url, ...options });
    return await assemble(store, options, () => postgres.stop());
  } catch (error) {
    await postgres.stop();
    throw error;
  }
}

async function assemble(
  store: Store,
  options: ConnectOptions,
  onClose?: () => Promise<void>,
): Promise<Millrace> {
  const settings = telemetrySettings(options.telemetry);
  const mill = new Millrace(store, options, onClose);
  if (settings.enabled) {
    const { attachTelemetry } = await import('./telemetry/attach.ts');
    mill.telemetry = await attachTelemetry(mill, settings);
  }
  return mill;
}

export interface ConnectJobsOptions extends JobsOptions {
  /** Directory of the embedded Postgres; `.millrace/postgres` by default. */
  readonly directory?: string;
  readonly connectionsMax?: number;
  /** False where another process migrates. */
  readonly migrate?: boolean;
  /** What keys in Redis begin with; `millrace` by default. */
  readonly prefix?: string;
}

/**
 * Queues by themselves: on Postgres 15 or newer, on Redis 7 or newer, or on the embedded Postgres.
 * @example
 * const jobs = await connectJobs('redis://localhost:6379');
 * @throws MillraceError as `connect`
 */
export async function connectJobs(url?: string, options: ConnectJobsOptions = {}): Promise<Jobs> {
  if (url !== undefined && /^rediss?:\/\//.test(url)) {
    const { openRedisJobStore } = await import('./drivers/redis/store.ts');
    return new Jobs(await openRedisJobStore({ url, ...options }), options);
  }
  const { openPostgresJobStore } = await import('./drivers/postgres/jobs/store.ts');
  if (url === undefined || url === '') {
    const { startEmbeddedPostgres } = await import('./drivers/postgres/embedded/launcher.ts');
    const directory = options.directory ?? '.millrace/postgres';
    const postgres = await startEmbeddedPostgres({ directory });
    try {
      const store = await openPostgresJobStore({ url: postgres.url, ...options });
      return new Jobs(store, options, () => postgres.stop());
    } catch (error) {
      await postgres.stop();
      throw error;
    }
  }
  if (!/^postgres(ql)?:\/\//.test(url)) {
    throw new MillraceError('CONFIG_INVALID', `'${url}' is no postgres:// or redis:// URL.`, {
      fix: 'Give a URL like postgres://user:password@host/db or redis://host:6379, or none.',
    });
  }
  return new Jobs(await openPostgresJobStore({ url, ...options }), options);
}

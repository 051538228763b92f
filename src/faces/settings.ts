/**
 * What a face is made with: its options, and for what they leave out the environment variables,
 * and for what those leave out the defaults. Checked when the face is made; nothing connects yet.
 */
import { MillraceError } from '../core/errors.ts';
import {
  checkNumber,
  checkPrefix,
  checkRedisUrl,
  type NumberVariable,
  readEnvironment,
} from './environment.ts';

export interface RedisOptions {
  /** redis:// or rediss://; REDIS_URL by default, else redis://localhost:6379. */
  readonly url?: string | undefined;
  /** REDIS_DB by default, else what the URL says, else 0. */
  readonly db?: number | undefined;
  /** REDIS_MAX_CONNECTIONS by default, else 10. */
  readonly maxConnections?: number | undefined;
}

export interface PostgresOptions {
  /** postgres://; MILLRACE_URL by default, and without it the embedded Postgres. */
  readonly url?: string | undefined;
  readonly maxConnections?: number | undefined;
  /** Directory of the embedded Postgres. */
  readonly directory?: string | undefined;
}

export interface QueueDefaults {
  /** Keeps apart what shares a server; QUEUE_PREFIX by default. */
  readonly prefix?: string | undefined;
  /**
   * Milliseconds that finished jobs are kept, all jobs of the store; QUEUE_DEFAULT_TTL by default,
   * else seven days.
   */
  readonly defaultTtl?: number | undefined;
  /** Jobs that wait in one queue at most; QUEUE_MAX_LENGTH by default, else no limit. */
  readonly maxLength?: number | undefined;
}

/**
 * Where the jobs are: `redis`, `postgres`, or neither: then REDIS_URL, MILLRACE_URL and the
 * embedded Postgres in `.millrace` are taken, the first that is there.
 */
export interface PlaceOptions {
  readonly redis?: RedisOptions | undefined;
  readonly postgres?: PostgresOptions | undefined;
  readonly queue?: QueueDefaults | undefined;
}

export interface WorkOptions {
  /** Jobs at a time; WORKER_CONCURRENCY by default, else 5. */
  readonly concurrency?: number | undefined;
  /** Tries of a job in all; WORKER_RETRY_ATTEMPTS by default, else 3. 0 and 1: no second try. */
  readonly retryAttempts?: number | undefined;
  /** Milliseconds between tries; WORKER_RETRY_DELAY by default, else 1,000. */
  readonly retryDelay?: number | undefined;
  /** Milliseconds one try may take, 0 for no limit; WORKER_TIMEOUT by default, else 5 minutes. */
  readonly timeout?: number | undefined;
}

export interface MonitoringOptions {
  /** MONITORING_ENABLED by default, else false. */
  readonly enabled?: boolean | undefined;
  /** Milliseconds; METRICS_INTERVAL by default, else a minute. */
  readonly metricsInterval?: number | undefined;
  /** Milliseconds; HEALTH_CHECK_INTERVAL by default, else 30 s. */
  readonly healthCheckInterval?: number | undefined;
}

/** A store, and how it is kept. */
export interface Place {
  readonly kind: 'redis' | 'postgres' | 'embedded';
  /** Empty for the embedded Postgres. */
  readonly url: string;
  readonly directory: string;
  /** Null for the driver's own. */
  readonly maxConnections: number | null;
  readonly prefix: string | null;
  /** Null for the engine's own. */
  readonly keepMs: number | null;
}

export interface WorkSettings {
  readonly concurrency: number;
  readonly retryAttempts: number;
  readonly retryDelay: number;
  readonly timeout: number;
}

export interface MonitoringSettings {
  readonly enabled: boolean;
  readonly metricsInterval: number;
  readonly healthCheckInterval: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws MillraceError CONFIG_INVALID naming the option or the variable. */
export function readPlace(options: PlaceOptions, env: Environment = process.env): Place {
  const found = readEnvironment(env);
  const { redis, postgres, queue = {} } = options;
  if (redis !== undefined && postgres !== undefined) {
    throw new MillraceError('CONFIG_INVALID', 'Both redis and postgres are given.', {
      fix: 'Give the one that keeps the jobs.',
    });
  }
  const { prefix = found.queue.prefix, defaultTtl = found.queue.defaultTtl } = queue;
  const common = {
    directory: postgres?.directory ?? join(env.MILLRACE_DATA || '.millrace'),
    prefix: prefix === null ? null : checkPrefix(prefix, 'queue.prefix'),
    keepMs:
      defaultTtl === null ? null : checkNumber(defaultTtl, 'QUEUE_DEFAULT_TTL', 'queue.defaultTtl'),
  };
  const connections = (given: number | undefined, fallback: number | null) =>
    given === undefined ? fallback : checkNumber(given, 'REDIS_MAX_CONNECTIONS', 'maxConnections');
  if (redis !== undefined || (postgres === undefined && found.redis.url !== null)) {
    const url = redisUrl(redis ?? {}, found.redis);
    const maxConnections = connections(redis?.maxConnections, found.redis.maxConnections);
    return { ...common, kind: 'redis', url, maxConnections };
  }
  const elsewhere = postgres?.directory === undefined ? env.MILLRACE_URL : '';
  const url = postgres?.url || elsewhere || '';
  return {
    ...common,
    kind: url === '' ? 'embedded' : 'postgres',
    url,
    maxConnections: connections(postgres?.maxConnections, null),
  };
}

function join(data: string): string {
  return `${data.replace(/\/+$/, '')}/postgres`;
}

function redisUrl(
  given: RedisOptions,
  found: { readonly url: string | null; readonly db: number | null },
): string {
  const url = given.url
    ? checkRedisUrl(given.url, 'redis.url')
    : (found.url ?? 'redis://localhost:6379');
  const db = given.db === undefined ? found.db : checkNumber(given.db, 'REDIS_DB', 'redis.db');
  if (db === null) return url;
  const withDb = new URL(url);
  withDb.pathname = `/${db}`;
  return withDb.href;
}

/** @throws MillraceError CONFIG_INVALID naming the option or the variable. */
export function readWork(options: WorkOptions, env: Environment = process.env): WorkSettings {
  const found = readEnvironment(env);
  const read = (name: keyof WorkSettings, rule: NumberVariable) =>
    options[name] === undefined ? found[name] : checkNumber(options[name], rule, name);
  return {
    concurrency: read('concurrency', 'WORKER_CONCURRENCY'),
    retryAttempts: read('retryAttempts', 'WORKER_RETRY_ATTEMPTS'),
    retryDelay: read('retryDelay', 'WORKER_RETRY_DELAY'),
    timeout: read('timeout', 'WORKER_TIMEOUT'),
  };
}

/** Null when nobody sets one: a queue keeps the limit it has. */
export function readMaxLength(
  options: PlaceOptions,
  env: Environment = process.env,
): number | null {
  const given = options.queue?.maxLength;
  if (given === undefined) return readEnvironment(env).queue.maxLength;
  return checkNumber(given, 'QUEUE_MAX_LENGTH', 'queue.maxLength');
}

export function readMonitoring(
  options: MonitoringOptions = {},
  env: Environment = process.env,
): MonitoringSettings {
  const { enabled, metricsInterval, healthCheckInterval } = readEnvironment(env).monitoring;
  return {
    enabled: options.enabled ?? enabled,
    metricsInterval: checkNumber(
      options.metricsInterval ?? metricsInterval,
      'METRICS_INTERVAL',
      'monitoring.metricsInterval',
    ),
    healthCheckInterval: checkNumber(
      options.healthCheckInterval ?? healthCheckInterval,
      'HEALTH_CHECK_INTERVAL',
      'monitoring.healthCheckInterval',
    ),
  };
}

/**
 * The environment variables of the worker service, read and checked in one place. An empty one
 * counts as absent, as it does in `process.env.X || 'default'`; a wrong one stops the process at
 * its start with the name, what was found and what is allowed.
 */
import { MillraceError } from '../core/errors.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const weekMs = 7 * 86_400_000;
/** Timers of longer than 24.8 days fire at once. */
const timerMsMax = 2_147_483_647;
const int4Max = 2_147_483_647;

/** Variable → default (null: none), lowest and highest value. */
const wholeNumbers = {
  WORKER_CONCURRENCY: [5, 1, 10_000],
  WORKER_RETRY_ATTEMPTS: [3, 0, 1_000],
  WORKER_RETRY_DELAY: [1_000, 0, weekMs],
  WORKER_TIMEOUT: [300_000, 0, timerMsMax],
  REDIS_DB: [null, 0, 1_000_000],
  // Commands, notices and the heartbeat have one each; no more are needed.
  REDIS_MAX_CONNECTIONS: [10, 3, 1_000],
  QUEUE_DEFAULT_TTL: [null, 1_000, Number.MAX_SAFE_INTEGER],
  QUEUE_MAX_LENGTH: [null, 1, int4Max],
  METRICS_INTERVAL: [60_000, 100, timerMsMax],
  HEALTH_CHECK_INTERVAL: [30_000, 100, timerMsMax],
} as const;
export type NumberVariable = keyof typeof wholeNumbers;

export interface WorkerEnvironment {
  readonly concurrency: number;
  readonly retryAttempts: number;
  readonly retryDelay: number;
  readonly timeout: number;
  readonly redis: {
    readonly url: string | null;
    readonly db: number | null;
    readonly maxConnections: number;
  };
  readonly queue: {
    readonly prefix: string | null;
    /** Null: not set. */
    readonly defaultTtl: number | null;
    readonly maxLength: number | null;
  };
  readonly monitoring: {
    readonly enabled: boolean;
    readonly metricsInterval: number;
    readonly healthCheckInterval: number;
  };
}

/** @throws MillraceError CONFIG_INVALID naming the variable. */
export function readEnvironment(env: Environment = process.env): WorkerEnvironment {
  const number = (name: NumberVariable) => readNumber(env, name) as number;
  return {
    concurrency: number('WORKER_CONCURRENCY'),
    retryAttempts: number('WORKER_RETRY_ATTEMPTS'),
    retryDelay: number('WORKER_RETRY_DELAY'),
    timeout: number('WORKER_TIMEOUT'),
    redis: {
      url: readRedisUrl(env),
      db: readNumber(env, 'REDIS_DB'),
      maxConnections: number('REDIS_MAX_CONNECTIONS'),
    },
    queue: {
      prefix: readPrefix(env),
      defaultTtl: readNumber(env, 'QUEUE_DEFAULT_TTL'),
      maxLength: readNumber(env, 'QUEUE_MAX_LENGTH'),
    },
    monitoring: {
      enabled: readSwitch(env, 'MONITORING_ENABLED'),
      metricsInterval: number('METRICS_INTERVAL'),
      healthCheckInterval: number('HEALTH_CHECK_INTERVAL'),
    },
  };
}

function readNumber(env: Environment, name: NumberVariable): number | null {
  const text = env[name]?.trim() ?? '';
  if (text === '') return wholeNumbers[name][0];
  return checkNumber(/^[+-]?\d+$/.test(text) ? Number(text) : text, name, name);
}

/**
 * The same rule for an option and for its variable.
 * @param path how messages call the value.
 */
export function checkNumber(value: unknown, rule: NumberVariable, path: string): number {
  const [, min, max] = wholeNumbers[rule];
  if (Number.isInteger(value) && Number(value) >= min && Number(value) <= max) {
    return value as number;
  }
  const found = typeof value === 'string' ? `'${value}'` : String(value);
  throw invalid(path, `${path} is ${found}, not a whole number from ${min} to ${max}.`);
}

function readRedisUrl(env: Environment): string | null {
  const text = env.REDIS_URL?.trim() ?? '';
  return text === '' ? null : checkRedisUrl(text, 'REDIS_URL');
}

/** A URL may hold a password: it is never repeated in a message. */
export function checkRedisUrl(value: string, path: string): string {
  if (/^rediss?:\/\/./.test(value) && URL.canParse(value)) return value;
  throw invalid(
    path,
    `${path} is not a redis:// or rediss:// URL.`,
    'Give a URL like redis://user:password@localhost:6379.',
  );
}

const prefixPattern = /^[A-Za-z][A-Za-z0-9_.:/-]{0,63}$/;

function readPrefix(env: Environment): string | null {
  const text = env.QUEUE_PREFIX?.trim() ?? '';
  return text === '' ? null : checkPrefix(text, 'QUEUE_PREFIX');
}

export function checkPrefix(value: unknown, path: string): string {
  if (typeof value === 'string' && prefixPattern.test(value)) return value;
  throw invalid(
    path,
    `${path} is '${String(value)}', which cannot begin the names of queues.`,
    'Use 1 to 64 letters, digits, _ . : / or -, beginning with a letter, as in aibos:worker.',
  );
}

function readSwitch(env: Environment, name: string): boolean {
  const text = env[name]?.trim().toLowerCase() ?? '';
  if (text === 'true' || text === '1') return true;
  if (text === 'false' || text === '0' || text === '') return false;
  throw invalid(name, `${name} is '${env[name]}', not true or false.`);
}

function invalid(path: string, message: string, fix?: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', message, { fix, details: { path } });
}

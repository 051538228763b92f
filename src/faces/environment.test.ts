/** Environment variables, options before them, defaults after them; each checked by name. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MillraceError } from '../core/errors.ts';
import { readEnvironment } from './environment.ts';
import { readMaxLength, readMonitoring, readPlace, readWork } from './settings.ts';

const documented = {
  WORKER_CONCURRENCY: '6',
  WORKER_RETRY_ATTEMPTS: '4',
  WORKER_RETRY_DELAY: '1500',
  WORKER_TIMEOUT: '60000',
  REDIS_URL: 'redis://localhost:6379',
  REDIS_DB: '2',
  REDIS_MAX_CONNECTIONS: '11',
  QUEUE_PREFIX: 'aibos:worker',
  QUEUE_DEFAULT_TTL: '7200000',
  QUEUE_MAX_LENGTH: '500',
  MONITORING_ENABLED: 'true',
  METRICS_INTERVAL: '10000',
  HEALTH_CHECK_INTERVAL: '5000',
};

function pathOf(act: () => unknown): unknown {
  try {
    act();
    return null;
  } catch (error) {
    return (error as MillraceError).details?.path;
  }
}

describe('the environment', () => {
  it('is read from every variable', () => {
    assert.deepEqual(readEnvironment(documented), {
      concurrency: 6,
      retryAttempts: 4,
      retryDelay: 1500,
      timeout: 60_000,
      redis: { url: 'redis://localhost:6379', db: 2, maxConnections: 11 },
      queue: { prefix: 'aibos:worker', defaultTtl: 7_200_000, maxLength: 500 },
      monitoring: { enabled: true, metricsInterval: 10_000, healthCheckInterval: 5_000 },
    });
  });

  it('has defaults, for empty variables as well', () => {
    const empty = Object.fromEntries(Object.keys(documented).map((name) => [name, ' ']));
    for (const env of [{}, empty]) {
      assert.deepEqual(readEnvironment(env), {
        concurrency: 5,
        retryAttempts: 3,
        retryDelay: 1000,
        timeout: 300_000,
        redis: { url: null, db: null, maxConnections: 10 },
        queue: { prefix: null, defaultTtl: null, maxLength: null },
        monitoring: { enabled: false, metricsInterval: 60_000, healthCheckInterval: 30_000 },
      });
    }
  });

  it('names the variable that is wrong, what was found and what is allowed', () => {
    const wrong = {
      WORKER_CONCURRENCY: ['0', '2.5', 'many', '1e3'],
      WORKER_RETRY_ATTEMPTS: ['-1'],
      WORKER_TIMEOUT: ['99999999999'],
      REDIS_URL: ['localhost:6379', 'http://x', 'redis://'],
      REDIS_DB: ['two'],
      QUEUE_PREFIX: ['9lives', 'a b'],
      QUEUE_DEFAULT_TTL: ['5'],
      MONITORING_ENABLED: ['maybe'],
      METRICS_INTERVAL: ['0'],
    };
    for (const [name, values] of Object.entries(wrong)) {
      for (const value of values) {
        assert.equal(
          pathOf(() => readEnvironment({ [name]: value })),
          name,
          `${name}=${value}`,
        );
      }
    }
    assert.throws(() => readEnvironment({ WORKER_CONCURRENCY: 'many' }), {
      code: 'CONFIG_INVALID',
      message: "WORKER_CONCURRENCY is 'many', not a whole number from 1 to 10000.",
    });
    assert.doesNotThrow(() => readEnvironment({ REDIS_URL: 'rediss://u:p@host:1/2' }));
    assert.throws(
      () => readEnvironment({ REDIS_URL: 'http://user:secret@host' }),
      (error: Error) => !error.message.includes('secret'),
    );
  });
});

describe('options', () => {
  it('win over variables, which win over defaults', () => {
    const env = { WORKER_CONCURRENCY: '6', WORKER_TIMEOUT: '7000' };
    assert.deepEqual(readWork({ concurrency: 9, retryDelay: undefined }, env), {
      concurrency: 9,
      retryAttempts: 3,
      retryDelay: 1000,
      timeout: 7000,
    });
    assert.equal(readMaxLength({ queue: { maxLength: 7 } }, documented), 7);
    assert.equal(readMaxLength({}, documented), 500);
    assert.deepEqual(readMonitoring({ enabled: false }, documented), {
      enabled: false,
      metricsInterval: 10_000,
      healthCheckInterval: 5_000,
    });
    assert.equal(
      pathOf(() => readWork({ concurrency: 1.5 }, {})),
      'concurrency',
    );
    assert.equal(
      pathOf(() => readMaxLength({ queue: { maxLength: 0 } }, {})),
      'queue.maxLength',
    );
  });

  it('say where the jobs are', () => {
    const place = (options: Parameters<typeof readPlace>[0], env = {}) => {
      const { kind, url } = readPlace(options, env);
      return `${kind} ${url}`;
    };
    const redis = { REDIS_URL: 'redis://r:1', MILLRACE_URL: 'postgres://p/d' };
    assert.equal(place({}), 'embedded ');
    assert.equal(place({}, { MILLRACE_URL: 'postgres://p/d' }), 'postgres postgres://p/d');
    assert.equal(place({}, redis), 'redis redis://r:1');
    assert.equal(place({ postgres: {} }, redis), 'postgres postgres://p/d');
    assert.equal(place({ postgres: { url: 'postgres://q/d' } }, redis), 'postgres postgres://q/d');
    assert.equal(place({ postgres: { directory: '/data' } }, redis), 'embedded ');
    assert.equal(place({ redis: { url: undefined } }), 'redis redis://localhost:6379');
    assert.equal(place({ redis: { url: 'redis://r:1/5' } }), 'redis redis://r:1/5');
    assert.equal(place({ redis: { url: 'redis://r:1/5', db: 3 } }), 'redis redis://r:1/3');
    assert.equal(place({}, { ...redis, REDIS_DB: '2' }), 'redis redis://r:1/2');
    assert.equal(
      pathOf(() => place({ redis: { url: 'postgres://p' } })),
      'redis.url',
    );
    assert.throws(() => place({ redis: {}, postgres: {} }), { code: 'CONFIG_INVALID' });
  });

  it('say how the store is kept', () => {
    const { prefix, keepMs, maxConnections, directory } = readPlace({}, documented);
    assert.deepEqual([prefix, keepMs, maxConnections], ['aibos:worker', 7_200_000, 11]);
    assert.equal(directory, '.millrace/postgres');
    assert.equal(readPlace({}, { MILLRACE_DATA: '/data/' }).directory, '/data/postgres');
    const given = readPlace({ queue: { prefix: 'mine', defaultTtl: 5_000 } }, documented);
    assert.deepEqual([given.prefix, given.keepMs], ['mine', 5_000]);
  });
});

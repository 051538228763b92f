// biome-ignore-all lint/correctness/useParseIntRadix: as the document has it
export function workerConfiguration() {
  // #region document
  const workerConfig = {
    concurrency: parseInt(process.env.WORKER_CONCURRENCY || '5'),
    retryAttempts: parseInt(process.env.WORKER_RETRY_ATTEMPTS || '3'),
    retryDelay: parseInt(process.env.WORKER_RETRY_DELAY || '1000'),
    timeout: parseInt(process.env.WORKER_TIMEOUT || '300000'),
    redis: {
      url: process.env.REDIS_URL || 'redis://localhost:6379',
      db: parseInt(process.env.REDIS_DB || '2'),
      maxConnections: parseInt(process.env.REDIS_MAX_CONNECTIONS || '10'),
    },
    queue: {
      prefix: process.env.QUEUE_PREFIX || 'aibos:worker',
      defaultTtl: parseInt(process.env.QUEUE_DEFAULT_TTL || '3600000'),
      maxLength: parseInt(process.env.QUEUE_MAX_LENGTH || '10000'),
    },
    monitoring: {
      enabled: process.env.MONITORING_ENABLED === 'true',
      metricsInterval: parseInt(process.env.METRICS_INTERVAL || '60000'),
      healthCheckInterval: parseInt(process.env.HEALTH_CHECK_INTERVAL || '30000'),
    },
  };
  // #endregion
  return workerConfig;
}

// #region document
import { type Millrace, WorkerEventSystem } from 'millrace';

export function pollingSystem(mill: Millrace, seen: unknown[]): WorkerEventSystem {
  return new WorkerEventSystem({
    mill,
    namespaces: ['payments', 'orders'],
    executor: (message) => void seen.push(message.payload),
    config: {
      deploymentMode: 'PollingOnly',
      fallbackPoller: {
        pollingIntervalMs: 100, // each namespace by itself
        batchSize: 10, // full batches follow each other at once
        visibilityTimeoutMs: 30_000, // a longer try has failed
        ageThresholdMs: 50, // younger messages are left alone
        maxAgeMs: 86_400_000, // older ones become dead letters
      },
    },
  });
}
// #endregion

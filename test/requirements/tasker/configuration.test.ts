/** The TOML of both requirement documents, loaded as it stands there. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { loadConfiguration } from 'millrace';

const documents = new URL('../../../../shared/requirements/', import.meta.url);
const workerUrl = new URL('worker-event-system-tas-43.md', documents);
const eventsUrl = new URL('distributed-event-system-tas-65.md', documents);
const here = existsSync(workerUrl) && existsSync(eventsUrl);
const skip = here ? false : 'the requirement documents are not at hand';

/** Each block names its own file in its first line. */
function blocksOf(url: URL): Map<string, string> {
  const blocks = readFileSync(url, 'utf8').matchAll(/```toml\n(# config\/tasker\/(\S+)\n.*?)```/gs);
  return new Map([...blocks].map(([, text, file]) => [file as string, text as string]));
}

function write(t: TestContext, blocks: ReadonlyMap<string, string>): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'config-tasker-'));
  t.after(() => rmSync(directory, { recursive: true }));
  for (const [file, text] of blocks) {
    mkdirSync(path.join(directory, path.dirname(file)), { recursive: true });
    writeFileSync(path.join(directory, file), text);
  }
  return directory;
}

describe('config/tasker of the requirements', { skip }, () => {
  const all = skip ? new Map() : new Map([...blocksOf(workerUrl), ...blocksOf(eventsUrl)]);

  it('has a file for each block', () => {
    assert.deepEqual([...all.keys()].sort(), [
      'base/events.toml',
      'base/worker.toml',
      'environments/production/events.toml',
    ]);
  });

  it('loads: the base', (t) => {
    const directory = write(t, all);
    const { eventSystem, events } = loadConfiguration({ directory, variables: {} }).configuration;
    assert.equal(eventSystem.systemId, 'worker-event-system');
    assert.equal(eventSystem.deploymentMode, 'Hybrid');
    assert.equal(eventSystem.healthMonitoringEnabled, true);
    assert.equal(eventSystem.healthCheckIntervalMs, 30_000);
    assert.equal(eventSystem.maxConcurrentProcessors, 10);
    assert.equal(eventSystem.processingTimeoutMs, 100);
    assert.deepEqual(eventSystem.listener, {
      enabled: true,
      batchProcessing: true,
      connectionTimeoutMs: 10_000,
    });
    const { pollingIntervalMs, batchSize, visibilityTimeoutMs } = eventSystem.fallbackPoller;
    assert.deepEqual([pollingIntervalMs, batchSize, visibilityTimeoutMs], [5_000, 10, 30_000]);
    assert.deepEqual(events, {
      enabled: true,
      defaultDelivery: 'fire_and_forget',
      fireAndForget: { bufferSize: 1_000, overflowStrategy: 'drop_oldest' },
      durable: {
        visibilityTimeoutMs: 30_000,
        maxDeliveryAttempts: 3,
        dlqEnabled: true,
        dlqRetentionMs: 7 * 86_400_000,
      },
      metrics: { enabled: true, histogramBuckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1] },
    });
  });

  it('loads: production over it, and a variable over that', (t) => {
    const directory = write(t, all);
    const variables = { MILLRACE__EVENTS__DURABLE__MAX_DELIVERY_ATTEMPTS: '6' };
    const loaded = loadConfiguration({ directory, environment: 'production', variables });
    const { fireAndForget, durable } = loaded.configuration.events;
    assert.equal(fireAndForget.bufferSize, 10_000);
    assert.equal(durable.dlqRetentionMs, 30 * 86_400_000);
    assert.equal(durable.maxDeliveryAttempts, 6);
    const source = loaded.entries.find(({ key }) => key === 'events.durable.dlq_retention_days');
    assert.equal(source?.source, path.join(directory, 'environments/production/events.toml:8'));
  });
});

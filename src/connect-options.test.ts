/** Every key of the configuration reaches connect(), or is known to be somebody else's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configurationOf } from './configuration/configuration.ts';
import { type KeyPath, keyAt, keyPaths, type Values } from './configuration/keys.ts';
import type { Key } from './configuration/kinds.ts';
import { defaultConfiguration } from './configuration/load.ts';
import { defaultOf } from './configuration/resolve.ts';
import { connectOptions, connectUrl } from './connect-options.ts';

const defaults = Object.fromEntries(
  keyPaths.map((key) => [key, defaultOf(keyAt(key) as Key)]),
) as Values;

/** Keys that connect() has no option for, and who has. */
const notOfConnect: Readonly<Partial<Record<KeyPath, string>>> = {
  'store.url': 'the first argument of connect()',
  'workflows.lifecycle.staleness_action': 'there is only one',
  'jobs.concurrency': 'mill.jobs.work(definitions, { concurrency })',
};
/** The WorkerEventSystem is given the configuration itself; its mode concerns everybody. */
const ofEventSystem = (key: KeyPath) =>
  key.startsWith('event_system.') && key !== 'event_system.deployment_mode';

function another(value: unknown): unknown {
  if (typeof value === 'boolean') return !value;
  if (typeof value === 'number') return value + 1;
  return Array.isArray(value) ? [...value, 9] : `other ${value}`;
}

for (const key of keyPaths) {
  const isElsewhere = ofEventSystem(key) || Object.hasOwn(notOfConnect, key);
  test(`${key} ${isElsewhere ? 'is not for connect()' : 'reaches connect()'}`, () => {
    const changed = { ...defaults, [key]: another(defaults[key]) };
    const options = connectOptions(configurationOf(changed, 'test'));
    const usual = connectOptions(configurationOf(defaults, 'test'));
    if (isElsewhere) assert.deepEqual(options, usual);
    else assert.notDeepEqual(options, usual);
  });
}

test('without any file it is what connect() does by itself', () => {
  const configuration = defaultConfiguration();
  const store = { directory: '.millrace/postgres', connectionsMax: 12, logRetentionMs: null };
  assert.equal(connectUrl(configuration), undefined);
  assert.deepEqual(connectOptions(configuration), {
    ...store,
    mode: 'Hybrid',
    jobs: {
      mode: 'Hybrid',
      heartbeatMs: 1_000,
      timeToLiveMs: 5_000,
      graceMs: 30_000,
      crashesMax: 3,
      pollMs: [50, 1_000],
      batchMax: 2_000,
      bufferMax: 20_000,
      retentionMs: 604_800_000,
    },
    domainEvents: {
      enabled: true,
      defaultDelivery: 'durable',
      fireAndForget: { bufferSize: 1_000, overflowStrategy: 'drop_oldest' },
      durable: {
        visibilityTimeoutMs: 30_000,
        maxDeliveryAttempts: 3,
        dlqEnabled: true,
        dlqRetentionMs: 604_800_000,
      },
      metrics: { enabled: true, histogramBuckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1] },
    },
    workflows: {
      concurrency: 500,
      residencyMs: 5_000,
      retentionMs: 604_800_000,
      lifecycle: {
        maxDurationMinutes: 1_440,
        maxWaitingForDependenciesMinutes: 60,
        maxWaitingForRetryMinutes: 30,
        maxStepsInProcessMinutes: 30,
        autoFailOnTimeout: false,
        autoDlqOnTimeout: true,
      },
      stalenessSweepMs: 300_000,
      stalenessBatch: 100,
    },
    telemetry: {
      enabled: false,
      otlpEndpoint: null,
      otlpHeaders: null,
      serviceName: 'millrace',
      environment: 'development',
      sampleRatio: 1,
      metricsEveryMs: 60_000,
      buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1],
    },
    broker: {
      url: null,
      topic: 'millrace.events',
      group: 'millrace',
      source: 'millrace',
      createTopics: true,
      from: 'end',
      patienceMs: null,
      lagMax: null,
      batchMax: 1_000,
      bufferMax: 5_000,
      gapMs: 2_000,
    },
  });
});

test('Disabled is a mode of event systems only', () => {
  const values = { ...defaults, 'event_system.deployment_mode': 'Disabled' as const };
  assert.ok(!('mode' in connectOptions(configurationOf(values, 'test'))));
});

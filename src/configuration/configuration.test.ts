/** The layers of the configuration, what is refused and how, and that files and docs agree. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { MillraceError } from '../core/errors.ts';
import { type KeyPath, keyAt, keyPaths } from './keys.ts';
import { type Key, parseDuration, printDuration } from './kinds.ts';
import { variableOf } from './layers.ts';
import { defaultConfiguration, loadConfiguration } from './load.ts';
import { exampleFiles, keyTables, printValue } from './print.ts';
import { tomlPlaces } from './toml-places.ts';

const root = new URL('../../', import.meta.url);

/** A directory with these files, by their path in it; removed at the end of the test. */
function directoryOf(t: TestContext, files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(path.join(tmpdir(), 'configuration-'));
  t.after(() => rmSync(directory, { recursive: true }));
  for (const [name, text] of Object.entries(files)) {
    const file = path.join(directory, name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  return directory;
}

function load(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  variables: Readonly<Record<string, string>> = {},
  environment?: string,
) {
  return loadConfiguration({ directory: directoryOf(t, files), environment, variables });
}

/** What is wrong with the files, a line for each problem, without the directory. */
function problemsOf(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  variables: Readonly<Record<string, string>> = {},
): string[] {
  const directory = directoryOf(t, files);
  try {
    loadConfiguration({ directory, variables });
  } catch (error) {
    assert.ok(error instanceof MillraceError);
    assert.equal(error.code, 'CONFIG_INVALID');
    const problems = error.details?.problems as { source: string; message: string }[];
    return problems.map(({ source, message }) => {
      assert.ok(error.message.includes(source) && error.message.includes(message));
      return `${source.replace(`${directory}/`, '')}: ${message}`;
    });
  }
  return [];
}

describe('layers', () => {
  it('overrule each other: defaults, base, environment, variables', (t) => {
    const files = {
      'base/worker.toml': '[jobs]\nconcurrency = 11\ncrashes_max = 4\ngrace = "9s"',
      'environments/production/worker.toml': '\n[jobs]\ncrashes_max = 5\ngrace = "8s"',
      'environments/staging/worker.toml': '[jobs]\ncrashes_max = 77',
    };
    const variables = { MILLRACE__JOBS__GRACE: '7s', MILLRACE_ENV: 'production' };
    const directory = directoryOf(t, files);
    const { configuration, entries, environment } = loadConfiguration({ directory, variables });
    const { concurrency, crashesMax, graceMs, batchMax } = configuration.jobs;
    assert.deepEqual([concurrency, crashesMax, graceMs, batchMax], [11, 5, 7_000, 2_000]);
    assert.equal(environment, 'production');
    const sourceOf = (key: KeyPath) => entries.find((entry) => entry.key === key)?.source;
    assert.equal(sourceOf('jobs.concurrency'), path.join(directory, 'base/worker.toml:2'));
    const over = path.join(directory, 'environments/production/worker.toml:3');
    assert.equal(sourceOf('jobs.crashes_max'), over);
    assert.equal(sourceOf('jobs.grace'), 'MILLRACE__JOBS__GRACE');
    assert.equal(sourceOf('jobs.batch_max'), 'default');
    const staging = loadConfiguration({ directory, variables, environment: 'staging' });
    assert.equal(staging.configuration.jobs.crashesMax, 77, 'what is given overrules MILLRACE_ENV');
  });

  it('read the documented variables, and MILLRACE__ over them', (t) => {
    const { configuration } = load(
      t,
      {},
      {
        TELEMETRY_ENABLED: 'true',
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
        OTEL_SERVICE_NAME: 'tasker-core',
        DEPLOYMENT_ENVIRONMENT: 'production',
        OTEL_METRIC_EXPORT_INTERVAL: '5000',
        OTEL_TRACES_SAMPLER_ARG: '0.25',
        MILLRACE__TELEMETRY__SERVICE_NAME: 'other',
        MILLRACE_URL: '',
      },
    );
    assert.deepEqual(configuration.telemetry, {
      enabled: true,
      otlpEndpoint: 'http://collector:4318',
      otlpHeaders: null,
      serviceName: 'other',
      deploymentEnvironment: 'production',
      sampleRatio: 0.25,
      metricExportIntervalMs: 5_000,
    });
    assert.equal(configuration.store.url, null, 'an empty variable counts as absent');
  });

  it('every key can be set by its variable', (t) => {
    const texts: Readonly<Record<Key['kind'], string>> = {
      text: 'something',
      switch: '1',
      'whole number': '12',
      number: '1',
      duration: '1s',
      'one of': '',
      'list of texts': 'a, b',
      'list of numbers': '0.5,2',
    };
    for (const key of keyPaths) {
      const { kind, allowed } = keyAt(key) as Key;
      const word = /"([^"]+)"$/.exec(allowed)?.[1] ?? '';
      const given = kind === 'one of' ? word : texts[kind];
      // By themselves right, and not beside the default of another key.
      const own: Readonly<Record<string, string>> = {
        'jobs.time_to_live': '9s',
        'log.retention': '9m',
      };
      const text = own[key] ?? given;
      const variables = { [variableOf(key)]: text };
      const directory = directoryOf(t, {});
      const { entries } = loadConfiguration({ directory, variables });
      const found = entries.find((entry) => entry.key === key);
      assert.equal(found?.source, variableOf(key), key);
    }
  });

  it('need no directory, unless one is named', () => {
    assert.deepEqual(loadConfiguration({ variables: {} }).configuration, defaultConfiguration());
    const missing = () => loadConfiguration({ directory: 'config/nowhere', variables: {} });
    assert.throws(missing, /config\/nowhere: there is no such directory/);
  });

  it('know the environments that there are', (t) => {
    const directory = directoryOf(t, { 'environments/production/a.toml': '' });
    const named = (environment: string) => () =>
      loadConfiguration({ directory, environment, variables: {} });
    assert.throws(named('producton'), /did you mean 'production'/);
    assert.throws(named('../base'), /is not the name of an environment/);
    const variables = { MILLRACE_ENV: 'test' };
    assert.equal(loadConfiguration({ directory, variables }).environment, 'test');
  });
});

describe('values', () => {
  it('have units in the value or in the key', (t) => {
    const poller = (text: string) =>
      load(t, { 'base/a.toml': `[event_system.fallback_poller]\n${text}` }).configuration
        .eventSystem.fallbackPoller;
    assert.equal(poller('polling_interval = "250ms"').pollingIntervalMs, 250);
    assert.equal(poller('polling_interval_ms = 1500').pollingIntervalMs, 1_500);
    assert.equal(poller('age_threshold_seconds = 5').ageThresholdMs, 5_000);
    assert.equal(poller('max_age_hours = 2').maxAgeMs, 7_200_000);
    assert.equal(poller('max_age = "never"').maxAgeMs, null);
    assert.equal(poller('visibility_timeout = "1.5m"').visibilityTimeoutMs, 90_000);
    const durable = (text: string) =>
      load(t, { 'base/a.toml': `[events.durable]\n${text}` }).configuration.events.durable;
    assert.equal(durable('visibility_timeout = 45').visibilityTimeoutMs, 45_000);
    assert.equal(durable('visibility_timeout = "45s"').visibilityTimeoutMs, 45_000);
    assert.equal(durable('dlq_retention_days = 30').dlqRetentionMs, 30 * 86_400_000);
  });

  it('durations are read and printed alike', () => {
    for (const text of ['1ms', '100ms', '30s', '90s', '5m', '24h', '7d']) {
      const ms = parseDuration(text) as number;
      assert.equal(parseDuration(printDuration(ms)), ms, text);
    }
    for (const text of ['', '30', 's', '-1s', '1 week', '1e3s']) {
      assert.equal(parseDuration(text), null, text);
    }
  });

  it('that may hold a password are not shown', (t) => {
    const secret = 'postgres://me:hunter2@host/db';
    const { entries } = load(t, {}, { MILLRACE_URL: secret });
    const shown = entries.map(({ key, value }) => printValue(key, value)).join();
    assert.ok(!shown.includes('hunter2') && shown.includes('(set)'));
  });
});

describe('problems', () => {
  it('are reported all at once, each with its place', (t) => {
    const problems = problemsOf(
      t,
      {
        'base/events.toml': [
          '[events]',
          'enabled = "yes"',
          'default_deliveri = "durable"',
          '[events.durable]',
          'max_delivery_attempts = 0',
          '[events.metrics]',
          'histogram_buckets = [',
          '  0.5,',
          '  0.1, # the wrong way round',
          ']',
          '[evnts]',
          'enabled = true',
        ].join('\n'),
        'base/worker.toml': '[event_system.fallback_poller]\npolling_interval = 5',
      },
      { MILLRACE__EVENTS__DURABLE__DLQ_ENABLED: 'maybe' },
    );
    assert.deepEqual(problems, [
      'base/events.toml:2: events.enabled is "yes", not true or false',
      'base/events.toml:3: events.default_deliveri is not a key of the configuration; ' +
        "did you mean 'events.default_delivery'?",
      'base/events.toml:5: events.durable.max_delivery_attempts is 0, ' +
        'not a whole number from 1 to 1000',
      'base/events.toml:7: events.metrics.histogram_buckets is [0.5,0.1], ' +
        'not a list of positive numbers, each greater than the one before',
      'base/events.toml:12: evnts.enabled is not a key of the configuration; ' +
        "did you mean 'events.enabled'?",
      'base/worker.toml:2: event_system.fallback_poller.polling_interval is 5, ' +
        'not a duration such as "30s" (ms, s, m, h, d) from 1ms to 1d',
      'MILLRACE__EVENTS__DURABLE__DLQ_ENABLED: events.durable.dlq_enabled is "maybe", ' +
        'not true or false',
    ]);
  });

  it('a file that is no TOML is named with line and column', (t) => {
    const problems = problemsOf(t, { 'base/a.toml': '[jobs]\nconcurrency = ]' });
    assert.match(problems.join(), /^base\/a\.toml:2: .*\(column \d+\)$/);
  });

  it('contradictions are found', (t) => {
    const found = (text: string) => problemsOf(t, { 'base/a.toml': text }).join('\n');
    const system = '[event_system]\ndeployment_mode =';
    const off = (part: string) => `[event_system.${part}]\nenabled = false`;
    assert.match(found(`${system} "PollingOnly"\n${off('fallback_poller')}`), /needs the poller/);
    assert.match(found(`${system} "EventDrivenOnly"\n${off('listener')}`), /needs the listener/);
    const ages = '[event_system.fallback_poller]\nage_threshold = "2h"\nmax_age = "1h"';
    assert.match(found(ages), /a\.toml:2: age_threshold is not below max_age/);
    assert.match(found('[jobs]\nheartbeat = "4s"'), /more than half of time_to_live/);
    assert.match(found('[jobs]\npoll_least = "4s"'), /greater than poll_most/);
  });

  it('a key and its alias in one file contradict each other', (t) => {
    const text = '[jobs]\ngrace = "1s"\ngrace_ms = 2';
    assert.match(problemsOf(t, { 'base/a.toml': text }).join(), /a\.toml:3: jobs\.grace_ms says/);
  });
});

describe('the newer layout', () => {
  it('means the same keys, and what is more particular counts', (t) => {
    const text = `
      [worker.event_systems.worker]
      system_id = "worker-event-system"
      deployment_mode = "EventDrivenOnly"
      [worker.event_systems.worker.timing]
      health_check_interval_seconds = 30
      fallback_polling_interval_seconds = 2
      visibility_timeout_seconds = 30
      processing_timeout_seconds = 60
      claim_timeout_seconds = 300
      [worker.event_systems.worker.processing]
      max_concurrent_operations = 100
      batch_size = 20
      max_retries = 3
      [worker.event_systems.worker.processing.backoff]
      initial_delay_ms = 100
      max_delay_ms = 10000
      multiplier = 2.0
      jitter_percent = 0.1
      [worker.event_systems.worker.health]
      enabled = true
      [worker.event_systems.worker.metadata.listener]
      batch_processing = true
      [worker.event_systems.worker.metadata.fallback_poller]
      polling_interval_ms = 1000
      batch_size = 25
      age_threshold_seconds = 5
      max_age_hours = 24
      supported_namespaces = ["payments", "orders"]`;
    const { eventSystem } = load(t, { 'base/worker.toml': text }).configuration;
    assert.equal(eventSystem.deploymentMode, 'EventDrivenOnly');
    assert.equal(eventSystem.processingTimeoutMs, 60_000);
    assert.equal(eventSystem.maxConcurrentProcessors, 100);
    assert.deepEqual(eventSystem.supportedNamespaces, ['payments', 'orders']);
    assert.deepEqual(eventSystem.backoff, {
      initialDelayMs: 100,
      maxDelayMs: 10_000,
      multiplier: 2,
      jitter: 0.1,
    });
    assert.deepEqual(eventSystem.fallbackPoller, {
      enabled: true,
      pollingIntervalMs: 1_000,
      batchSize: 25,
      visibilityTimeoutMs: 30_000,
      ageThresholdMs: 5_000,
      maxAgeMs: 86_400_000,
    });
  });
});

describe('what ships', () => {
  const shipped = (file: string) => readFileSync(new URL(file, root), 'utf8');

  it('the files of config/millrace/base hold the defaults', (t) => {
    const files = Object.fromEntries([...exampleFiles()].map(([name]) => [`base/${name}`, '']));
    for (const [name, text] of exampleFiles()) {
      assert.equal(shipped(`config/millrace/base/${name}`), text, 'run npm run generate');
      files[`base/${name}`] = text;
    }
    const { configuration, entries } = load(t, files);
    assert.deepEqual(configuration, defaultConfiguration());
    const unset = entries.filter(({ source }) => source === 'default').map(({ key }) => key);
    assert.deepEqual(unset, [
      'telemetry.otlp_endpoint',
      'telemetry.otlp_headers',
      'store.url',
      'broker.url',
      'broker.username',
      'broker.password',
      'broker.member_id',
      'broker.client_id',
    ]);
  });

  it('docs/configuration.md has every key', () => {
    const page = shipped('docs/configuration.md');
    assert.ok(page.includes(keyTables()), 'run npm run generate');
  });
});

describe('places in TOML', () => {
  it('are the lines of keys, whatever stands between', () => {
    const source = [
      '# [not.a.table]',
      'a = 1',
      '[b.c]',
      'text = """',
      'no = "key"',
      '"""',
      'list = [',
      '  1, # [x]',
      '  2,',
      ']',
      'd.e = "[" # text',
      "'q r' = { inner = 1 }",
      '[[tables]]',
      'f = 2',
    ].join('\n');
    const expected = { a: 2, 'b.c': 3, 'b.c.text': 4, 'b.c.list': 7, 'b.c.d.e': 11 };
    const more = { 'b.c.q r': 12, tables: 13, 'tables.f': 14 };
    assert.deepEqual(Object.fromEntries(tomlPlaces(source)), { ...expected, ...more });
  });
});

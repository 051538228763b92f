/** Options before variables before defaults, and what is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { telemetrySettings } from './settings.ts';

const builtIn = {
  enabled: false,
  useGlobal: false,
  otlpEndpoint: null,
  serviceName: 'millrace',
  environment: 'development',
  sampleRatio: 1,
  metricsEveryMs: 60_000,
  otlpHeaders: {},
  buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 300],
};
const variables = {
  TELEMETRY_ENABLED: 'yes',
  OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318',
  OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20a=b, x-team=100%',
  OTEL_SERVICE_NAME: 'shop',
  DEPLOYMENT_ENVIRONMENT: 'production',
  OTEL_TRACES_SAMPLER_ARG: '0.1',
  OTEL_METRIC_EXPORT_INTERVAL: '5000',
};
const fromVariables = {
  enabled: true,
  useGlobal: false,
  otlpEndpoint: 'http://collector:4318',
  serviceName: 'shop',
  environment: 'production',
  sampleRatio: 0.1,
  metricsEveryMs: 5_000,
  otlpHeaders: { authorization: 'Bearer a=b', 'x-team': '100%' },
  buckets: builtIn.buckets,
};

test('variables say it, and empty ones say nothing', () => {
  assert.deepEqual(telemetrySettings({}, {}), builtIn);
  assert.deepEqual(telemetrySettings({}, variables), fromVariables);
  const empty = Object.fromEntries(Object.keys(variables).map((name) => [name, '']));
  assert.deepEqual(telemetrySettings({}, empty), builtIn);
});

test('options overrule variables, one by one', () => {
  const options = { enabled: false, serviceName: 'other', sampleRatio: 0, otlpHeaders: 'a=1' };
  const wanted = { ...fromVariables, ...options, otlpHeaders: { a: '1' } };
  assert.deepEqual(telemetrySettings(options, variables), wanted);
});

test('bounds of histograms go on to where tasks end', () => {
  const bounds = (...buckets: number[]) => telemetrySettings({ buckets }, {}).buckets;
  assert.deepEqual(bounds(0.1, 2), [0.1, 2, 5, 30, 300]);
  assert.deepEqual(bounds(0.1, 60), [0.1, 60, 300]);
  assert.deepEqual(bounds(5, 600), [5, 600]);
});

test('what makes no sense is refused by its name, and no header is shown', () => {
  const refuse = (name: string, value: string) => {
    const error = new RegExp(`^${name} is `);
    assert.throws(() => telemetrySettings({}, { [name]: value }), { message: error });
  };
  refuse('TELEMETRY_ENABLED', 'perhaps');
  refuse('OTEL_EXPORTER_OTLP_ENDPOINT', 'collector:4318');
  refuse('OTEL_TRACES_SAMPLER_ARG', '2');
  refuse('OTEL_METRIC_EXPORT_INTERVAL', 'often');
  const secret = { OTEL_EXPORTER_OTLP_HEADERS: 'hunter2' };
  assert.throws(
    () => telemetrySettings({}, secret),
    (error: Error) => !/hunter2/.test(error.message),
  );
});

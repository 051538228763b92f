/** Telemetry of an application that has an SDK of its own, and the histogram of domain events. */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { context, metrics, trace } from '@opentelemetry/api';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import type { TaskState } from '../core/workflow/states.ts';
import { TracingSwitch } from '../ports/tracing.ts';
import { attachTelemetry, type Observed } from './attach.ts';
import { telemetrySettings } from './settings.ts';

const byMode = { durable: 0, fire_and_forget: 0, broadcast: 0, acknowledged: 0 };

/** As much of a platform as telemetry needs, with numbers of domain events. */
function observed() {
  let report: Parameters<Observed['events']['reportHandled']>[0] = () => {};
  let asked = 0;
  const platform: Observed = {
    workerId: 'worker-1',
    tracing: new TracingSwitch(),
    jobs: { use() {}, totals: () => ({ done: 4 }) },
    workflows: {
      plug() {},
      counts: async () => new Map<TaskState, number>([['blocked_by_failures', 2]]),
    },
    events: {
      metrics: () => ({
        published: byMode,
        dropped: byMode,
        failed: byMode,
        delivered: { ...byMode, durable: 7 },
        handlerFailed: { ...byMode, durable: 1 },
        handlerSeconds: {},
      }),
      reportHandled: (given) => {
        report = given;
      },
    },
    totals() {
      asked += 1;
      return {};
    },
  };
  return { platform, handled: () => report('durable', 0.03), asked: () => asked };
}

/** Registers an SDK as applications do, until the test is over. */
function registerSdk(t: TestContext) {
  const spans = new InMemorySpanExporter();
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
  const meters = new MeterProvider({ readers: [reader] });
  trace.setGlobalTracerProvider(
    new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter: spans })] }),
  );
  metrics.setGlobalMeterProvider(meters);
  t.after(async () => {
    trace.disable();
    metrics.disable();
    await meters.shutdown();
  });
  const collect = async () => {
    exporter.reset();
    await meters.forceFlush();
    const scopes = exporter.getMetrics().flatMap(({ scopeMetrics }) => scopeMetrics);
    const all = scopes.flatMap((scope) => scope.metrics);
    return (name: string) => all.find(({ descriptor }) => descriptor.name === name)?.dataPoints;
  };
  return { spans, collect };
}

const useGlobal = telemetrySettings({ enabled: true, useGlobal: true, buckets: [0.01, 0.1] }, {});

test('with useGlobal an SDK of the application gets spans and metrics', async (t) => {
  const { spans, collect } = registerSdk(t);
  const { platform, handled, asked } = observed();
  const telemetry = await attachTelemetry(platform, useGlobal);

  const span = { name: 'job.handle', traceparent: null, attributes: {} };
  assert.equal(await telemetry.tracing.run(span, async () => 'done'), 'done');
  const finished = spans.getFinishedSpans();
  assert.deepEqual(
    finished.map(({ name, instrumentationScope }) => [name, instrumentationScope.name]),
    [['job.handle', 'millrace']],
  );
  handled();
  const pointsOf = await collect();
  const durable = (name: string) =>
    pointsOf(name)?.find(({ attributes }) => attributes.delivery === 'durable')?.value;
  assert.equal(durable('tasker.domain_events.delivered.total'), 7);
  assert.equal(durable('tasker.domain_events.handler_failures.total'), 1);
  const durations = durable('tasker.domain_events.handler.duration') as {
    readonly buckets: unknown;
  };
  assert.deepEqual(durations.buckets, {
    boundaries: [0.01, 0.1, 5, 30, 300],
    counts: [0, 1, 0, 0, 0, 0],
  });
  assert.equal(pointsOf('tasker.tasks.blocked')?.[0]?.value, 2);
  await assert.rejects(telemetry.prometheus(), { code: 'NOT_FOUND' });

  await telemetry.close();
  const before = asked();
  await collect();
  assert.equal(asked(), before, 'a closed platform is asked for nothing');
});

test('with useGlobal no context manager is set', async (t) => {
  registerSdk(t);
  const telemetry = await attachTelemetry(observed().platform, useGlobal);
  const span = trace.getTracer('test').startSpan('of the application');
  const active = trace.setSpan(context.active(), span);
  assert.equal(
    context.with(active, () => trace.getActiveSpan()),
    undefined,
  );
  await telemetry.close();
});

test('Prometheus reads handlers of domain events as a histogram', async (t) => {
  const { platform, handled } = observed();
  const telemetry = await attachTelemetry(platform, telemetrySettings({ enabled: true }, {}));
  t.after(async () => {
    await telemetry.close();
    context.disable();
  });
  handled();
  const text = await telemetry.prometheus();
  const line = (name: string, value: number) =>
    assert.match(text, new RegExp(`^tasker_domain_events_${name}\\S*\\} ${value}( |$)`, 'm'));
  line('delivered_total\\{delivery="durable"', 7);
  line('handler_failures_total\\{delivery="durable"', 1);
  line('handler_duration\\w*_bucket\\{[^}]*le="0.01"', 0);
  line('handler_duration\\w*_bucket\\{[^}]*le="0.05"', 1);
  line('handler_duration\\w*_count\\{delivery="durable"', 1);
});

/**
 * Where telemetry goes: OTLP over HTTP (traces and metrics), and Prometheus by asking. The SDK is
 * loaded only when telemetry is switched on. Applications that have an SDK of their own say
 * `useGlobal`: everything reports to theirs through the OpenTelemetry API, and none is loaded here.
 */
import { context, type Meter, metrics as metricsApi, type Tracer, trace } from '@opentelemetry/api';
import { MillraceError } from '../core/errors.ts';
import type { TelemetrySettings } from './settings.ts';

export interface Exporter {
  readonly tracer: Tracer;
  readonly meter: Meter;
  /** What Prometheus reads, as text. */
  prometheus(): Promise<string>;
  /** Sends what has gathered. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

const name = 'millrace';

/** What sends to the endpoint, if there is one. */
async function otlp({ otlpEndpoint, otlpHeaders: headers, metricsEveryMs }: TelemetrySettings) {
  if (otlpEndpoint === null) return { processors: [], readers: [] };
  const base = otlpEndpoint.replace(/\/+$/, '');
  const [tracing, metrics, toTraces, toMetrics] = await Promise.all([
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/sdk-metrics'),
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('@opentelemetry/exporter-metrics-otlp-http'),
  ]);
  const traces = new toTraces.OTLPTraceExporter({ url: `${base}/v1/traces`, headers });
  const reader = new metrics.PeriodicExportingMetricReader({
    exporter: new toMetrics.OTLPMetricExporter({ url: `${base}/v1/metrics`, headers }),
    exportIntervalMillis: metricsEveryMs,
    exportTimeoutMillis: Math.min(10_000, metricsEveryMs),
  });
  return {
    processors: [new tracing.BatchSpanProcessor({ exporter: traces })],
    readers: [reader],
  };
}

/** The application's SDK, registered before: it sends, samples and keeps the active span. */
export function globalExporter(): Exporter {
  return {
    tracer: trace.getTracer(name),
    meter: metricsApi.getMeter(name),
    async prometheus() {
      throw new MillraceError('NOT_FOUND', 'The SDK of this application has the metrics.', {
        fix: 'Read them from its exporter, or connect without telemetry.useGlobal.',
      });
    },
    async flush() {},
    async close() {},
  };
}

export async function startExporter(settings: TelemetrySettings): Promise<Exporter> {
  const [hooks, resources, tracing, metrics, prometheus] = await Promise.all([
    import('@opentelemetry/context-async-hooks'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/sdk-metrics'),
    import('@opentelemetry/exporter-prometheus'),
  ]);
  const resource = resources.resourceFromAttributes({
    'service.name': settings.serviceName,
    'deployment.environment.name': settings.environment,
  });
  const { processors, readers } = await otlp(settings);
  const asked = new prometheus.PrometheusExporter({ preventServerStart: true });
  const tracerProvider = new tracing.TracerProvider({
    resource,
    spanProcessors: processors,
    sampler: new tracing.ParentBasedSampler({
      root: new tracing.TraceIdRatioBasedSampler(settings.sampleRatio),
    }),
  });
  const meterProvider = new metrics.MeterProvider({ resource, readers: [asked, ...readers] });
  // Somebody else's stays if there is one: the second call answers false and changes nothing.
  context.setGlobalContextManager(new hooks.AsyncLocalStorageContextManager().enable());
  return {
    tracer: tracerProvider.getTracer(name),
    meter: meterProvider.getMeter(name),
    async prometheus() {
      const { resourceMetrics, errors } = await asked.collect();
      if (errors.length > 0) throw errors[0];
      return new prometheus.PrometheusSerializer().serialize(resourceMetrics);
    },
    async flush() {
      await Promise.allSettled([tracerProvider.forceFlush(), meterProvider.forceFlush()]);
    },
    async close() {
      await Promise.allSettled([tracerProvider.shutdown(), meterProvider.shutdown()]);
    },
  };
}

/** Telemetry's settings, from options and from the environment variables of requirement TAS-65. */
import { MillraceError } from '../core/errors.ts';

export interface TelemetryOptions {
  /** TELEMETRY_ENABLED; false by default. */
  readonly enabled?: boolean | undefined;
  /**
   * Reports to the tracer and meter of the global OpenTelemetry API, for applications with an SDK
   * of their own, registered before connect(); false by default. Where to, how often and which
   * share is that SDK's business then, and those options count for nothing; `buckets` does.
   */
  readonly useGlobal?: boolean | undefined;
  /** OTEL_EXPORTER_OTLP_ENDPOINT, OTLP over HTTP; null: nothing is sent, Prometheus may ask. */
  readonly otlpEndpoint?: string | null | undefined;
  /** OTEL_SERVICE_NAME; 'millrace' by default. */
  readonly serviceName?: string | undefined;
  /** DEPLOYMENT_ENVIRONMENT; 'development' by default. */
  readonly environment?: string | undefined;
  /** OTEL_TRACES_SAMPLER_ARG, 0 to 1: of traces that begin here; 1 by default. */
  readonly sampleRatio?: number | undefined;
  /** OTEL_METRIC_EXPORT_INTERVAL in milliseconds; 60,000 by default. */
  readonly metricsEveryMs?: number | undefined;
  /** OTEL_EXPORTER_OTLP_HEADERS, `name=value,name=value`; for the endpoint, such as a token. */
  readonly otlpHeaders?: string | null | undefined;
  /** Bounds of histograms in seconds, ascending; longer ones for whole tasks are added. */
  readonly buckets?: readonly number[] | undefined;
}

export interface TelemetrySettings {
  readonly enabled: boolean;
  readonly useGlobal: boolean;
  readonly otlpEndpoint: string | null;
  readonly serviceName: string;
  readonly environment: string;
  readonly sampleRatio: number;
  readonly metricsEveryMs: number;
  readonly otlpHeaders: Readonly<Record<string, string>>;
  readonly buckets: readonly number[];
}

/** The requirement's own (TAS-65, 6.1). */
const defaultBuckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1] as const;
/** Tasks may take longer than what the bounds above are made for. */
const taskBuckets = [5, 30, 300] as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** Options before the environment before defaults. @throws MillraceError CONFIG_INVALID */
export function telemetrySettings(
  options: TelemetryOptions = {},
  environment: Environment = process.env,
): TelemetrySettings {
  const endpoint = options.otlpEndpoint ?? text(environment.OTEL_EXPORTER_OTLP_ENDPOINT);
  if (endpoint !== null && !/^https?:\/\/\S+$/.test(endpoint)) {
    throw invalid('OTEL_EXPORTER_OTLP_ENDPOINT', endpoint, 'a URL like http://localhost:4318');
  }
  return {
    enabled: options.enabled ?? flag('TELEMETRY_ENABLED', environment.TELEMETRY_ENABLED),
    useGlobal: options.useGlobal ?? false,
    otlpEndpoint: endpoint,
    serviceName: options.serviceName ?? text(environment.OTEL_SERVICE_NAME) ?? 'millrace',
    environment: options.environment ?? text(environment.DEPLOYMENT_ENVIRONMENT) ?? 'development',
    sampleRatio: number('OTEL_TRACES_SAMPLER_ARG', options.sampleRatio, environment, 1, [0, 1]),
    metricsEveryMs: number(
      'OTEL_METRIC_EXPORT_INTERVAL',
      options.metricsEveryMs,
      environment,
      60_000,
      [100, 86_400_000],
    ),
    otlpHeaders: readHeaders(options.otlpHeaders ?? text(environment.OTEL_EXPORTER_OTLP_HEADERS)),
    buckets: withLonger(options.buckets ?? defaultBuckets),
  };
}

function withLonger(bounds: readonly number[]): readonly number[] {
  const last = bounds.at(-1) ?? 0;
  return [...bounds, ...taskBuckets.filter((bound) => bound > last)];
}

/** As OpenTelemetry writes them: names and values with percent signs for what is special. */
function readHeaders(given: string | null): Readonly<Record<string, string>> {
  if (given === null) return {};
  const pairs = given.split(',').filter((pair) => pair.trim() !== '');
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw invalid('OTEL_EXPORTER_OTLP_HEADERS', '…', 'a list of name=value');
      return [pair.slice(0, at).trim(), readable(pair.slice(at + 1).trim())];
    }),
  );
}

/** A value that has a percent sign by chance stays as it is. */
function readable(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

function text(value: string | undefined): string | null {
  return value === undefined || value === '' ? null : value;
}

function flag(name: string, value: string | undefined): boolean {
  if (value === undefined || value === '') return false;
  if (/^(true|1|yes|on)$/i.test(value)) return true;
  if (/^(false|0|no|off)$/i.test(value)) return false;
  throw invalid(name, value, 'true or false');
}

function number(
  name: string,
  given: number | undefined,
  environment: Environment,
  otherwise: number,
  [least, most]: readonly [number, number],
): number {
  const value = given ?? (text(environment[name]) === null ? otherwise : Number(environment[name]));
  if (value >= least && value <= most) return value;
  throw invalid(name, String(environment[name] ?? given), `a number from ${least} to ${most}`);
}

function invalid(name: string, value: string, wanted: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `${name} is '${value}', not ${wanted}.`);
}

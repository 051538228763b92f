/** Telemetry's settings, from options and from the environment variables of requirement TAS-65. */
import { MillraceError } from '../core/errors.ts';

export interface TelemetryOptions {
  /** TELEMETRY_ENABLED; false by default. */
  readonly enabled?: boolean | undefined;
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
}

export interface TelemetrySettings {
  readonly enabled: boolean;
  readonly otlpEndpoint: string | null;
  readonly serviceName: string;
  readonly environment: string;
  readonly sampleRatio: number;
  readonly metricsEveryMs: number;
}

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
    otlpEndpoint: endpoint,
    serviceName: options.serviceName ?? text(environment.OTEL_SERVICE_NAME) ?? 'millrace',
    environment: options.environment ?? text(environment.DEPLOYMENT_ENVIRONMENT) ?? 'development',
    sampleRatio: number('OTEL_TRACES_SAMPLER_ARG', options.sampleRatio, environment, 1, [0, 1]),
    metricsEveryMs: number(
      'OTEL_METRIC_EXPORT_INTERVAL',
      options.metricsEveryMs,
      environment,
      60_000,
      [100, 3_600_000],
    ),
  };
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

/**
 * From a configuration to what connect() takes, so that files and variables reach the program.
 * Pure: nothing is read here, and what a program adds by itself it spreads over the result.
 */
import { join } from 'node:path';
import type {
  BrokerConfig,
  Configuration,
  TelemetryConfig,
} from './configuration/configuration.ts';
import type { BrokerChoice, ConnectOptions } from './connect.ts';
import type { JobsOptions } from './jobs/options.ts';
import type { TelemetryOptions } from './telemetry/settings.ts';

/** Where the configuration says that the database is: the first argument of connect(). */
export function connectUrl({ store }: Configuration): string | undefined {
  return store.url ?? undefined;
}

/**
 * @example
 * const { configuration } = loadConfiguration();
 * const mill = await connect(connectUrl(configuration), connectOptions(configuration));
 */
export function connectOptions(configuration: Configuration): ConnectOptions {
  const { broker, events, eventSystem, jobs, log, store, telemetry, workflows } = configuration;
  const { enabled, defaultDelivery, fireAndForget, durable, metrics } = events;
  const { concurrency: _ofWork, ...jobsOptions } = jobs;
  const { stalenessAction: _theOnlyOne, ...lifecycle } = workflows.lifecycle;
  const { deploymentMode } = eventSystem;
  return {
    directory: join(store.data, 'postgres'),
    connectionsMax: store.connectionsMax,
    logRetentionMs: log.retentionMs,
    ...(deploymentMode !== 'Disabled' && { mode: deploymentMode }),
    jobs: jobsOptions satisfies JobsOptions,
    domainEvents: { enabled, defaultDelivery, fireAndForget, durable, metrics },
    workflows: {
      concurrency: workflows.runsHeldMax,
      residencyMs: workflows.residencyMs,
      retentionMs: workflows.retentionMs,
      lifecycle,
      stalenessSweepMs: workflows.stalenessSweepIntervalMs,
      stalenessBatch: workflows.stalenessBatchSize,
    },
    broker: brokerChoice(broker),
    telemetry: telemetryOptions(telemetry, metrics.histogramBuckets),
  };
}

function brokerChoice(broker: BrokerConfig): BrokerChoice {
  const { username, password, memberId, clientId, replicas, retentionMs, ...rest } = broker;
  return {
    ...rest,
    ...(username !== null && { username }),
    ...(password !== null && { password }),
    ...(memberId !== null && { memberId }),
    ...(clientId !== null && { clientId }),
    ...(replicas !== null && { replicas }),
    ...(retentionMs !== null && { retentionMs }),
  };
}

function telemetryOptions(
  telemetry: TelemetryConfig,
  buckets: readonly number[],
): TelemetryOptions {
  const { enabled, otlpEndpoint, otlpHeaders, serviceName, sampleRatio } = telemetry;
  return {
    enabled,
    otlpEndpoint,
    otlpHeaders,
    serviceName,
    environment: telemetry.deploymentEnvironment,
    sampleRatio,
    metricsEveryMs: telemetry.metricExportIntervalMs,
    buckets,
  };
}

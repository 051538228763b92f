/** The configuration as the program reads it: durations in milliseconds, names as in the code. */
import type { DeploymentMode } from '../runtime/heads.ts';
import type { Values } from './keys.ts';

/** Modes of event systems: `Disabled` delivers nothing, by any path. */
export type EventSystemMode = DeploymentMode | 'Disabled';

export interface WorkerListenerConfig {
  readonly enabled: boolean;
  readonly batchProcessing: boolean;
  readonly connectionTimeoutMs: number;
}

export interface WorkerPollerConfig {
  readonly enabled: boolean;
  readonly pollingIntervalMs: number;
  readonly batchSize: number;
  readonly visibilityTimeoutMs: number;
  readonly ageThresholdMs: number;
  /** Null: no message is too old. */
  readonly maxAgeMs: number | null;
}

export interface WorkerEventSystemConfig {
  readonly systemId: string;
  readonly deploymentMode: EventSystemMode;
  readonly supportedNamespaces: readonly string[];
  readonly healthMonitoringEnabled: boolean;
  readonly healthCheckIntervalMs: number;
  readonly maxConsecutiveErrors: number;
  readonly errorRateThresholdPerMinute: number;
  readonly maxConcurrentProcessors: number;
  readonly processingTimeoutMs: number;
  readonly bufferSize: number;
  readonly loadSheddingThreshold: number;
  readonly maxRetries: number;
  readonly backoff: {
    readonly initialDelayMs: number;
    readonly maxDelayMs: number;
    readonly multiplier: number;
    readonly jitter: number;
  };
  readonly listener: WorkerListenerConfig;
  readonly fallbackPoller: WorkerPollerConfig;
}

export interface EventsConfig {
  readonly enabled: boolean;
  readonly defaultDelivery: Values['events.default_delivery'];
  readonly fireAndForget: {
    readonly bufferSize: number;
    readonly overflowStrategy: Values['events.fire_and_forget.overflow_strategy'];
  };
  readonly durable: {
    readonly visibilityTimeoutMs: number;
    readonly maxDeliveryAttempts: number;
    readonly dlqEnabled: boolean;
    readonly dlqRetentionMs: number;
  };
  readonly metrics: {
    readonly enabled: boolean;
    /** Seconds, ascending. */
    readonly histogramBuckets: readonly number[];
  };
}

export interface TelemetryConfig {
  readonly enabled: boolean;
  /** Null: nothing is sent. */
  readonly otlpEndpoint: string | null;
  readonly otlpHeaders: string | null;
  readonly serviceName: string;
  readonly deploymentEnvironment: string;
  /** 0 to 1, of traces that begin here. */
  readonly sampleRatio: number;
  readonly metricExportIntervalMs: number;
}

export interface WorkflowsConfig {
  readonly runsHeldMax: number;
  readonly residencyMs: number;
  readonly retentionMs: number | null;
  readonly stalenessSweepIntervalMs: number;
  readonly stalenessBatchSize: number;
  readonly lifecycle: {
    readonly maxDurationMinutes: number;
    readonly maxWaitingForDependenciesMinutes: number;
    readonly maxWaitingForRetryMinutes: number;
    readonly maxStepsInProcessMinutes: number;
    readonly stalenessAction: 'dlq';
    readonly autoFailOnTimeout: boolean;
    readonly autoDlqOnTimeout: boolean;
  };
}

/** As `JobsOptions` of connect(), and the concurrency that `work()` is given. */
export interface JobsConfig {
  readonly mode: DeploymentMode;
  readonly concurrency: number;
  readonly heartbeatMs: number;
  readonly timeToLiveMs: number;
  readonly graceMs: number;
  readonly crashesMax: number;
  readonly pollMs: readonly [least: number, most: number];
  readonly batchMax: number;
  readonly bufferMax: number;
  readonly retentionMs: number | null;
}

export interface StoreConfig {
  /** Null: the embedded Postgres in `data`. */
  readonly url: string | null;
  readonly data: string;
  readonly connectionsMax: number;
}

/** The log of events. */
export interface LogConfig {
  /** Null: for ever. */
  readonly retentionMs: number | null;
}

export interface BrokerConfig {
  /** Null: the log carries the events by itself. */
  readonly url: string | null;
  readonly username: string | null;
  readonly password: string | null;
  readonly topic: string;
  readonly group: string;
  readonly memberId: string | null;
  readonly clientId: string | null;
  readonly source: string;
  readonly createTopics: boolean;
  /** Null: the broker's default; so with the retention. */
  readonly replicas: number | null;
  readonly retentionMs: number | null;
  readonly from: 'start' | 'end';
  /** Null: groups wait for as long as it takes. */
  readonly patienceMs: number | null;
  /** Null: publishing is never refused. */
  readonly lagMax: number | null;
  readonly batchMax: number;
  readonly bufferMax: number;
  readonly gapMs: number;
}

export interface Configuration {
  /** Name of the environment whose files were read. */
  readonly environment: string;
  readonly eventSystem: WorkerEventSystemConfig;
  readonly events: EventsConfig;
  readonly telemetry: TelemetryConfig;
  readonly workflows: WorkflowsConfig;
  readonly jobs: JobsConfig;
  readonly store: StoreConfig;
  readonly log: LogConfig;
  readonly broker: BrokerConfig;
}

export function configurationOf(values: Values, environment: string): Configuration {
  return {
    environment,
    eventSystem: eventSystemOf(values),
    events: eventsOf(values),
    telemetry: {
      enabled: values['telemetry.enabled'],
      otlpEndpoint: values['telemetry.otlp_endpoint'],
      otlpHeaders: values['telemetry.otlp_headers'],
      serviceName: values['telemetry.service_name'],
      deploymentEnvironment: values['telemetry.deployment_environment'],
      sampleRatio: values['telemetry.sample_ratio'],
      metricExportIntervalMs: values['telemetry.metric_export_interval'],
    },
    workflows: workflowsOf(values),
    jobs: {
      mode: values['jobs.mode'],
      concurrency: values['jobs.concurrency'],
      heartbeatMs: values['jobs.heartbeat'],
      timeToLiveMs: values['jobs.time_to_live'],
      graceMs: values['jobs.grace'],
      crashesMax: values['jobs.crashes_max'],
      pollMs: [values['jobs.poll_least'], values['jobs.poll_most']],
      batchMax: values['jobs.batch_max'],
      bufferMax: values['jobs.buffer_max'],
      retentionMs: values['jobs.retention'],
    },
    store: {
      url: values['store.url'],
      data: values['store.data'],
      connectionsMax: values['store.connections_max'],
    },
    log: { retentionMs: values['log.retention'] },
    broker: brokerOf(values),
  };
}

function brokerOf(values: Values): BrokerConfig {
  return {
    url: values['broker.url'],
    username: values['broker.username'],
    password: values['broker.password'],
    topic: values['broker.topic'],
    group: values['broker.group'],
    memberId: values['broker.member_id'],
    clientId: values['broker.client_id'],
    source: values['broker.source'],
    createTopics: values['broker.create_topics'],
    replicas: values['broker.replicas'] || null,
    retentionMs: values['broker.retention'],
    from: values['broker.from'],
    patienceMs: values['broker.patience'],
    lagMax: values['broker.lag_max'] || null,
    batchMax: values['broker.batch_max'],
    bufferMax: values['broker.buffer_max'],
    gapMs: values['broker.gap'],
  };
}

function eventSystemOf(values: Values): WorkerEventSystemConfig {
  return {
    systemId: values['event_system.system_id'],
    deploymentMode: values['event_system.deployment_mode'],
    supportedNamespaces: values['event_system.supported_namespaces'],
    healthMonitoringEnabled: values['event_system.health_monitoring_enabled'],
    healthCheckIntervalMs: values['event_system.health_check_interval'],
    maxConsecutiveErrors: values['event_system.max_consecutive_errors'],
    errorRateThresholdPerMinute: values['event_system.error_rate_threshold_per_minute'],
    maxConcurrentProcessors: values['event_system.max_concurrent_processors'],
    processingTimeoutMs: values['event_system.processing_timeout'],
    bufferSize: values['event_system.buffer_size'],
    loadSheddingThreshold: values['event_system.load_shedding_threshold'],
    maxRetries: values['event_system.max_retries'],
    backoff: {
      initialDelayMs: values['event_system.backoff_initial_delay'],
      maxDelayMs: values['event_system.backoff_max_delay'],
      multiplier: values['event_system.backoff_multiplier'],
      jitter: values['event_system.backoff_jitter'],
    },
    listener: {
      enabled: values['event_system.listener.enabled'],
      batchProcessing: values['event_system.listener.batch_processing'],
      connectionTimeoutMs: values['event_system.listener.connection_timeout'],
    },
    fallbackPoller: {
      enabled: values['event_system.fallback_poller.enabled'],
      pollingIntervalMs: values['event_system.fallback_poller.polling_interval'],
      batchSize: values['event_system.fallback_poller.batch_size'],
      visibilityTimeoutMs: values['event_system.fallback_poller.visibility_timeout'],
      ageThresholdMs: values['event_system.fallback_poller.age_threshold'],
      maxAgeMs: values['event_system.fallback_poller.max_age'],
    },
  };
}

function eventsOf(values: Values): EventsConfig {
  return {
    enabled: values['events.enabled'],
    defaultDelivery: values['events.default_delivery'],
    fireAndForget: {
      bufferSize: values['events.fire_and_forget.buffer_size'],
      overflowStrategy: values['events.fire_and_forget.overflow_strategy'],
    },
    durable: {
      visibilityTimeoutMs: values['events.durable.visibility_timeout'],
      maxDeliveryAttempts: values['events.durable.max_delivery_attempts'],
      dlqEnabled: values['events.durable.dlq_enabled'],
      dlqRetentionMs: values['events.durable.dlq_retention_days'],
    },
    metrics: {
      enabled: values['events.metrics.enabled'],
      histogramBuckets: values['events.metrics.histogram_buckets'],
    },
  };
}

function workflowsOf(values: Values): WorkflowsConfig {
  return {
    runsHeldMax: values['workflows.runs_held_max'],
    residencyMs: values['workflows.residency'],
    retentionMs: values['workflows.retention'],
    stalenessSweepIntervalMs: values['workflows.staleness_sweep_interval'],
    stalenessBatchSize: values['workflows.staleness_batch_size'],
    lifecycle: {
      maxDurationMinutes: values['workflows.lifecycle.max_duration_minutes'],
      maxWaitingForDependenciesMinutes:
        values['workflows.lifecycle.max_waiting_for_dependencies_minutes'],
      maxWaitingForRetryMinutes: values['workflows.lifecycle.max_waiting_for_retry_minutes'],
      maxStepsInProcessMinutes: values['workflows.lifecycle.max_steps_in_process_minutes'],
      stalenessAction: values['workflows.lifecycle.staleness_action'],
      autoFailOnTimeout: values['workflows.lifecycle.auto_fail_on_timeout'],
      autoDlqOnTimeout: values['workflows.lifecycle.auto_dlq_on_timeout'],
    },
  };
}

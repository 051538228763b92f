/**
 * Every key of the configuration: its path, kind, default and what it does. The files under
 * config/millrace/base, the table in docs/configuration.md and the checks are made from this list.
 */
import { sharedTopicDefault } from '../brokers/topics.ts';
import { deliveryDefault, deliveryModes } from '../core/workflow/domain-event.ts';
import {
  bounds,
  dayMs,
  duration,
  durationOrNever,
  fraction,
  type Key,
  oneOf,
  optionalText,
  text,
  texts,
  toggle,
  whole,
} from './kinds.ts';

const systemModes = ['Hybrid', 'EventDrivenOnly', 'PollingOnly', 'Disabled'] as const;
const wakerModes = ['Hybrid', 'EventDrivenOnly', 'PollingOnly'] as const;
const weekMinutes = 10_080;

const eventSystem = {
  'event_system.system_id': text('worker-event-system', 'Name of the system in status and logs.'),
  'event_system.deployment_mode': oneOf(
    systemModes,
    'Hybrid',
    'Which paths find step messages; it can be switched while running.',
  ),
  'event_system.supported_namespaces': texts(
    [],
    'Namespaces to work on; empty: those that the program names.',
  ),
  'event_system.health_monitoring_enabled': toggle(true, 'Check the health now and then.'),
  'event_system.health_check_interval': duration('30s', 'How often the health is checked.', {
    least: '10ms',
    most: '1d',
  }),
  'event_system.max_consecutive_errors': whole(
    10,
    'So many failures in a row make the system unhealthy.',
    { least: 1, most: 1_000_000 },
  ),
  'event_system.error_rate_threshold_per_minute': whole(
    20,
    'More failures in a minute make the system degraded.',
    { least: 1, most: 1_000_000_000 },
  ),
  'event_system.max_concurrent_processors': whole(
    10,
    'Step messages at work at the same time, in each namespace.',
    { least: 1, most: 10_000 },
  ),
  'event_system.processing_timeout': duration(
    '100ms',
    'How long an event waits for a place with the processor before it is shed.',
    { least: '1ms', most: '1h' },
  ),
  'event_system.buffer_size': whole(1_000, 'Notifications that wait for the processor at most.', {
    least: 1,
    most: 1_000_000,
  }),
  'event_system.load_shedding_threshold': fraction(
    0.8,
    'From this share of the buffer on, events are shed; their messages stay in the queue.',
    { least: 0.01, most: 1 },
  ),
  'event_system.max_retries': whole(3, 'Further tries of a step message that failed.', {
    most: 1_000,
  }),
  'event_system.backoff_initial_delay': duration('100ms', 'Before the first further try.', {
    most: '7d',
  }),
  'event_system.backoff_max_delay': duration('10s', 'Between two tries at most.', { most: '7d' }),
  'event_system.backoff_multiplier': fraction(2, 'Each delay is so many times the one before.', {
    least: 1,
    most: 100,
  }),
  'event_system.backoff_jitter': fraction(0.1, 'Share of a delay that is left to chance.', {}),
  'event_system.listener.enabled': toggle(true, 'Hear of messages by notices.'),
  'event_system.listener.batch_processing': toggle(
    true,
    'Notices of one queue that gather become one event.',
  ),
  'event_system.listener.connection_timeout': duration(
    '10s',
    'A listener that is not connected for so long makes the system degraded.',
    { least: '10ms', most: '1d' },
  ),
  'event_system.fallback_poller.enabled': toggle(true, 'Look for messages now and then.'),
  'event_system.fallback_poller.polling_interval': duration('5s', 'How often it looks.', {
    least: '1ms',
    most: '1d',
  }),
  'event_system.fallback_poller.batch_size': whole(10, 'Messages of one look at most.', {
    least: 1,
    most: 1_000,
  }),
  'event_system.fallback_poller.visibility_timeout': duration(
    '30s',
    'A try that takes longer has failed, and its message can be seen again.',
    { least: '10ms', most: '1d' },
  ),
  'event_system.fallback_poller.age_threshold': duration(
    '0s',
    'Only messages that have waited for so long are polled.',
    { most: '365d' },
  ),
  'event_system.fallback_poller.max_age': durationOrNever(
    '24h',
    'Older messages are not run but put aside, as dead letters.',
    { least: '10ms' },
  ),
} as const;

const events = {
  'events.enabled': toggle(true, 'Publish domain events.'),
  'events.default_delivery': oneOf(
    deliveryModes,
    deliveryDefault,
    'Delivery of events whose declarations say nothing about it.',
  ),
  'events.fire_and_forget.buffer_size': whole(1_000, 'Events that wait for their handlers.', {
    least: 1,
    most: 10_000_000,
  }),
  'events.fire_and_forget.overflow_strategy': oneOf(
    ['drop_oldest', 'drop_newest', 'block'],
    'drop_oldest',
    'What happens when the buffer is full.',
  ),
  'events.durable.visibility_timeout': duration(
    30,
    'A handler that takes longer has failed; a bare number counts seconds.',
    { least: '10ms', most: '1d', bareMs: 1_000 },
  ),
  'events.durable.max_delivery_attempts': whole(3, 'Tries of a handler in all.', {
    least: 1,
    most: 1_000,
  }),
  'events.durable.dlq_enabled': toggle(true, 'Keep what failed for good as dead letters.'),
  'events.durable.dlq_retention_days': duration(7, 'How long dead letters are kept, in days.', {
    bareMs: dayMs,
  }),
  'events.metrics.enabled': toggle(true, 'Measure the delivery of events.'),
  'events.metrics.histogram_buckets': bounds(
    [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0],
    'Bounds of the delivery histogram, in seconds.',
  ),
} as const;

const telemetry = {
  'telemetry.enabled': toggle(false, 'Send traces and metrics.', {
    variables: ['TELEMETRY_ENABLED'],
  }),
  'telemetry.otlp_endpoint': optionalText(
    'Where OTLP over HTTP goes to, port 4318 of a collector; not set: nothing is sent.',
    { variables: ['OTEL_EXPORTER_OTLP_ENDPOINT'] },
  ),
  'telemetry.otlp_headers': optionalText('Headers of the exporter, as `name=value,name=value`.', {
    variables: ['OTEL_EXPORTER_OTLP_HEADERS'],
    secret: true,
  }),
  'telemetry.service_name': text('millrace', 'Name of this service in traces.', {
    variables: ['OTEL_SERVICE_NAME'],
  }),
  'telemetry.deployment_environment': text('development', 'Where this service runs.', {
    variables: ['DEPLOYMENT_ENVIRONMENT'],
  }),
  'telemetry.sample_ratio': fraction(1, 'Share of the traces begun here that are kept.', {
    variables: ['OTEL_TRACES_SAMPLER_ARG'],
  }),
  'telemetry.metric_export_interval': duration('60s', 'How often metrics are sent.', {
    least: '100ms',
    most: '1d',
    bareMs: 1,
    variables: ['OTEL_METRIC_EXPORT_INTERVAL'],
  }),
} as const;

const workflows = {
  'workflows.runs_held_max': whole(500, 'Runs that a process holds at the same time.', {
    least: 1,
    most: 1_000_000,
  }),
  'workflows.residency': duration('5s', 'How long a run with nothing to do stays in memory.', {
    most: '1d',
  }),
  'workflows.retention': durationOrNever('7d', 'How long runs that have ended are kept.'),
  'workflows.staleness_sweep_interval': duration('300s', 'How often stale runs are looked for.', {
    least: '10ms',
    most: '1d',
  }),
  'workflows.staleness_batch_size': whole(100, 'Runs of one sweep at most.', {
    least: 1,
    most: 10_000,
  }),
  'workflows.lifecycle.max_duration_minutes': whole(1_440, 'A run that is open longer is stale.', {
    least: 1,
    most: 43_200,
  }),
  'workflows.lifecycle.max_waiting_for_dependencies_minutes': whole(
    60,
    'Longer in waiting_for_dependencies is stale.',
    { least: 1, most: weekMinutes },
  ),
  'workflows.lifecycle.max_waiting_for_retry_minutes': whole(
    30,
    'Longer in waiting_for_retry is stale.',
    { least: 1, most: weekMinutes },
  ),
  'workflows.lifecycle.max_steps_in_process_minutes': whole(
    30,
    'Longer in steps_in_process is stale.',
    { least: 1, most: weekMinutes },
  ),
  'workflows.lifecycle.staleness_action': oneOf(['dlq'], 'dlq', 'What becomes of a stale run.'),
  'workflows.lifecycle.auto_fail_on_timeout': toggle(false, 'A stale run fails.'),
  'workflows.lifecycle.auto_dlq_on_timeout': toggle(true, 'A stale run is investigated.'),
} as const;

const jobs = {
  'jobs.mode': oneOf(wakerModes, 'Hybrid', 'Which wakers find jobs.'),
  'jobs.concurrency': whole(10, 'Handlers at work at the same time, for each queue.', {
    least: 1,
    most: 10_000,
  }),
  'jobs.heartbeat': duration('1s', 'How often a worker says that it lives.', {
    least: '10ms',
    most: '1h',
  }),
  'jobs.time_to_live': duration('5s', 'A worker silent for so long is dead.', {
    least: '100ms',
    most: '1d',
  }),
  'jobs.grace': duration('30s', 'How long a stop waits for handlers.', { most: '1d' }),
  'jobs.crashes_max': whole(3, 'A job that saw so many workers die is quarantined.', {
    least: 1,
    most: 1_000,
  }),
  'jobs.poll_least': duration('50ms', 'How often queues are looked at without notices.', {
    least: '1ms',
    most: '1d',
  }),
  'jobs.poll_most': duration('1s', 'How often queues are looked at beside notices.', {
    least: '1ms',
    most: '1d',
  }),
  'jobs.batch_max': whole(2_000, 'Jobs of one exchange with the store at most.', {
    least: 1,
    most: 100_000,
  }),
  'jobs.buffer_max': whole(20_000, 'Jobs accepted and not yet durable at most.', {
    least: 1,
    most: 10_000_000,
  }),
  'jobs.retention': durationOrNever('7d', 'How long finished jobs are kept.'),
} as const;

const store = {
  'store.url': optionalText('A Postgres server of your own; not set: the embedded one.', {
    variables: ['MILLRACE_URL'],
    secret: true,
  }),
  'store.data': text('.millrace', 'Directory of the embedded Postgres.', {
    variables: ['MILLRACE_DATA'],
  }),
  'store.connections_max': whole(12, 'Connections of a process at most.', {
    least: 3,
    most: 1_000,
  }),
} as const;

const log = {
  'log.retention': durationOrNever(
    'never',
    'How long events stay in the log after they were stored; what a group still needs stays.',
    { least: '1m' },
  ),
} as const;

const broker = {
  'broker.url': optionalText(
    'A broker that carries the events, such as `kafka://host:9092`; not set: the log does.',
    { variables: ['MILLRACE_BROKER', 'MILLRACE_BROKER_URL'], secret: true },
  ),
  'broker.username': optionalText('Over that of the URL.', {
    variables: ['MILLRACE_BROKER_USERNAME'],
  }),
  'broker.password': optionalText('Over that of the URL.', {
    variables: ['MILLRACE_BROKER_PASSWORD'],
    secret: true,
  }),
  'broker.topic': text(
    sharedTopicDefault,
    'Where events go: one topic, or one for each `{tenant}`.',
    { variables: ['MILLRACE_BROKER_TOPIC'] },
  ),
  'broker.group': text('millrace', 'Processes of one name share what the broker brings.', {
    variables: ['MILLRACE_BROKER_GROUP'],
  }),
  'broker.member_id': optionalText('A stable name of this process, for quick restarts.', {
    variables: ['MILLRACE_BROKER_MEMBER_ID'],
  }),
  'broker.client_id': optionalText("How the broker's own tools call this process."),
  'broker.source': text('millrace', 'CloudEvents source of what is published.'),
  'broker.create_topics': toggle(true, 'Make topics that are missing.'),
  'broker.replicas': whole(0, "Copies of a topic that is made; 0: the broker's default.", {
    most: 100,
  }),
  'broker.retention': durationOrNever(
    'never',
    'How long messages of a topic that is made are kept; "never": the broker\'s default.',
    { least: '1s' },
  ),
  'broker.from': oneOf(
    ['start', 'end'],
    'end',
    'Where a relay begins that was never there: with all of the log, or with what comes.',
  ),
  'broker.patience': durationOrNever(
    'never',
    'How long groups wait for a broker that is away before they read the log.',
  ),
  'broker.lag_max': whole(0, 'Refuse to publish while the broker lags by more; 0: never.', {}),
  'broker.batch_max': whole(1_000, 'Events of one publish at most.', { least: 1, most: 10_000 }),
  'broker.buffer_max': whole(5_000, 'Events of a partition kept for a slow group.', {
    least: 10,
    most: 1_000_000,
  }),
  'broker.gap': duration('2s', 'What the broker has not brought by then is read from the log.', {
    least: '10ms',
    most: '10m',
  }),
} as const;

export const keys = {
  ...eventSystem,
  ...events,
  ...telemetry,
  ...workflows,
  ...jobs,
  ...store,
  ...log,
  ...broker,
};
export type KeyPath = keyof typeof keys;
export type Values = {
  readonly [Path in KeyPath]: (typeof keys)[Path] extends Key<infer Value> ? Value : never;
};

export const keyPaths = Object.keys(keys) as readonly KeyPath[];

/** The file under config/millrace/base that a section stands in, by the first word of its path. */
export const fileOfSection: Readonly<Record<string, string>> = {
  event_system: 'worker.toml',
  events: 'events.toml',
  telemetry: 'telemetry.toml',
  workflows: 'workflows.toml',
  jobs: 'jobs.toml',
  store: 'store.toml',
  log: 'log.toml',
  broker: 'broker.toml',
};

export function keyAt(path: string): Key | undefined {
  return Object.hasOwn(keys, path) ? (keys[path as KeyPath] as Key) : undefined;
}

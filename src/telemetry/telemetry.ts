/**
 * Tier 1 switched on: an observer for the engine, instruments that report its plain numbers, and
 * the exporters. `startTelemetry` makes one for a platform; without it nothing of this is loaded
 * and nothing is counted.
 */
import type { Meter, Observable, ObservableResult } from '@opentelemetry/api';
import type { TaskState } from '../core/workflow/states.ts';
import { domainEventMetricNames, type ReportHandled } from '../events/domain/metrics.ts';
import type { Tracing } from '../ports/tracing.ts';
import type { RunObserver } from '../workflows/run/observer.ts';
import { type Exporter, globalExporter, startExporter } from './export.ts';
import type { CounterName, GaugeName } from './mapping.ts';
import { systemEventTelemetry } from './mapping.ts';
import { Recorder } from './recorder.ts';
import type { TelemetrySettings } from './settings.ts';
import { createTracing } from './tracing.ts';

/** Numbers that are read when somebody collects. */
export interface TelemetrySources {
  readonly workerId: string;
  /** Runs by state, of all processes. */
  taskCounts(): Promise<ReadonlyMap<TaskState, number>>;
  /** Plain numbers of the rest of this process; names as metrics have them. */
  totals(): readonly (readonly [
    name: string,
    labels: Readonly<Record<string, string>>,
    value: number,
  ])[];
  /** How far the broker is behind the log; left out without one. */
  readonly relayLag?: (() => Promise<readonly RelayLagReading[]>) | null;
}

export interface RelayLagReading {
  readonly partition: number;
  readonly events: number;
  readonly seconds: number;
}

export interface Telemetry {
  readonly observer: RunObserver;
  readonly recorder: Recorder;
  readonly tracing: Tracing;
  /** A handler of a domain event took so long. */
  readonly eventHandled: ReportHandled;
  /** @throws MillraceError NOT_FOUND with `useGlobal`: the application's SDK has the numbers. */
  prometheus(): Promise<string>;
  flush(): Promise<void>;
  close(): Promise<void>;
}

const waiting: readonly TaskState[] = ['waiting_for_dependencies', 'waiting_for_retry'];
const active: readonly TaskState[] = [
  'initializing',
  'enqueuing_steps',
  'steps_in_process',
  'evaluating_results',
];

export async function startTelemetry(
  settings: TelemetrySettings,
  sources: TelemetrySources,
): Promise<Telemetry> {
  const exporter = settings.useGlobal ? globalExporter() : await startExporter(settings);
  const { recorder, eventHandled, readings } = instrument(exporter, settings.buckets, sources);
  return {
    observer: recorder,
    recorder,
    tracing: createTracing(exporter.tracer),
    eventHandled,
    prometheus: () => exporter.prometheus(),
    flush: () => exporter.flush(),
    async close() {
      await exporter.close();
      readings.stop();
    },
  };
}

/** Makes all instruments. `buckets`: bounds of histograms in seconds. */
function instrument(
  { tracer, meter }: Exporter,
  buckets: readonly number[],
  sources: TelemetrySources,
) {
  const seconds = { unit: 's', advice: { explicitBucketBoundaries: [...buckets] } };
  const ofState = meter.createHistogram('tasker.task.state_duration', seconds);
  const ofTask = meter.createHistogram('tasker.task.completion_duration', seconds);
  const ofStep = meter.createHistogram('tasker.step.execution.duration', seconds);
  const ofEvent = meter.createHistogram(domainEventMetricNames.handlerSeconds, seconds);
  const recorder = new Recorder({
    tracer,
    workerId: sources.workerId,
    durations: {
      state: (value, labels) => ofState.record(value, labels),
      task: (value, labels) => ofTask.record(value, labels),
      step: (value, labels) => ofStep.record(value, labels),
    },
  });
  const readings = new Readings(meter);
  reportCounters(readings, recorder);
  reportGauges(readings, recorder, sources);
  reportTotals(readings, sources);
  reportLag(readings, sources);
  const eventHandled: ReportHandled = (delivery, value) => ofEvent.record(value, { delivery });
  return { recorder, eventHandled, readings };
}

type LagGaugeName = `millrace.broker.relay_lag.${'events' | 'seconds'}`;
type Read = (result: ObservableResult) => Promise<void> | void;

/** What is read when somebody collects. A meter of the application outlives the platform. */
class Readings {
  readonly #meter: Meter;
  readonly #stops: (() => void)[] = [];

  constructor(meter: Meter) {
    this.#meter = meter;
  }

  counter(name: string, read: Read): void {
    this.#add(this.#meter.createObservableCounter(name), read);
  }
  gauge(name: GaugeName | LagGaugeName, read: Read): void {
    this.#add(this.#meter.createObservableGauge(name), read);
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop();
  }

  #add(observable: Observable, read: Read): void {
    observable.addCallback(read);
    this.#stops.push(() => observable.removeCallback(read));
  }
}

const counterNames: readonly string[] = [
  ...new Set<CounterName>(Object.values(systemEventTelemetry).flatMap((one) => one.counters)),
  'tasker.task.state_transitions.total',
  'tasker.step.state_transitions.total',
];

function reportCounters(readings: Readings, { counters }: Recorder): void {
  for (const name of counterNames) {
    readings.counter(name, (result) => {
      for (const { labels, value } of counters.of(name)) result.observe(value, labels);
    });
  }
}

function reportGauges(readings: Readings, recorder: Recorder, sources: TelemetrySources): void {
  readings.gauge('tasker.steps.ready', (result) => result.observe(recorder.readySteps));
  // One reading for the three of them, of all processes: what rests is held by none.
  let asked: Promise<ReadonlyMap<TaskState, number>> | null = null;
  const counts = () => {
    asked ??= sources.taskCounts().finally(() => setImmediate(() => (asked = null)));
    return asked;
  };
  const sum = (name: GaugeName, states: readonly TaskState[]) =>
    readings.gauge(name, async (result) => {
      const known = await counts();
      result.observe(states.reduce((total, state) => total + (known.get(state) ?? 0), 0));
    });
  sum('tasker.tasks.active', active);
  sum('tasker.tasks.waiting', waiting);
  sum('tasker.tasks.blocked', ['blocked_by_failures']);
}

/** How far the broker is behind the log; of all processes, so one of them need report it. */
function reportLag(readings: Readings, { relayLag }: TelemetrySources): void {
  if (!relayLag) return;
  for (const what of ['events', 'seconds'] as const) {
    readings.gauge(`millrace.broker.relay_lag.${what}`, async (result) => {
      for (const lag of await relayLag()) {
        result.observe(lag[what], { partition: String(lag.partition) });
      }
    });
  }
}

/** The sources name all that they will ever report, with zeros at first. */
function reportTotals(readings: Readings, sources: TelemetrySources): void {
  const known = new Set<string>();
  const report = (name: string) => {
    known.add(name);
    readings.counter(name, (result) => {
      for (const [other, labels, value] of sources.totals()) {
        if (other === name) result.observe(value, labels);
      }
    });
  };
  for (const [name] of sources.totals()) if (!known.has(name)) report(name);
}

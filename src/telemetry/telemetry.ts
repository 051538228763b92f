/**
 * Tier 1 switched on: an observer for the engine, instruments that report its plain numbers, and
 * the exporters. `startTelemetry` makes one for a platform; without it nothing of this is loaded
 * and nothing is counted.
 */
import type { Meter, ObservableResult } from '@opentelemetry/api';
import type { TaskState } from '../core/workflow/states.ts';
import type { Tracing } from '../ports/tracing.ts';
import type { RunObserver } from '../workflows/run/observer.ts';
import { type Exporter, startExporter } from './export.ts';
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
}

export interface Telemetry {
  readonly observer: RunObserver;
  readonly recorder: Recorder;
  readonly tracing: Tracing;
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
  const exporter = await startExporter(settings);
  const recorder = instrument(exporter, sources);
  return {
    observer: recorder,
    recorder,
    tracing: createTracing(exporter.tracer),
    prometheus: () => exporter.prometheus(),
    flush: () => exporter.flush(),
    close: () => exporter.close(),
  };
}

/** For whoever has an SDK of their own: reports to its meter and tracer. */
export function instrument(
  { tracer, meter }: Pick<Exporter, 'tracer' | 'meter'>,
  sources: TelemetrySources,
): Recorder {
  const seconds = { unit: 's' };
  const ofState = meter.createHistogram('tasker.task.state_duration', seconds);
  const ofTask = meter.createHistogram('tasker.task.completion_duration', seconds);
  const ofStep = meter.createHistogram('tasker.step.execution.duration', seconds);
  const recorder = new Recorder({
    tracer,
    workerId: sources.workerId,
    durations: {
      state: (value, labels) => ofState.record(value, labels),
      task: (value, labels) => ofTask.record(value, labels),
      step: (value, labels) => ofStep.record(value, labels),
    },
  });
  reportCounters(meter, recorder);
  reportGauges(meter, recorder, sources);
  reportTotals(meter, sources);
  return recorder;
}

const counterNames: readonly string[] = [
  ...new Set<CounterName>(Object.values(systemEventTelemetry).flatMap((one) => one.counters)),
  'tasker.task.state_transitions.total',
  'tasker.step.state_transitions.total',
];

function reportCounters(meter: Meter, { counters }: Recorder): void {
  for (const name of counterNames) {
    meter.createObservableCounter(name).addCallback((result) => {
      for (const { labels, value } of counters.of(name)) result.observe(value, labels);
    });
  }
}

function reportGauges(meter: Meter, recorder: Recorder, sources: TelemetrySources): void {
  const gauge = (name: GaugeName, read: (result: ObservableResult) => Promise<void> | void) =>
    meter.createObservableGauge(name).addCallback(read);
  gauge('tasker.steps.ready', (result) => result.observe(recorder.readySteps));
  // One reading for the three of them, of all processes: what rests is held by none.
  let asked: Promise<ReadonlyMap<TaskState, number>> | null = null;
  const counts = () => {
    asked ??= sources.taskCounts().finally(() => setImmediate(() => (asked = null)));
    return asked;
  };
  const sum = (name: GaugeName, states: readonly TaskState[]) =>
    gauge(name, async (result) => {
      const known = await counts();
      result.observe(states.reduce((total, state) => total + (known.get(state) ?? 0), 0));
    });
  sum('tasker.tasks.active', active);
  sum('tasker.tasks.waiting', waiting);
  sum('tasker.tasks.blocked', ['blocked_by_failures']);
}

/** The sources name all that they will ever report, with zeros at first. */
function reportTotals(meter: Meter, sources: TelemetrySources): void {
  const known = new Set<string>();
  const report = (name: string) => {
    known.add(name);
    meter.createObservableCounter(name).addCallback((result) => {
      for (const [other, labels, value] of sources.totals()) {
        if (other === name) result.observe(value, labels);
      }
    });
  };
  for (const [name] of sources.totals()) if (!known.has(name)) report(name);
}

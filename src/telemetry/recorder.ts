/**
 * Turns what happens to runs into telemetry, by the table of mapping.ts. It is told after the fact
 * (a transition is durable when it comes here), keeps plain numbers, and adds span events only
 * where a trace is recorded. Nothing here can fail a run, and developers cannot hook into it.
 */
import { type Attributes, context, type Span, type Tracer } from '@opentelemetry/api';
import type { RunChange, StepRecord } from '../core/workflow/run-record.ts';
import { isEnd, type StepState, type TaskState } from '../core/workflow/states.ts';
import { moments, type SystemEventName } from '../core/workflow/system-events.ts';
import { transition } from '../core/workflow/transitions.ts';
import type { RunInfo } from '../ports/workflows.ts';
import type { LetGo, ObservedRun, RunObserver } from '../workflows/run/observer.ts';
import { Counters, type Labels } from './counters.ts';
import { type CounterName, extraLabels, systemEventTelemetry } from './mapping.ts';
import { TaskSpans } from './task-spans.ts';

export interface Durations {
  /** Seconds a run was in a state. */
  state(seconds: number, labels: Labels): void;
  /** Seconds from the start of a run to its end. */
  task(seconds: number, labels: Labels): void;
  /** Seconds of one try of a step. */
  step(seconds: number, labels: Labels): void;
}

export interface RecorderOptions {
  readonly tracer: Tracer;
  readonly workerId: string;
  readonly durations: Durations;
}

export class Recorder implements RunObserver {
  readonly counters = new Counters();
  readonly #spans: TaskSpans;
  readonly #durations: Durations;
  /** Since when a run is in its state, and when it was stored. */
  readonly #since = new Map<string, number>();
  /** Code of the error of the step that failed last, by run. */
  readonly #failures = new Map<string, string>();
  #ready = 0;

  constructor({ tracer, workerId, durations }: RecorderOptions) {
    this.#spans = new TaskSpans(tracer, workerId);
    this.#durations = durations;
  }

  /** Steps of runs held here that may run and have not begun. */
  get readySteps(): number {
    return this.#ready;
  }

  get openSpans(): number {
    return this.#spans.open;
  }

  /** A run was stored by this process; whoever holds it begins its span. */
  readonly created = (info: RunInfo): void => {
    for (const name of moments.run_created) {
      for (const counter of systemEventTelemetry[name].counters) {
        this.counters.add(counter, { namespace: info.namespace });
      }
    }
  };

  readonly held = ({ info, record }: ObservedRun): void => {
    const { span } = this.#spans.task(info, record.seq === 0 ? info.startedAt : Date.now());
    if (record.seq > 0) {
      this.#since.set(info.runId, record.stateSince);
      return;
    }
    for (const name of moments.run_created) span.addEvent(name, {}, info.startedAt);
  };

  readonly letGo = ({ info }: ObservedRun, how: LetGo): void => {
    if (how === 'ended') return; // its last transition said so
    this.#since.delete(info.runId);
    this.#failures.delete(info.runId);
    this.#spans.endTask(info.runId, Date.now(), { failure: null, how });
  };

  readonly stepCreated = ({ info }: ObservedRun, step: StepRecord, { at }: RunChange): void => {
    for (const name of moments.step_created) this.#emit(name, info, step, at);
  };

  readonly transition = (
    { info }: ObservedRun,
    step: StepRecord | null,
    from: TaskState | StepState,
    to: TaskState | StepState,
    { at }: RunChange,
  ): void => {
    const machine = step === null ? 'task' : 'step';
    const moment = step === null ? 'before_task_transition' : 'before_step_transition';
    for (const name of moments[moment]) this.#emit(name, info, step, at, from, to);
    const row = transition(machine, from, to);
    for (const name of row?.systemEvents ?? []) this.#emit(name, info, step, at, from, to);
    this.counters.add(`tasker.${machine}.state_transitions.total`, { from, to });
    if (step === null) this.#moveTask(info, from as TaskState, to as TaskState, at);
    else this.#moveStep(info, step, from as StepState, to as StepState, at);
  };

  /** The step's span is active in its handler. The run may be held by another process. */
  readonly handler = <T>(
    { info }: ObservedRun,
    step: StepRecord,
    attempt: number,
    call: () => T,
  ): T => {
    const at = Date.now();
    const handling = this.#spans.handler(info, step, attempt, at);
    for (const name of handlerBegins) {
      this.#count(name, info, step);
      note(handling.span, name, info, step, at);
    }
    const from = performance.now();
    const done = (failure: string | null) => {
      const seconds = (performance.now() - from) / 1000;
      this.#durations.step(seconds, { namespace: info.namespace, step_name: stepLabel(step) });
      handling.end(failure);
    };
    const failed = (error: unknown) => done(error instanceof Error ? error.message : String(error));
    try {
      const result = context.with(handling.context, call);
      if (result instanceof Promise) result.then(() => done(null), failed);
      else done(null);
      return result;
    } catch (error) {
      failed(error);
      throw error;
    }
  };

  #emit(
    name: SystemEventName,
    info: RunInfo,
    step: StepRecord | null,
    at: number,
    from?: string,
    to?: string,
  ): void {
    if (name === 'step.failed') this.#failures.set(info.runId, step?.error?.code ?? 'none');
    this.#count(name, info, step);
    if (name === 'step.execution_requested' && step) this.#spans.step(info, step, at);
    const span = this.#spanOf(systemEventTelemetry[name].span, info, step, at);
    const moved = from === undefined ? {} : { 'tasker.state.from': from, 'tasker.state.to': to };
    note(span, name, info, step, at, moved);
  }

  #count(name: SystemEventName, info: RunInfo, step: StepRecord | null): void {
    const failure = this.#failures.get(info.runId) ?? 'none';
    for (const counter of systemEventTelemetry[name].counters) {
      this.counters.add(counter, labelsOf(counter, info, step, failure));
    }
  }

  #spanOf(where: 'task' | 'step', info: RunInfo, step: StepRecord | null, at: number): Span {
    // Before a step begins there is no span of its own.
    const own = where === 'step' && step !== null ? this.#spans.openStep(info, step) : undefined;
    return own ?? this.#spans.task(info, at).span;
  }

  #moveTask(info: RunInfo, from: TaskState, to: TaskState, at: number): void {
    const since = this.#since.get(info.runId) ?? info.startedAt;
    this.#durations.state((at - since) / 1000, { state: from });
    if (!isEnd(to)) {
      this.#since.set(info.runId, at);
      return;
    }
    this.#since.delete(info.runId);
    this.#failures.delete(info.runId);
    this.#durations.task((at - info.startedAt) / 1000, { namespace: info.namespace, state: to });
    const failure = to === 'error' ? `task ${info.namespace}/${info.name} failed` : null;
    this.#spans.endTask(info.runId, at, { failure, how: to });
  }

  #moveStep(info: RunInfo, step: StepRecord, from: StepState, to: StepState, at: number): void {
    if (to === 'enqueued') this.#ready += 1;
    if (from === 'enqueued') this.#ready -= 1;
    if (!tryEnds.has(to)) return;
    const failed = to === 'error' || to === 'waiting_for_retry';
    this.#spans.endStep(info, step, at, failed ? (step.error?.message ?? to) : null);
  }
}

/** Adds an event to a span, if somebody records it. */
function note(
  span: Span,
  name: SystemEventName,
  info: RunInfo,
  step: StepRecord | null,
  at: number,
  more?: Attributes,
): void {
  if (!span.isRecording()) return;
  const attributes = {
    'tasker.correlation_id': info.correlationId,
    ...(step && { 'tasker.step.name': step.name }),
    ...more,
  };
  span.addEvent(name, attributes, at);
}

const handlerBegins = [...moments.before_handle, ...moments.handle];

/** A try of a step is over, and its span with it. */
const tryEnds: ReadonlySet<StepState> = new Set([
  'complete',
  'error',
  'cancelled',
  'resolved_manually',
  'waiting_for_retry',
]);

/** Memo keys of durable functions hold ids, so those steps are counted by their kind. */
function stepLabel(step: StepRecord): string {
  const declared = declaredKinds.has(step.kind);
  return declared ? step.template : step.kind;
}

const declaredKinds: ReadonlySet<string> = new Set([
  'standard',
  'decision',
  'deferred_convergence',
  'batchable',
  'batch_worker',
]);

function labelsOf(
  counter: CounterName,
  info: RunInfo,
  step: StepRecord | null,
  failure: string,
): Labels {
  const { namespace } = info;
  const code = step?.error?.code ?? 'none';
  switch (extraLabels[counter]) {
    case 'step':
      return { namespace, step_name: step === null ? 'none' : stepLabel(step) };
    case 'step error':
      return { namespace, step_name: step === null ? 'none' : stepLabel(step), error_type: code };
    case 'task error':
      return { namespace, error_code: failure };
    default:
      return { namespace };
  }
}

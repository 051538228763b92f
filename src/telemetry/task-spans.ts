/**
 * Spans of runs and steps: `task.orchestration` while this process holds a run, `step.execution`
 * below it for each try of a step. A run that rests and goes on elsewhere has one span for each
 * holding, all in the trace of its `traceparent`. A step that runs here for a run held elsewhere
 * has a span by itself, which nothing keeps.
 */
import {
  type Attributes,
  type Context,
  context,
  type Span,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import type { StepRecord } from '../core/workflow/run-record.ts';
import type { RunInfo } from '../ports/workflows.ts';
import { contextOf } from './propagation.ts';

interface TaskSpan {
  readonly span: Span;
  readonly context: Context;
  readonly steps: Map<number, Span>;
}

/** What a handler runs in. */
export interface HandlerSpan {
  readonly span: Span;
  readonly context: Context;
  /** The handler is over: ends the span unless the step's transitions do. */
  end(failure: string | null): void;
}

export class TaskSpans {
  readonly #tracer: Tracer;
  readonly #workerId: string;
  readonly #tasks = new Map<string, TaskSpan>();

  constructor(tracer: Tracer, workerId: string) {
    this.#tracer = tracer;
    this.#workerId = workerId;
  }

  /** Runs with an open span. */
  get open(): number {
    return this.#tasks.size;
  }

  /** The run's span, begun if there is none. */
  task(info: RunInfo, at: number): TaskSpan {
    const known = this.#tasks.get(info.runId);
    if (known) return known;
    const parent = contextOf(info.traceparent, context.active());
    const attributes = taskAttributes(info, this.#workerId);
    const span = this.#tracer.startSpan(
      'task.orchestration',
      { attributes, startTime: at },
      parent,
    );
    const task = { span, context: trace.setSpan(parent, span), steps: new Map() };
    this.#tasks.set(info.runId, task);
    return task;
  }

  /** The span of the step's present try, begun if there is none. */
  step(info: RunInfo, step: StepRecord, at: number): Span {
    const task = this.task(info, at);
    const known = task.steps.get(step.no);
    if (known) return known;
    const span = this.#tracer.startSpan(
      'step.execution',
      { attributes: stepAttributes(info, step), startTime: at },
      task.context,
    );
    task.steps.set(step.no, span);
    return span;
  }

  /** Undefined while no try of the step is under way. */
  openStep(info: RunInfo, step: StepRecord): Span | undefined {
    return this.#tasks.get(info.runId)?.steps.get(step.no);
  }

  /** The handler's own spans are children of the step's. */
  handler(info: RunInfo, step: StepRecord, attempt: number, at: number): HandlerSpan {
    const task = this.#tasks.get(info.runId);
    if (task === undefined) return this.#handlerElsewhere(info, step, attempt, at);
    const span = this.step(info, step, at);
    return { span, context: trace.setSpan(task.context, span), end: () => {} };
  }

  /** No transition of a run that is held by another process is told here. */
  #handlerElsewhere(info: RunInfo, step: StepRecord, attempt: number, at: number): HandlerSpan {
    const parent = contextOf(info.traceparent, context.active());
    const attributes = {
      ...stepAttributes(info, step),
      'tasker.step.attempt': attempt,
      'tasker.worker_id': this.#workerId,
    };
    const span = this.#tracer.startSpan('step.execution', { attributes, startTime: at }, parent);
    return {
      span,
      context: trace.setSpan(parent, span),
      end: (failure) => end(span, Date.now(), failure),
    };
  }

  endStep(info: RunInfo, step: StepRecord, at: number, failure: string | null): void {
    const steps = this.#tasks.get(info.runId)?.steps;
    const span = steps?.get(step.no);
    if (span === undefined) return;
    steps?.delete(step.no);
    end(span, at, failure);
  }

  /** The run has come to its end here, rests, or is held by another. */
  endTask(runId: string, at: number, outcome: { failure: string | null; how: string }): void {
    const task = this.#tasks.get(runId);
    if (task === undefined) return;
    this.#tasks.delete(runId);
    for (const span of task.steps.values()) span.end(at);
    task.span.setAttribute('tasker.task.outcome', outcome.how);
    end(task.span, at, outcome.failure);
  }
}

/** `failure`: a message; null for none. An operator's cancel is no error of the run. */
function end(span: Span, at: number, failure: string | null): void {
  if (failure === null) span.setStatus({ code: SpanStatusCode.OK });
  else span.setStatus({ code: SpanStatusCode.ERROR, message: failure });
  span.end(at);
}

/** Ids belong into spans, never into labels of metrics. */
export function taskAttributes(info: RunInfo, workerId: string): Attributes {
  return {
    'tasker.task.uuid': info.runId,
    'tasker.task.name': info.name,
    'tasker.task.version': info.version,
    'tasker.namespace': info.namespace,
    'tasker.correlation_id': info.correlationId,
    'tasker.tenant_id': info.tenantId,
    'tasker.worker_id': workerId,
    ...(info.parent && { 'tasker.task.parent_uuid': info.parent.runId }),
  };
}

export function stepAttributes(info: RunInfo, step: StepRecord): Attributes {
  return {
    'tasker.task.uuid': info.runId,
    'tasker.step.name': step.name,
    'tasker.step.type': step.kind,
    'tasker.step.attempt': Math.max(1, step.attempts),
    'tasker.namespace': info.namespace,
    'tasker.correlation_id': info.correlationId,
  };
}

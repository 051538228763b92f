/**
 * What each of the 35 system events becomes: the audit of requirement TAS-65 (1.4) as data. The
 * recorder reads it, docs/telemetry.md prints it, and a test walks every transition against it.
 */
import type { SystemEventName } from '../core/workflow/system-events.ts';

/** Names of the plain counters, without labels. */
export type CounterName =
  | 'tasker.tasks.requests.total'
  | 'tasker.tasks.completions.total'
  | 'tasker.tasks.failures.total'
  | 'tasker.tasks.cancellations.total'
  | 'tasker.tasks.retries.total'
  | 'tasker.tasks.resolutions.total'
  | 'tasker.steps.created.total'
  | 'tasker.steps.enqueued.total'
  | 'tasker.steps.claimed.total'
  | 'tasker.steps.executions.total'
  | 'tasker.steps.results.total'
  | 'tasker.steps.completions.total'
  | 'tasker.steps.successes.total'
  | 'tasker.steps.failures.total'
  | 'tasker.steps.retries.total'
  | 'tasker.steps.cancellations.total'
  | 'tasker.steps.resolutions.total'
  | 'tasker.orchestration.requests.total';

export type GaugeName =
  | 'tasker.tasks.active'
  | 'tasker.tasks.waiting'
  | 'tasker.tasks.blocked'
  | 'tasker.steps.ready';

export interface SystemEventTelemetry {
  /** On which span: the task's or the step's. */
  readonly span: 'task' | 'step';
  /** 'start' and 'end' are also span events, so that nothing has to be inferred. */
  readonly as: 'start' | 'event' | 'end ok' | 'end error' | 'end';
  readonly counters: readonly CounterName[];
  readonly gauge?: GaugeName;
}

const on = (
  span: 'task' | 'step',
  as: SystemEventTelemetry['as'],
  counters: readonly CounterName[] = [],
  gauge?: GaugeName,
): SystemEventTelemetry => Object.freeze({ span, as, counters, ...(gauge && { gauge }) });

export const systemEventTelemetry: Readonly<Record<SystemEventName, SystemEventTelemetry>> =
  Object.freeze({
    'task.initialize_requested': on('task', 'start', ['tasker.tasks.requests.total']),
    'task.start_requested': on('task', 'event', [], 'tasker.tasks.active'),
    'task.completed': on('task', 'end ok', ['tasker.tasks.completions.total']),
    'task.failed': on('task', 'end error', ['tasker.tasks.failures.total']),
    'task.retry_requested': on('task', 'event', ['tasker.tasks.retries.total']),
    'task.cancelled': on('task', 'end', ['tasker.tasks.cancellations.total']),
    'task.resolved_manually': on('task', 'end', ['tasker.tasks.resolutions.total']),
    'task.before_transition': on('task', 'event'),
    'task.steps_discovery_completed': on('task', 'event'),
    'task.steps_enqueued': on('task', 'event'),
    'task.step_results_received': on('task', 'event'),
    'task.awaiting_dependencies': on('task', 'event', [], 'tasker.tasks.waiting'),
    'task.retry_backoff_started': on('task', 'event', [], 'tasker.tasks.waiting'),
    'task.blocked_by_failures': on('task', 'event', [], 'tasker.tasks.blocked'),
    'task.dependencies_satisfied': on('task', 'event'),
    'step.initialize_requested': on('task', 'event', ['tasker.steps.created.total']),
    'step.enqueue_requested': on('task', 'event', ['tasker.steps.enqueued.total']),
    'step.execution_requested': on('step', 'start', ['tasker.steps.claimed.total']),
    'step.before_handle': on('step', 'event'),
    'step.handle': on('step', 'event', ['tasker.steps.executions.total']),
    'step.completed': on('step', 'end ok', [
      'tasker.steps.completions.total',
      'tasker.steps.successes.total',
    ]),
    'step.failed': on('step', 'end error', ['tasker.steps.failures.total']),
    'step.retry_requested': on('step', 'end error', ['tasker.steps.retries.total']),
    'step.cancelled': on('step', 'end', ['tasker.steps.cancellations.total']),
    'step.resolved_manually': on('step', 'end', ['tasker.steps.resolutions.total']),
    'step.before_transition': on('step', 'event'),
    'step.result_submitted': on('step', 'event', ['tasker.steps.results.total']),
    'workflow.task_started': on('task', 'event'),
    'workflow.task_completed': on('task', 'event'),
    'workflow.task_failed': on('task', 'event'),
    'workflow.step_completed': on('task', 'event'),
    'workflow.step_failed': on('task', 'event'),
    'workflow.viable_steps_discovered': on('task', 'event', [], 'tasker.steps.ready'),
    'workflow.no_viable_steps': on('task', 'event'),
    'workflow.orchestration_requested': on('task', 'event', [
      'tasker.orchestration.requests.total',
    ]),
  });

/** Labels of a counter beside the namespace. All have few values: never an id or an input. */
export const extraLabels: Readonly<
  Partial<Record<CounterName, 'step' | 'task error' | 'step error'>>
> = Object.freeze({
  'tasker.tasks.failures.total': 'task error',
  'tasker.steps.completions.total': 'step',
  'tasker.steps.failures.total': 'step error',
  'tasker.steps.retries.total': 'step error',
});

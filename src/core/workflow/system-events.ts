/**
 * The 35 names of Tier 1: what happens inside the engine, told to telemetry and nobody else. Each
 * comes from a transition (its row in `transitions.ts` names it) or from a moment below; a test
 * proves that none is left without a source.
 */

export const taskEventNames = [
  'task.initialize_requested',
  'task.start_requested',
  'task.completed',
  'task.failed',
  'task.retry_requested',
  'task.cancelled',
  'task.resolved_manually',
  'task.before_transition',
  'task.steps_discovery_completed',
  'task.steps_enqueued',
  'task.step_results_received',
  'task.awaiting_dependencies',
  'task.retry_backoff_started',
  'task.blocked_by_failures',
  'task.dependencies_satisfied',
] as const;

export const stepEventNames = [
  'step.initialize_requested',
  'step.enqueue_requested',
  'step.execution_requested',
  'step.before_handle',
  'step.handle',
  'step.completed',
  'step.failed',
  'step.retry_requested',
  'step.cancelled',
  'step.resolved_manually',
  'step.before_transition',
  'step.result_submitted',
] as const;

export const workflowEventNames = [
  'workflow.task_started',
  'workflow.task_completed',
  'workflow.task_failed',
  'workflow.step_completed',
  'workflow.step_failed',
  'workflow.viable_steps_discovered',
  'workflow.no_viable_steps',
  'workflow.orchestration_requested',
] as const;

export const systemEventNames = [
  ...taskEventNames,
  ...stepEventNames,
  ...workflowEventNames,
] as const;
export type SystemEventName = (typeof systemEventNames)[number];

/** What happens beside transitions. The engine knows when, and tells the same observer. */
export const moments = {
  /** A run was stored: its task exists, nothing has begun. */
  run_created: ['task.initialize_requested'],
  /** Steps of a change's `create`: one for each. */
  step_created: ['step.initialize_requested'],
  /** Before each transition of the run, whatever it leads to. */
  before_task_transition: ['task.before_transition'],
  /** Before each transition of a step. */
  before_step_transition: ['step.before_transition'],
  /** The handler of a step is about to be called. */
  before_handle: ['step.before_handle'],
  /** The handler was called. */
  handle: ['step.handle'],
} as const satisfies Readonly<Record<string, readonly SystemEventName[]>>;

/**
 * The names of what a run (task) and its steps can be. `transitions.ts` says which follows which.
 * Histories store places in these lists: names are added at the end and never moved.
 */

/** 12 states of a run. */
export const taskStates = [
  'pending',
  'initializing',
  'enqueuing_steps',
  'steps_in_process',
  'evaluating_results',
  'waiting_for_dependencies',
  'waiting_for_retry',
  'blocked_by_failures',
  'complete',
  'error',
  'cancelled',
  'resolved_manually',
] as const;
export type TaskState = (typeof taskStates)[number];

/** 10 states of a step. */
export const stepStates = [
  'pending',
  'enqueued',
  'in_progress',
  'enqueued_for_orchestration',
  'enqueued_as_error_for_orchestration',
  'waiting_for_retry',
  'complete',
  'error',
  'cancelled',
  'resolved_manually',
] as const;
export type StepState = (typeof stepStates)[number];

export const endStates = ['complete', 'error', 'cancelled', 'resolved_manually'] as const;
export type EndState = (typeof endStates)[number];

export function isEnd(state: TaskState): state is EndState {
  return (endStates as readonly string[]).includes(state);
}

/** Steps that depend on one in such a state may run. */
export function isSatisfied(state: StepState): boolean {
  return state === 'complete' || state === 'resolved_manually';
}

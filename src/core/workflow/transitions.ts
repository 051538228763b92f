/**
 * Which state follows which, by which event, as data. Drivers of runs check every transition here
 * before they ask for it to be stored; the docs, the audit and telemetry read the same rows.
 *
 * A history keeps states, not events, so an event is found by its pair of states: where two rows
 * have the same pair, the first one names it.
 */
import { type StepState, stepStates, type TaskState, taskStates } from './states.ts';
import type { SystemEventName } from './system-events.ts';

/**
 * main: the original's table. legacy: kept by it for older callers. operator: by hand.
 * added: ours; the note says what for.
 */
export type TransitionOrigin = 'main' | 'legacy' | 'operator' | 'added';

export interface TransitionRow<State extends string> {
  readonly from: State;
  readonly event: string;
  readonly to: State;
  readonly origin: TransitionOrigin;
  /** Tier 1 events that it stands for, in this order; `before_transition` precedes all of them. */
  readonly systemEvents: readonly SystemEventName[];
  readonly note: string | null;
}

export type TaskTransition = TransitionRow<TaskState>;
export type StepTransition = TransitionRow<StepState>;

type Line<State> = readonly [
  from: State | readonly State[],
  event: string,
  to: State,
  origin?: TransitionOrigin,
  note?: string,
];

const openTasks: readonly TaskState[] = taskStates.slice(0, taskStates.indexOf('complete'));
const looking = 'workflow.orchestration_requested';

const taskLines: readonly Line<TaskState>[] = [
  ['pending', 'Start', 'initializing'],
  ['initializing', 'ReadyStepsFound', 'enqueuing_steps'],
  ['initializing', 'NoStepsFound', 'complete'],
  ['initializing', 'NoDependenciesReady', 'waiting_for_dependencies'],
  [
    'initializing',
    'PermanentFailure',
    'blocked_by_failures',
    'added',
    'A durable function threw before its first step.',
  ],
  ['enqueuing_steps', 'StepsEnqueued', 'steps_in_process'],
  ['enqueuing_steps', 'EnqueueFailed', 'error'],
  ['steps_in_process', 'AllStepsCompleted', 'evaluating_results'],
  ['steps_in_process', 'StepCompleted', 'evaluating_results'],
  ['steps_in_process', 'StepFailed', 'waiting_for_retry'],
  ['steps_in_process', 'Complete', 'complete', 'legacy'],
  ['steps_in_process', 'Fail', 'error', 'legacy'],
  [
    'steps_in_process',
    'ProcessorCrashed',
    'evaluating_results',
    'added',
    'Declared and unused in the original: whoever takes the run over looks at what is stored.',
  ],
  ['evaluating_results', 'AllStepsSuccessful', 'complete'],
  ['evaluating_results', 'ReadyStepsFound', 'enqueuing_steps'],
  ['evaluating_results', 'NoDependenciesReady', 'waiting_for_dependencies'],
  ['evaluating_results', 'PermanentFailure', 'blocked_by_failures'],
  [
    'evaluating_results',
    'RetryPending',
    'waiting_for_retry',
    'added',
    'The last running step is done while another one waits for its next try.',
  ],
  ['waiting_for_dependencies', 'DependenciesReady', 'evaluating_results'],
  ['waiting_for_retry', 'RetryReady', 'enqueuing_steps'],
  [
    'waiting_for_retry',
    'DependenciesReady',
    'evaluating_results',
    'added',
    'Something else came first: a child ended, an operator resolved the step.',
  ],
  ['blocked_by_failures', 'GiveUp', 'error'],
  ['blocked_by_failures', 'ManualResolution', 'resolved_manually'],
  [
    'blocked_by_failures',
    'FailuresCleared',
    'evaluating_results',
    'added',
    'An operator retried or resolved what had failed; the original had no way on from here.',
  ],
  [openTasks, 'Cancel', 'cancelled'],
  [openTasks, 'ResolveManually', 'resolved_manually', 'legacy'],
  [
    openTasks,
    'Timeout',
    'error',
    'added',
    'Declared and unused in the original: a limit of the lifecycle passed, with' +
      ' auto_fail_on_timeout.',
  ],
  [
    'error',
    'Reset',
    'pending',
    'operator',
    'Listed in the original, where a guard on terminal states made it unreachable.',
  ],
  ['cancelled', 'Reset', 'pending', 'operator', 'Not in the original.'],
];

/** "Any" state of the original: its guard lets nothing leave complete, cancelled and resolved. */
const openSteps: readonly StepState[] = [
  'pending',
  'enqueued',
  'in_progress',
  'enqueued_for_orchestration',
  'enqueued_as_error_for_orchestration',
  'waiting_for_retry',
  'error',
];

const again = "Run again by 'retry from step' or with a run that was reset; not in the original.";

const stepLines: readonly Line<StepState>[] = [
  ['pending', 'Enqueue', 'enqueued'],
  ['enqueued', 'Start', 'in_progress'],
  ['in_progress', 'EnqueueForOrchestration', 'enqueued_for_orchestration'],
  ['in_progress', 'EnqueueAsErrorForOrchestration', 'enqueued_as_error_for_orchestration'],
  ['enqueued_for_orchestration', 'Complete', 'complete'],
  ['enqueued_for_orchestration', 'Fail', 'error'],
  ['enqueued_as_error_for_orchestration', 'WaitForRetry', 'waiting_for_retry'],
  ['enqueued_as_error_for_orchestration', 'Fail', 'error'],
  ['enqueued_as_error_for_orchestration', 'Complete', 'complete'],
  ['waiting_for_retry', 'Retry', 'pending'],
  [['pending', 'enqueued', 'in_progress'], 'WaitForRetry', 'waiting_for_retry'],
  [['pending', 'enqueued', 'in_progress'], 'Fail', 'error'],
  ['pending', 'Start', 'in_progress', 'legacy'],
  ['in_progress', 'Complete', 'complete', 'legacy'],
  [openSteps, 'Cancel', 'cancelled'],
  ['error', 'Retry', 'pending'],
  ['error', 'ResetForRetry', 'pending', 'operator'],
  [openSteps, 'CompleteManually', 'complete', 'operator'],
  [openSteps, 'ResolveManually', 'resolved_manually', 'operator'],
  [['complete', 'cancelled', 'resolved_manually'], 'Reset', 'pending', 'added', again],
];

function taskSystemEvents(from: TaskState, to: TaskState): readonly SystemEventName[] {
  switch (to) {
    case 'pending':
      return ['task.retry_requested'];
    case 'initializing':
      return ['task.start_requested', 'workflow.task_started', looking];
    case 'enqueuing_steps': {
      const found = ['task.steps_discovery_completed', 'workflow.viable_steps_discovered'] as const;
      return from === 'waiting_for_retry' ? ['task.retry_requested', looking, ...found] : found;
    }
    case 'steps_in_process':
      return ['task.steps_enqueued'];
    case 'evaluating_results':
      if (from === 'steps_in_process') return ['task.step_results_received', looking];
      if (from === 'blocked_by_failures') return ['task.retry_requested', looking];
      return ['task.dependencies_satisfied', looking];
    case 'waiting_for_dependencies':
      return ['task.awaiting_dependencies', 'workflow.no_viable_steps'];
    case 'waiting_for_retry':
      return ['task.retry_backoff_started', 'workflow.no_viable_steps'];
    case 'blocked_by_failures':
      return ['task.blocked_by_failures', 'workflow.no_viable_steps'];
    case 'complete':
      return ['task.completed', 'workflow.task_completed'];
    case 'error':
      return ['task.failed', 'workflow.task_failed'];
    case 'cancelled':
      return ['task.cancelled'];
    case 'resolved_manually':
      return ['task.resolved_manually'];
  }
}

function stepSystemEvents(from: StepState, to: StepState): readonly SystemEventName[] {
  switch (to) {
    case 'pending':
      // After its wait the step was announced already, by waiting_for_retry.
      return from === 'waiting_for_retry' ? [] : ['step.retry_requested'];
    case 'enqueued':
      return ['step.enqueue_requested'];
    case 'in_progress':
      return ['step.execution_requested'];
    case 'enqueued_for_orchestration':
    case 'enqueued_as_error_for_orchestration':
      return ['step.result_submitted'];
    case 'waiting_for_retry':
      return ['step.retry_requested'];
    case 'complete': {
      const done = ['step.completed', 'workflow.step_completed'] as const;
      return from === 'in_progress' ? ['step.result_submitted', ...done] : done;
    }
    case 'error':
      return ['step.failed', 'workflow.step_failed'];
    case 'cancelled':
      return ['step.cancelled'];
    case 'resolved_manually':
      return ['step.resolved_manually'];
  }
}

function rowsOf<State extends string>(
  lines: readonly Line<State>[],
  systemEvents: (from: State, to: State) => readonly SystemEventName[],
): readonly TransitionRow<State>[] {
  const rows = lines.flatMap(([from, event, to, origin = 'main', note = null]) =>
    (typeof from === 'string' ? [from] : from).map((one) =>
      Object.freeze({
        from: one,
        event,
        to,
        origin,
        systemEvents: Object.freeze(systemEvents(one, to)),
        note,
      }),
    ),
  );
  return Object.freeze(rows);
}

/** Every transition a run may make, in the order of the docs. */
export const taskTransitions: readonly TaskTransition[] = rowsOf(taskLines, taskSystemEvents);
/** Every transition a step may make. */
export const stepTransitions: readonly StepTransition[] = rowsOf(stepLines, stepSystemEvents);

type Index<State extends string> = ReadonlyMap<State, ReadonlyMap<State, TransitionRow<State>>>;

function indexOf<State extends string>(
  states: readonly State[],
  rows: readonly TransitionRow<State>[],
): Index<State> {
  const index = new Map(states.map((state) => [state, new Map<State, TransitionRow<State>>()]));
  for (const row of rows) {
    const targets = index.get(row.from) as Map<State, TransitionRow<State>>;
    if (!targets.has(row.to)) targets.set(row.to, row);
  }
  return index;
}

const taskIndex = indexOf(taskStates, taskTransitions);
const stepIndex = indexOf(stepStates, stepTransitions);

export type Machine = 'task' | 'step';

/** The row of a pair of states; null: there is no such transition. */
export function transition(
  machine: Machine,
  from: TaskState | StepState,
  to: TaskState | StepState,
): TaskTransition | StepTransition | null {
  const index = (machine === 'task' ? taskIndex : stepIndex) as Index<string>;
  return (index.get(from)?.get(to) ?? null) as TaskTransition | StepTransition | null;
}

/** Name of the event that leads a run from one state to the other; null: none does. */
export function taskEvent(from: TaskState, to: TaskState): string | null {
  return taskIndex.get(from)?.get(to)?.event ?? null;
}

/** The same for a step. */
export function stepEvent(from: StepState, to: StepState): string | null {
  return stepIndex.get(from)?.get(to)?.event ?? null;
}

/**
 * @throws Error when there is no such transition: a bug in whoever asks for it, so it has no code
 * of the closed list. Verbs of people are checked before, and refused with WORKFLOW_STATE.
 */
export function checkTransition(
  machine: Machine,
  from: TaskState | StepState,
  to: TaskState | StepState,
): void {
  if (transition(machine, from, to) !== null) return;
  const allowed = eventsFrom(machine, from).map((row) => `${row.event} → ${row.to}`);
  const rest = allowed.length > 0 ? `only ${allowed.join(', ')}` : 'nothing';
  throw new Error(`Bug: a ${machine} goes from ${from} to ${to}; ${rest} leads out of ${from}.`);
}

/** What may happen next in a state, in the order of the table. */
export function eventsFrom(machine: 'task', from: TaskState): readonly TaskTransition[];
export function eventsFrom(machine: 'step', from: StepState): readonly StepTransition[];
export function eventsFrom(
  machine: Machine,
  from: TaskState | StepState,
): readonly (TaskTransition | StepTransition)[];
export function eventsFrom(
  machine: Machine,
  from: TaskState | StepState,
): readonly (TaskTransition | StepTransition)[] {
  const rows: readonly (TaskTransition | StepTransition)[] =
    machine === 'task' ? taskTransitions : stepTransitions;
  return rows.filter((row) => row.from === from);
}

/** The tables against the original's, against the docs, and against themselves. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { describeStates, drawMachine } from './state-diagrams.ts';
import { isEnd, stepStates, taskStates } from './states.ts';
import { moments, systemEventNames } from './system-events.ts';
import {
  checkTransition,
  eventsFrom,
  stepEvent,
  stepTransitions,
  taskEvent,
  taskTransitions,
  transition,
} from './transitions.ts';

/** As the original has them, one line each: `from event to`. */
const originalTasks = `
pending Start initializing
initializing ReadyStepsFound enqueuing_steps
initializing NoStepsFound complete
initializing NoDependenciesReady waiting_for_dependencies
enqueuing_steps StepsEnqueued steps_in_process
enqueuing_steps EnqueueFailed error
steps_in_process AllStepsCompleted evaluating_results
steps_in_process StepCompleted evaluating_results
steps_in_process StepFailed waiting_for_retry
evaluating_results AllStepsSuccessful complete
evaluating_results ReadyStepsFound enqueuing_steps
evaluating_results NoDependenciesReady waiting_for_dependencies
evaluating_results PermanentFailure blocked_by_failures
waiting_for_dependencies DependenciesReady evaluating_results
waiting_for_retry RetryReady enqueuing_steps
blocked_by_failures GiveUp error
blocked_by_failures ManualResolution resolved_manually
steps_in_process Complete complete
steps_in_process Fail error
error Reset pending`;

const originalSteps = `
pending Enqueue enqueued
enqueued Start in_progress
in_progress EnqueueForOrchestration enqueued_for_orchestration
enqueued_for_orchestration Complete complete
in_progress EnqueueAsErrorForOrchestration enqueued_as_error_for_orchestration
enqueued_as_error_for_orchestration WaitForRetry waiting_for_retry
waiting_for_retry Retry pending
enqueued_as_error_for_orchestration Fail error
enqueued_as_error_for_orchestration Complete complete
enqueued_for_orchestration Fail error
pending WaitForRetry waiting_for_retry
enqueued WaitForRetry waiting_for_retry
in_progress WaitForRetry waiting_for_retry
pending Fail error
enqueued Fail error
in_progress Fail error
pending Start in_progress
in_progress Complete complete
error Retry pending
error ResetForRetry pending`;

const linesOf = (text: string) => text.trim().split('\n');
const textOf = ({ from, event, to }: { from: string; event: string; to: string }) =>
  `${from} ${event} ${to}`;

describe('the tables', () => {
  test('hold every transition of the original', () => {
    const tasks = new Set(taskTransitions.map(textOf));
    assert.deepEqual(
      linesOf(originalTasks).filter((one) => !tasks.has(one)),
      [],
    );
    const steps = new Set(stepTransitions.map(textOf));
    assert.deepEqual(
      linesOf(originalSteps).filter((one) => !steps.has(one)),
      [],
    );
  });

  test('say of everything else that it is not the original', () => {
    const known = new Set([...linesOf(originalTasks), ...linesOf(originalSteps)]);
    const everywhere = ['Cancel', 'ResolveManually', 'CompleteManually'];
    for (const row of [...taskTransitions, ...stepTransitions]) {
      if (known.has(textOf(row)) || everywhere.includes(row.event)) continue;
      assert.ok(['added', 'operator'].includes(row.origin), textOf(row));
      assert.ok(row.note, `${textOf(row)} has no note`);
    }
  });

  test('let every open run be cancelled, resolved and timed out', () => {
    for (const state of taskStates) {
      const open = !isEnd(state);
      assert.equal(taskEvent(state, 'cancelled'), open ? 'Cancel' : null, state);
      const events = eventsFrom('task', state).map(({ event }) => event);
      assert.equal(events.includes('ResolveManually'), open, state);
      assert.equal(events.includes('Timeout'), open, state);
    }
  });

  test('let steps be cancelled and decided by hand in the states of the original', () => {
    for (const state of stepStates) {
      const open = !['complete', 'cancelled', 'resolved_manually'].includes(state);
      assert.equal(stepEvent(state, 'cancelled'), open ? 'Cancel' : null, state);
      assert.equal(stepEvent(state, 'resolved_manually') !== null, open, state);
      const events = eventsFrom('step', state).map(({ event }) => event);
      assert.equal(events.includes('CompleteManually'), open, state);
    }
  });

  test('leave complete and resolved_manually to nobody, and reset what else has ended', () => {
    assert.deepEqual(eventsFrom('task', 'complete'), []);
    assert.deepEqual(eventsFrom('task', 'resolved_manually'), []);
    assert.deepEqual(eventsFrom('task', 'error').map(textOf), ['error Reset pending']);
    assert.deepEqual(eventsFrom('task', 'cancelled').map(textOf), ['cancelled Reset pending']);
  });

  test('name an event by its pair, the main one first', () => {
    assert.equal(taskEvent('steps_in_process', 'evaluating_results'), 'AllStepsCompleted');
    assert.equal(taskEvent('blocked_by_failures', 'error'), 'GiveUp');
    assert.equal(taskEvent('blocked_by_failures', 'resolved_manually'), 'ManualResolution');
    assert.equal(taskEvent('pending', 'complete'), null);
    assert.equal(stepEvent('error', 'pending'), 'Retry');
    assert.equal(stepEvent('in_progress', 'complete'), 'Complete');
    assert.equal(transition('step', 'pending', 'enqueued')?.event, 'Enqueue');
  });

  test('are frozen', () => {
    assert.throws(() => (taskTransitions as unknown[]).push(1), TypeError);
    assert.throws(() => ((taskTransitions[0] as { to: string }).to = 'error'), TypeError);
  });

  test('refuse what is not in them as a bug that says what is', () => {
    checkTransition('task', 'pending', 'initializing');
    assert.throws(
      () => checkTransition('task', 'waiting_for_retry', 'complete'),
      /Bug: a task goes from waiting_for_retry to complete; only RetryReady → enqueuing_/,
    );
    assert.throws(
      () => checkTransition('task', 'complete', 'pending'),
      /; nothing leads out of com/,
    );
    assert.throws(() => checkTransition('step', 'complete', 'in_progress'), /only Reset → pending/);
  });
});

describe('system events', () => {
  test('are 35: 15 of tasks, 12 of steps, 8 of workflows', () => {
    assert.equal(new Set(systemEventNames).size, 35);
    const areas = systemEventNames.map((name) => name.split('.')[0]);
    const count = (area: string) => areas.filter((one) => one === area).length;
    assert.deepEqual([count('task'), count('step'), count('workflow')], [15, 12, 8]);
  });

  test('each come from a transition or a moment', () => {
    const told = new Set<string>([
      ...Object.values(moments).flat(),
      ...taskTransitions.flatMap((row) => row.systemEvents),
      ...stepTransitions.flatMap((row) => row.systemEvents),
    ]);
    assert.deepEqual(
      systemEventNames.filter((name) => !told.has(name)),
      [],
    );
  });

  test('a run that goes well tells them in this order', () => {
    const told = (
      [
        ['pending', 'initializing'],
        ['initializing', 'enqueuing_steps'],
        ['enqueuing_steps', 'steps_in_process'],
        ['steps_in_process', 'evaluating_results'],
        ['evaluating_results', 'complete'],
      ] as const
    ).flatMap(([from, to]): readonly string[] => transition('task', from, to)?.systemEvents ?? []);
    assert.deepEqual(told, [
      'task.start_requested',
      'workflow.task_started',
      'workflow.orchestration_requested',
      'task.steps_discovery_completed',
      'workflow.viable_steps_discovered',
      'task.steps_enqueued',
      'task.step_results_received',
      'workflow.orchestration_requested',
      'task.completed',
      'workflow.task_completed',
    ]);
  });

  test('an end of a run is told by its own name, whatever led to it', () => {
    const names = { complete: 'completed', error: 'failed', cancelled: 'cancelled' } as const;
    for (const { to, systemEvents } of taskTransitions) {
      if (!(to in names)) continue;
      assert.equal(systemEvents[0], `task.${names[to as keyof typeof names]}`);
    }
  });
});

describe('docs/workflow-states.md', () => {
  const text = readFileSync(new URL('../../../docs/workflow-states.md', import.meta.url), 'utf8');

  test('is what the data says', () => assert.equal(text, describeStates()));

  test('has every transition in its tables', () => {
    const rows = [...text.matchAll(/^\| ([^|]+) \| (\w+) \| (\w+) \| (\w+) \|/gm)].flatMap(
      ([, from = '', event, to, origin]) =>
        from.split(', ').map((one) => `${one} ${event} ${to} ${origin}`),
    );
    const wanted = [...taskTransitions, ...stepTransitions].map(
      (row) => `${textOf(row)} ${row.origin}`,
    );
    assert.deepEqual(rows.filter((row) => row !== 'from event to origin').sort(), wanted.sort());
  });

  test('draws every arrow but those that leave every state', () => {
    for (const [machine, rows] of [
      ['task', taskTransitions],
      ['step', stepTransitions],
    ] as const) {
      const drawing = drawMachine(machine);
      for (const { from, to, event } of rows) {
        if (/^(Cancel|ResolveManually|Timeout|CompleteManually)$/.test(event)) continue;
        assert.match(drawing, new RegExp(`^  ${from} --> ${to}: .*\\b${event}\\b`, 'm'));
      }
    }
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RunRecord, type StepKind } from '../../core/workflow/run-record.ts';
import { isEnd, type StepState, type TaskState, taskStates } from '../../core/workflow/states.ts';
import { defaultLifecycle } from '../definition.ts';
import { limitedStates, openStates, stalenessOf } from './lifecycle.ts';

const minute = 60_000;
const now = 1_800_000_000_000;

function run(state: TaskState, minutesInState: number, minutesOpen = minutesInState) {
  return {
    state,
    stateSince: now - minutesInState * minute,
    startedAt: now - minutesOpen * minute,
  };
}

function recordWith(kind: StepKind, state: StepState, paused = false): RunRecord {
  const record = new RunRecord();
  record.apply({
    at: now,
    by: 'w',
    create: [{ name: 's', kind }],
    transitions: [[0, state]],
    ...(paused && { notes: [['paused', '{}']] }),
  });
  return record;
}

const measure = (
  state: TaskState,
  minutes: number,
  open = minutes,
  record: RunRecord | null = null,
) => stalenessOf(run(state, minutes, open), record, defaultLifecycle, now);

test('each limited state has its own limit, with a warning at 80 %', () => {
  const limits = [
    ['waiting_for_dependencies', 60, 'max_waiting_for_dependencies'],
    ['waiting_for_retry', 30, 'max_waiting_for_retry'],
    ['steps_in_process', 30, 'max_steps_in_process'],
  ] as const;
  for (const [state, minutes, limit] of limits) {
    assert.equal(measure(state, minutes * 0.79), null, state);
    const warning = measure(state, minutes * 0.8);
    assert.deepEqual([warning?.level, warning?.limit], ['warning', limit]);
    const stale = measure(state, minutes);
    assert.deepEqual([stale?.level, stale?.limitMinutes], ['stale', minutes]);
  }
});

test('a run that is open for longer than it may last is stale in whichever open state', () => {
  for (const state of openStates) {
    const found = measure(state, 1, 1_440);
    assert.deepEqual([found?.limit, found?.level], ['max_duration', 'stale'], state);
  }
  for (const state of taskStates.filter(isEnd)) assert.equal(measure(state, 9_999), null, state);
  const endless = { ...defaultLifecycle, maxDurationMinutes: null };
  assert.equal(stalenessOf(run('pending', 99_999), null, endless, now), null);
});

test('the limit that is exceeded furthest counts', () => {
  const found = measure('waiting_for_retry', 90, 1_500);
  assert.deepEqual([found?.limit, found?.share], ['max_waiting_for_retry', 3]);
});

test('what waits by design is not stale in its state, but its whole time is limited', () => {
  for (const kind of ['sleep', 'event', 'signal', 'approval', 'child'] as const) {
    const record = recordWith(kind, 'in_progress');
    assert.equal(measure('waiting_for_dependencies', 600, 600, record), null, kind);
    assert.equal(measure('waiting_for_dependencies', 600, 1_441, record)?.limit, 'max_duration');
    const done = recordWith(kind, 'complete');
    assert.equal(measure('waiting_for_dependencies', 600, 600, done)?.level, 'stale', kind);
  }
  const step = recordWith('standard', 'in_progress');
  assert.equal(measure('steps_in_process', 31, 31, step)?.level, 'stale');
});

test('a paused run is not stale', () => {
  const record = recordWith('standard', 'in_progress', true);
  assert.equal(measure('steps_in_process', 9_999, 9_999, record), null);
});

test('no state is in two limits', () => {
  const states = Object.values(limitedStates).flat();
  assert.equal(new Set(states).size, states.length);
  for (const state of states) assert.ok(!isEnd(state), state);
});

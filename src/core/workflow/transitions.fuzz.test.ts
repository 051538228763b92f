/** Random ways through both machines: legal ones are accepted, the others are not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../test/support/random.ts';
import { parseChange, printChange, RunRecord } from './run-record.ts';
import { isEnd, type StepState, stepStates, type TaskState, taskStates } from './states.ts';
import { checkTransition, eventsFrom, stepEvent, taskEvent } from './transitions.ts';

test('random legal ways are accepted, stored and folded', (t) => {
  const random = seededRandom(t);
  const visited = new Set<string>();
  for (let round = 0; round < 300; round += 1) {
    const record = new RunRecord();
    record.apply({ at: 1, by: 'w', create: [{ name: 'a', kind: 'standard' }], transitions: [] });
    const told: string[] = [];
    const expected: string[] = [];
    for (let at = 2; at < 60; at += 1) {
      const transitions: [number, TaskState | StepState][] = [];
      let [task, step] = [record.state, record.steps[0]?.state as StepState];
      for (let i = random.below(4); i >= 0; i -= 1) {
        const ofTask = random.chance(0.5);
        const rows = ofTask ? eventsFrom('task', task) : eventsFrom('step', step);
        if (rows.length === 0) continue;
        const { from, to } = random.pick<{ from: string; to: string }>(rows);
        const machine = ofTask ? 'task' : 'step';
        checkTransition(machine, from as TaskState, to as TaskState);
        transitions.push([ofTask ? -1 : 0, to as TaskState]);
        expected.push(`${machine} ${from} ${to}`);
        if (ofTask) task = to as TaskState;
        else step = to as StepState;
        visited.add(`${machine} ${to}`);
      }
      const change = parseChange(printChange({ at, by: 'w', transitions }));
      record.apply(change, (of, from, to) => told.push(`${of ? 'step' : 'task'} ${from} ${to}`));
      assert.deepEqual([record.state, record.steps[0]?.state], [task, step]);
    }
    assert.deepEqual(told, expected);
  }
  assert.equal(visited.size, taskStates.length + stepStates.length, 'a state was never reached');
});

test('whatever is not a row is refused', () => {
  let refused = 0;
  for (const [machine, states] of [
    ['task', taskStates],
    ['step', stepStates],
  ] as const) {
    for (const from of states) {
      const allowed = new Set<string>(eventsFrom(machine, from as TaskState).map(({ to }) => to));
      for (const to of states) {
        const event =
          machine === 'task'
            ? taskEvent(from as TaskState, to as TaskState)
            : stepEvent(from as StepState, to as StepState);
        assert.equal(event !== null, allowed.has(to), `${machine} ${from} ${to}`);
        if (allowed.has(to)) continue;
        refused += 1;
        assert.throws(() => checkTransition(machine, from, to), /^Error: Bug: /);
      }
    }
  }
  assert.ok(refused > 100);
});

test('every state is reached from pending, and an end from every state', () => {
  for (const [machine, states] of [
    ['task', taskStates],
    ['step', stepStates],
  ] as const) {
    const reach = (start: string) => {
      const seen = new Set([start]);
      for (const state of seen) {
        for (const { to } of eventsFrom(machine, state as TaskState)) seen.add(to);
      }
      return seen;
    };
    assert.equal(reach('pending').size, states.length);
    for (const state of states) assert.ok([...reach(state)].some((one) => isEnd(one as TaskState)));
  }
});

/** Random ways through both machines: legal ones are accepted, the others are not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../test/support/random.ts';
import { parseChange, printChange, RunRecord } from './run-record.ts';
import { isEnd, type StepState, stepStates, type TaskState, taskStates } from './states.ts';
import { checkTransition, eventsFrom, type Machine, stepEvent, taskEvent } from './transitions.ts';

interface Row {
  readonly from: string;
  readonly to: string;
}

const rowsOf = (machine: Machine, states: readonly string[]): readonly Row[] =>
  states.flatMap((from) => eventsFrom(machine, from as TaskState));
const rows = { task: rowsOf('task', taskStates), step: rowsOf('step', stepStates) };

/** The shortest way from the beginning that ends with this row. */
function wayTo(machine: Machine, target: Row): Row[] {
  const ways = new Map<string, Row[]>([['pending', []]]);
  for (const [state, way] of ways) {
    if (state === target.from) return [...way, target];
    for (const row of eventsFrom(machine, state as TaskState)) {
      if (!ways.has(row.to)) ways.set(row.to, [...way, row]);
    }
  }
  throw new Error(`${machine} never comes to ${target.from}`);
}

test('random legal ways are accepted, stored and folded', (t) => {
  const random = seededRandom(t);
  const taken = new Set<string>();
  for (let round = 0; round < 300; round += 1) {
    // Each round leads to another row and is random from there: chance alone misses rare states.
    const ways = {
      task: wayTo('task', rows.task[round % rows.task.length] as Row),
      step: wayTo('step', rows.step[round % rows.step.length] as Row),
    };
    const record = new RunRecord();
    record.apply({ at: 1, by: 'w', create: [{ name: 'a', kind: 'standard' }], transitions: [] });
    const told: string[] = [];
    const expected: string[] = [];
    for (let at = 2; at < 60; at += 1) {
      const transitions: [number, TaskState | StepState][] = [];
      let [task, step] = [record.state, record.steps[0]?.state as StepState];
      for (let i = random.below(4); i >= 0; i -= 1) {
        const ofTask = random.chance(0.5);
        const machine = ofTask ? 'task' : 'step';
        const legal: readonly Row[] = eventsFrom(machine, ofTask ? task : (step as TaskState));
        if (legal.length === 0) continue;
        const { from, to } = ways[machine].shift() ?? random.pick(legal);
        checkTransition(machine, from as TaskState, to as TaskState);
        transitions.push([ofTask ? -1 : 0, to as TaskState]);
        expected.push(`${machine} ${from} ${to}`);
        if (ofTask) task = to as TaskState;
        else step = to as StepState;
        taken.add(`${machine} ${from} ${to}`);
      }
      const change = parseChange(printChange({ at, by: 'w', transitions }));
      record.apply(change, (of, from, to) => told.push(`${of ? 'step' : 'task'} ${from} ${to}`));
      assert.deepEqual([record.state, record.steps[0]?.state], [task, step]);
    }
    assert.deepEqual(told, expected);
  }
  for (const machine of ['task', 'step'] as const) {
    for (const { from, to } of rows[machine]) {
      assert.ok(taken.has(`${machine} ${from} ${to}`), `${machine}: ${from} never became ${to}`);
    }
  }
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

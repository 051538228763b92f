/**
 * Small workflows for tests of the engine: a driver of a few lines that does its steps one after
 * the other, as both front ends would.
 */
import type { RunRecord } from '../../src/core/workflow/run-record.ts';
import {
  isEnd,
  isSatisfied,
  type StepState,
  type TaskState,
} from '../../src/core/workflow/states.ts';
import type { AnyWorkflowDefinition, WorkflowDefinition } from '../../src/workflows/definition.ts';
import { defaultLifecycle } from '../../src/workflows/definition.ts';
import type { Drive, HeldRun } from '../../src/workflows/run/driver.ts';

type Moves = (readonly [number, TaskState | StepState])[];

export const beginning: Moves = [
  [-1, 'initializing'],
  [-1, 'enqueuing_steps'],
  [-1, 'steps_in_process'],
];

export function stepBegins(no: number): Moves {
  return [
    [no, 'enqueued'],
    [no, 'in_progress'],
  ];
}

export function stepEnds(no: number): Moves {
  return [
    [no, 'enqueued_for_orchestration'],
    [no, 'complete'],
    [-1, 'evaluating_results'],
  ];
}

export const goesOn: Moves = [
  [-1, 'enqueuing_steps'],
  [-1, 'steps_in_process'],
];

/** Does something as step `no` of a run, and answers with its result. */
export type Act = (run: HeldRun, no: number) => unknown;

/** Steps `s0`, `s1`, …: each is stored as it ends, in the commit that begins the next one. */
export function inSequence(steps: number, act: Act = () => null) {
  return async (run: HeldRun): Promise<Drive> => {
    const record = run.record as RunRecord;
    if (record.steps.length === 0) {
      run.reserve(steps);
      const create = Array.from({ length: steps }, (_, i) => ({
        name: `s${i}`,
        kind: 'run' as const,
      }));
      await run.commit({ create, transitions: [...beginning, ...stepBegins(0)] });
    }
    for (;;) {
      if (run.signal.aborted) return 'lost';
      while (record.paused) {
        if ((await run.wait(null)) === 'rest') {
          const state = record.state;
          if ((await run.rest({ state, wakeAt: null }, { transitions: [] })) === 'rested') {
            return 'rested';
          }
        }
        if (run.signal.aborted) return 'lost';
      }
      const step = record.steps.find(({ state }) => !isSatisfied(state));
      if (step === undefined) return 'lost';
      const result = await act(run, step.no);
      if (run.signal.aborted) return 'lost';
      const last = step.no === steps - 1;
      const resultJson = JSON.stringify(result ?? null);
      await run.commit({
        transitions: last
          ? [...stepEnds(step.no), [-1, 'complete']]
          : [...stepEnds(step.no), ...goesOn, ...stepBegins(step.no + 1)],
        facts: [{ step: step.no, resultJson }],
        ...(last && { end: { state: 'complete' as const, resultJson, error: null } }),
      });
      if (isEnd(record.state)) return 'ended';
    }
  };
}

/** A workflow of a driver. */
export function workflowOf<Input = unknown, Result = unknown>(
  name: string,
  drive: AnyWorkflowDefinition['drive'],
  more: Partial<AnyWorkflowDefinition> = {},
): WorkflowDefinition<Input, Result> {
  return Object.freeze({
    kind: 'function' as const,
    namespace: 'tests',
    name,
    version: '1.0.0',
    description: undefined,
    identity: 'always_unique' as const,
    priority: 0,
    key: null,
    limits: null,
    keyLimits: null,
    lifecycle: defaultLifecycle,
    template: null,
    publishesEvents: [],
    waitsFor: [],
    printInput: (input: unknown) => JSON.stringify(input ?? null),
    drive,
    ...more,
  });
}

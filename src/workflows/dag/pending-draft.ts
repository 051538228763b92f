/**
 * The draft at hand: what has been decided and is not stored yet. The live steps and the state of
 * the run are ahead of the record by exactly this. Every transition is checked against the table.
 */

import type { NewJob } from '../../core/job.ts';
import { learn, type NewStep, type StepFacts } from '../../core/workflow/run-record.ts';
import type { StepState, TaskState } from '../../core/workflow/states.ts';
import { checkTransition } from '../../core/workflow/transitions.ts';
import type { RoutedEvent } from '../../ports/store.ts';
import type { Draft } from '../run/driver.ts';
import { statePath } from '../run/state-path.ts';
import type { LiveStep } from './live-step.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export class PendingDraft {
  readonly #create: NewStep[] = [];
  #transitions: [number, TaskState | StepState][] = [];
  #facts: StepFacts[] = [];
  #notes: [string, string | null][] = [];
  #jobs: NewJob[] = [];
  #events: RoutedEvent[] = [];
  /** After the commit. */
  #dispatches: (() => Promise<void>)[] = [];
  /** Something is in it that must be stored before handlers go on. */
  urgent = false;
  end: Draft['end'];
  /** An operator's doing. */
  by: string | undefined;
  reason: string | undefined;
  read: number | undefined;
  /** Of the run, with this draft. */
  runState: TaskState;

  constructor(runState: TaskState) {
    this.runState = runState;
  }

  get isEmpty(): boolean {
    return (
      this.#transitions.length === 0 &&
      this.#create.length === 0 &&
      this.#facts.length === 0 &&
      this.#notes.length === 0 &&
      this.read === undefined &&
      this.end === undefined
    );
  }

  create(step: NewStep): void {
    this.#create.push(step);
  }

  /** Through these states, in order. */
  move(step: LiveStep, ...states: readonly StepState[]): void {
    for (const state of states) {
      checkTransition('step', step.state, state);
      step.state = state;
      if (state === 'in_progress') step.attempts += 1;
      this.#transitions.push([step.no, state]);
    }
  }

  /** Through the states that lie between. */
  moveRun(to: TaskState): void {
    for (const state of statePath(this.runState, to)) this.stepRun(state);
  }

  stepRun(to: TaskState): void {
    checkTransition('task', this.runState, to);
    this.runState = to;
    this.#transitions.push([-1, to]);
  }

  learn(step: LiveStep, facts: Omit<StepFacts, 'step'>): void {
    this.#facts.push({ ...facts, step: step.no });
    learn(step, facts);
    this.urgent = true;
  }

  note(key: string, json: string | null): void {
    this.#notes.push([key, json]);
    this.urgent = true;
  }

  addJob(job: NewJob): void {
    this.#jobs.push(job);
    this.urgent = true;
  }

  publish(routed: readonly RoutedEvent[], dispatch: () => Promise<void>): void {
    this.#events.push(...routed);
    this.#dispatches.push(dispatch);
    this.urgent = true;
  }

  /** As the engine takes it. */
  print(): Draft {
    const draft: Mutable<Draft> = { transitions: this.#transitions };
    if (this.#create.length > 0) draft.create = this.#create;
    if (this.#facts.length > 0) draft.facts = this.#facts;
    if (this.#notes.length > 0) draft.notes = this.#notes;
    if (this.#jobs.length > 0) draft.jobs = this.#jobs;
    if (this.#events.length > 0) draft.events = this.#events;
    if (this.read !== undefined) draft.read = this.read;
    if (this.by !== undefined) draft.by = this.by;
    if (this.reason !== undefined) draft.reason = this.reason;
    if (this.end !== undefined) draft.end = this.end;
    return draft;
  }

  /** Hands events to subscribers in this process. To be called after the commit. */
  async dispatch(): Promise<void> {
    for (const dispatch of this.#dispatches) await dispatch();
  }
}

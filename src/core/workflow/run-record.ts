/**
 * What has happened in one run, as its history tells it. A history is a list of changes, each the
 * content of one commit; folding them in order gives the record. Whoever holds the run keeps the
 * record in memory and adds changes; whoever takes it over folds what is stored.
 *
 * Invariant: a change is applied to the record only after it was stored.
 */
import type { JobErrorRecord } from '../error-record.ts';
import { type StepState, stepStates, type TaskState, taskStates } from './states.ts';

/** What a step is. The first five come from templates, the others from durable functions. */
export const stepKinds = [
  'standard',
  'decision',
  'deferred_convergence',
  'batchable',
  'batch_worker',
  'run',
  'sleep',
  'event',
  'signal',
  'approval',
  'child',
] as const;
export type StepKind = (typeof stepKinds)[number];

export interface NewStep {
  /** Unique in its run: the declared name, an instance such as `ship_001`, or a memo key. */
  readonly name: string;
  readonly kind: StepKind;
  /** Declared step that it is an instance of, when it has another name. */
  readonly template?: string | undefined;
  /** Names of steps of this run that come first. */
  readonly dependsOn?: readonly string[] | undefined;
  /** What this very step works on: a batch cursor, a child's run id, when to wake. JSON text. */
  readonly inputsJson?: string | undefined;
}

/** New facts of one step. What is absent stays as it is. */
export interface StepFacts {
  readonly step: number;
  readonly resultJson?: string | null | undefined;
  readonly error?: JobErrorRecord | null | undefined;
  /** Of a step that waits: when it goes on by itself, milliseconds since 1970. */
  readonly wakeAt?: number | null | undefined;
  /** What a handler noted for its next try. */
  readonly checkpointJson?: string | null | undefined;
  readonly inputsJson?: string | undefined;
  /** Its tries are counted anew. */
  readonly attempts?: number | undefined;
}

/** The content of one commit. Transitions are in order; -1 is the run itself. */
export interface RunChange {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Worker or operator that brought it about. */
  readonly by: string;
  readonly create?: readonly NewStep[] | undefined;
  readonly transitions: readonly (readonly [step: number, to: TaskState | StepState])[];
  readonly facts?: readonly StepFacts[] | undefined;
  /** Messages up to this number have had their effect. */
  readonly read?: number | undefined;
  /** Facts of the run: `patch:<id>`, `paused`, `compensating`. JSON text; null removes. */
  readonly notes?: readonly (readonly [key: string, json: string | null])[] | undefined;
  /** Why an operator did it. */
  readonly reason?: string | undefined;
}

/** One row of the audit. */
export interface Transition {
  readonly seq: number;
  /** Null: the run itself. */
  readonly step: string | null;
  readonly from: TaskState | StepState | null;
  readonly to: TaskState | StepState;
  readonly at: number;
  readonly by: string;
  readonly reason: string | null;
}

export interface StepRecord {
  readonly no: number;
  readonly name: string;
  readonly kind: StepKind;
  readonly template: string;
  readonly dependsOn: readonly string[];
  readonly createdAt: number;
  state: StepState;
  /** Tries that began. */
  attempts: number;
  inputsJson: string | null;
  resultJson: string | null;
  error: JobErrorRecord | null;
  checkpointJson: string | null;
  wakeAt: number | null;
  startedAt: number | null;
  finishedAt: number | null;
  by: string | null;
}

/** As it is when it was just created. `at`: milliseconds since 1970. */
export function newStepRecord(no: number, step: NewStep, at: number): StepRecord {
  return {
    no,
    name: step.name,
    kind: step.kind,
    template: step.template ?? step.name,
    dependsOn: step.dependsOn ?? [],
    createdAt: at,
    state: 'pending',
    attempts: 0,
    inputsJson: step.inputsJson ?? null,
    resultJson: null,
    error: null,
    checkpointJson: null,
    wakeAt: null,
    startedAt: null,
    finishedAt: null,
    by: null,
  };
}

/** Whatever the facts say; what they leave out stays as it is. */
export function learn(step: StepRecord, facts: Omit<StepFacts, 'step'>): void {
  if (facts.resultJson !== undefined) step.resultJson = facts.resultJson;
  if (facts.error !== undefined) step.error = facts.error;
  if (facts.wakeAt !== undefined) step.wakeAt = facts.wakeAt;
  if (facts.checkpointJson !== undefined) step.checkpointJson = facts.checkpointJson;
  if (facts.inputsJson !== undefined) step.inputsJson = facts.inputsJson;
  if (facts.attempts !== undefined) step.attempts = facts.attempts;
}

const finished: ReadonlySet<StepState> = new Set([
  'complete',
  'error',
  'cancelled',
  'resolved_manually',
]);

export class RunRecord {
  /** Of the last change; the next one is this plus one. 0: nothing yet. */
  seq = 0;
  state: TaskState = 'pending';
  stateSince = 0;
  /** Messages up to this number have had their effect. */
  read = 0;
  readonly steps: StepRecord[] = [];
  readonly notes = new Map<string, string>();
  readonly #byName = new Map<string, StepRecord>();

  step(name: string): StepRecord | undefined {
    return this.#byName.get(name);
  }

  get paused(): boolean {
    return this.notes.has('paused');
  }

  /** Told of each transition with the state before it, in order; for audits and telemetry. */
  apply(
    change: RunChange,
    onTransition?: (
      step: StepRecord | null,
      from: TaskState | StepState,
      to: TaskState | StepState,
    ) => void,
  ): void {
    this.seq += 1;
    for (const step of change.create ?? []) this.#create(step, change.at);
    // Before the transitions: whoever is told of them sees the result that belongs to them.
    for (const facts of change.facts ?? []) learn(this.steps[facts.step] as StepRecord, facts);
    for (const [no, to] of change.transitions) {
      if (no < 0) {
        const from = this.state;
        this.state = to as TaskState;
        this.stateSince = change.at;
        onTransition?.(null, from, to);
        continue;
      }
      const step = this.steps[no] as StepRecord;
      const from = step.state;
      this.#move(step, to as StepState, change);
      onTransition?.(step, from, to);
    }
    if (change.read !== undefined) this.read = change.read;
    for (const [key, json] of change.notes ?? []) {
      if (json === null) this.notes.delete(key);
      else this.notes.set(key, json);
    }
  }

  #create(step: NewStep, at: number): void {
    const record = newStepRecord(this.steps.length, step, at);
    this.steps.push(record);
    this.#byName.set(step.name, record);
  }

  #move(step: StepRecord, to: StepState, change: RunChange): void {
    step.state = to;
    if (to === 'in_progress') {
      step.attempts += 1;
      step.startedAt = change.at;
      step.by = change.by;
      step.finishedAt = null;
    } else if (finished.has(to)) {
      step.finishedAt = change.at;
    }
  }
}

/** As histories store it: keys of one letter, states and kinds by place, nothing that is empty. */
export function printChange(change: RunChange): string {
  const { create, facts, notes } = change;
  const stored: Record<string, unknown> = { a: change.at, b: change.by };
  if (create && create.length > 0) {
    stored.c = create.map(({ name, kind, template, dependsOn, inputsJson }) => [
      name,
      stepKinds.indexOf(kind),
      template ?? 0,
      dependsOn && dependsOn.length > 0 ? dependsOn : 0,
      inputsJson ?? 0,
    ]);
  }
  stored.t = change.transitions.flatMap(([step, to]) => [step, placeOf(step, to)]);
  if (facts && facts.length > 0) {
    stored.f = facts.map((it) => {
      const fact: Record<string, unknown> = { s: it.step };
      if (it.resultJson !== undefined) fact.r = it.resultJson;
      if (it.error !== undefined) fact.e = it.error;
      if (it.wakeAt !== undefined) fact.w = it.wakeAt;
      if (it.checkpointJson !== undefined) fact.k = it.checkpointJson;
      if (it.inputsJson !== undefined) fact.i = it.inputsJson;
      if (it.attempts !== undefined) fact.n = it.attempts;
      return fact;
    });
  }
  if (change.read !== undefined) stored.m = change.read;
  if (notes && notes.length > 0) stored.o = notes;
  if (change.reason !== undefined) stored.y = change.reason;
  return JSON.stringify(stored);
}

interface StoredChange {
  a: number;
  b: string;
  c?: [string, number, string | 0, string[] | 0, string | 0][];
  t: number[];
  f?: {
    s: number;
    r?: string | null;
    e?: JobErrorRecord | null;
    w?: number | null;
    k?: string | null;
    i?: string;
    n?: number;
  }[];
  m?: number;
  o?: [string, string | null][];
  y?: string;
}

export function parseChange(json: string): RunChange {
  const stored = JSON.parse(json) as StoredChange;
  const transitions: (readonly [number, TaskState | StepState])[] = [];
  for (let i = 0; i < stored.t.length; i += 2) {
    const step = stored.t[i] as number;
    const names: readonly (TaskState | StepState)[] = step < 0 ? taskStates : stepStates;
    transitions.push([step, names[stored.t[i + 1] as number] as TaskState | StepState]);
  }
  return {
    at: stored.a,
    by: stored.b,
    create: stored.c?.map(([name, kind, template, dependsOn, inputsJson]) => ({
      name,
      kind: stepKinds[kind] as StepKind,
      template: template === 0 ? undefined : template,
      dependsOn: dependsOn === 0 ? undefined : dependsOn,
      inputsJson: inputsJson === 0 ? undefined : inputsJson,
    })),
    transitions,
    facts: stored.f?.map((it) => ({
      step: it.s,
      resultJson: it.r,
      error: it.e,
      wakeAt: it.w,
      checkpointJson: it.k,
      inputsJson: it.i,
      attempts: it.n,
    })),
    read: stored.m,
    notes: stored.o,
    reason: stored.y,
  };
}

function placeOf(step: number, to: TaskState | StepState): number {
  const names: readonly string[] = step < 0 ? taskStates : stepStates;
  return names.indexOf(to);
}

/** Every transition of a history, with the state before it. */
export function auditOf(changes: readonly RunChange[]): readonly Transition[] {
  const record = new RunRecord();
  const rows: Transition[] = [];
  for (const change of changes) {
    const { at, by, reason = null } = change;
    record.apply(change, (step, from, to) =>
      rows.push({ seq: record.seq, step: step?.name ?? null, from, to, at, by, reason }),
    );
  }
  return rows;
}

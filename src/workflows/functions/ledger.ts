/**
 * The steps of one run as they will be once everything is stored, and the facts that make them so.
 * Every change of a step goes through here into the journal, along the table of transitions.
 */
import type { JobErrorRecord } from '../../core/error-record.ts';
import { MillraceError } from '../../core/errors.ts';
import {
  type NewStep,
  newStepRecord,
  type RunRecord,
  type StepFacts,
  type StepRecord,
} from '../../core/workflow/run-record.ts';
import type { StepState } from '../../core/workflow/states.ts';
import type { Draft, HeldRun } from '../run/driver.ts';
import type { Journal } from './journal.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A step, and what of it lives in this process. */
export interface Entry {
  readonly step: Mutable<StepRecord>;
  /** It was in the history when the present call of the function began. */
  recorded: boolean;
  /** The present call has asked for it. */
  asked: boolean;
  /** Settles the promise that the function waits for. */
  answer: ((entry: Entry) => void) | null;
  /** Begins its next try, when its time has come. */
  begin: (() => void) | null;
  /** Ends the try that is under way. */
  cancel: AbortController | null;
}

const finalStates: ReadonlySet<StepState> = new Set([
  'complete',
  'resolved_manually',
  'error',
  'cancelled',
]);

export function isFinal(entry: Entry): boolean {
  return finalStates.has(entry.step.state);
}

const toProgress: Readonly<Partial<Record<StepState, readonly StepState[]>>> = {
  pending: ['enqueued', 'in_progress'],
  waiting_for_retry: ['pending', 'enqueued', 'in_progress'],
  // Its process died or let go of it.
  in_progress: ['waiting_for_retry', 'pending', 'enqueued', 'in_progress'],
};
const toPending: Readonly<Partial<Record<StepState, readonly StepState[]>>> = {
  pending: [],
  enqueued: ['waiting_for_retry', 'pending'],
  in_progress: ['waiting_for_retry', 'pending'],
  waiting_for_retry: ['pending'],
  error: ['pending'],
  complete: ['pending'],
  cancelled: ['pending'],
  resolved_manually: ['pending'],
};

export interface EndFacts {
  readonly resultJson?: string | null;
  readonly error?: JobErrorRecord | null;
}

export class Ledger {
  readonly #run: HeldRun;
  readonly #journal: Journal;
  readonly entries: Entry[] = [];
  readonly #byName = new Map<string, Entry>();
  /** Steps that wait: for their next try, a time, or somebody. */
  readonly waiting = new Set<Entry>();

  constructor(run: HeldRun, journal: Journal) {
    this.#run = run;
    this.#journal = journal;
    for (const step of (run.record as RunRecord).steps) this.#keep({ ...step }, true);
  }

  find(name: string): Entry | undefined {
    return this.#byName.get(name);
  }

  /** A step that was not there. It is stored with the first thing that happens to it. */
  create(step: NewStep): { readonly entry: Entry; readonly part: Pick<Draft, 'create'> } {
    const no = this.#run.reserve(1);
    const entry = this.#keep(newStepRecord(no, step, Date.now()), false);
    return { entry, part: { create: [step] } };
  }

  /** It is under way from now on. */
  start(
    entry: Entry,
    given: { inputsJson?: string | undefined; wakeAt?: number | undefined } = {},
  ): Pick<Draft, 'transitions' | 'facts'> {
    const { step } = entry;
    const facts: Mutable<StepFacts> = { step: step.no };
    if (step.state === 'in_progress') {
      // A try that nobody saw the end of is repeated under its number.
      facts.attempts = step.attempts - 1;
      step.attempts -= 1;
    }
    if (step.wakeAt !== null || given.wakeAt !== undefined) {
      step.wakeAt = facts.wakeAt = given.wakeAt ?? null;
    }
    if (given.inputsJson !== undefined && given.inputsJson !== step.inputsJson) {
      step.inputsJson = facts.inputsJson = given.inputsJson;
    }
    const path = toProgress[step.state];
    if (path === undefined) throw new Error(`Bug: step ${step.name} starts out of ${step.state}.`);
    step.attempts += 1;
    step.startedAt = Date.now();
    return this.#change(entry, path, facts);
  }

  /** It ended well. */
  complete(entry: Entry, resultJson: string | null): Pick<Draft, 'transitions' | 'facts'> {
    const part = this.completion(entry, resultJson);
    this.apply(entry, 'complete', { resultJson });
    return part;
  }

  /** The facts of a good end, before they are known to hold. */
  completion(entry: Entry, resultJson: string | null): Pick<Draft, 'transitions' | 'facts'> {
    const { step } = entry;
    const facts: Mutable<StepFacts> = { step: step.no, resultJson };
    if (step.error !== null) facts.error = null;
    if (step.wakeAt !== null) facts.wakeAt = null;
    const path = ['enqueued_for_orchestration', 'complete'] as const;
    return { transitions: path.map((to) => [step.no, to] as const), facts: [facts] };
  }

  fail(entry: Entry, error: JobErrorRecord): Pick<Draft, 'transitions' | 'facts'> {
    const { step } = entry;
    const facts: Mutable<StepFacts> = { step: step.no, error };
    if (step.wakeAt !== null) facts.wakeAt = null;
    const path: StepState[] =
      step.state === 'in_progress' ? ['enqueued_as_error_for_orchestration', 'error'] : ['error'];
    if (step.state === 'waiting_for_retry') path.unshift('pending');
    const part = this.#change(entry, path, facts);
    this.apply(entry, 'error', { error });
    return part;
  }

  /** Its try failed, and there is another one. */
  retryLater(entry: Entry, error: JobErrorRecord, wakeAt: number): Pick<Draft, 'transitions'> {
    entry.step.error = error;
    entry.step.wakeAt = wakeAt;
    const path = ['enqueued_as_error_for_orchestration', 'waiting_for_retry'] as const;
    return this.#change(entry, path, { step: entry.step.no, error, wakeAt });
  }

  /** By hand, or because nobody waits for it any more. */
  settle(
    entry: Entry,
    state: 'cancelled' | 'complete' | 'resolved_manually',
    end: EndFacts = {},
  ): Pick<Draft, 'transitions' | 'facts'> {
    const facts: Mutable<StepFacts> = { step: entry.step.no, ...end };
    if (entry.step.wakeAt !== null) facts.wakeAt = null;
    if (state !== 'cancelled' && entry.step.error !== null) facts.error = null;
    const part = this.#change(entry, [state], facts);
    this.apply(entry, state, end);
    return part;
  }

  /** As if it had never begun: its answer is gone, its tries are counted anew. */
  forget(entry: Entry): Pick<Draft, 'transitions' | 'facts'> {
    const { step } = entry;
    const path = toPending[step.state];
    if (path === undefined) throw new Error(`Bug: step ${step.name} is forgotten: ${step.state}.`);
    const facts: Mutable<StepFacts> = { step: step.no, attempts: 0 };
    if (step.resultJson !== null) facts.resultJson = null;
    if (step.error !== null) facts.error = null;
    if (step.wakeAt !== null) facts.wakeAt = null;
    const part = this.#change(entry, path, facts);
    step.resultJson = step.error = step.wakeAt = null;
    step.attempts = 0;
    this.waiting.delete(entry);
    return part;
  }

  apply(entry: Entry, state: StepState, { resultJson, error }: EndFacts): void {
    const { step } = entry;
    step.state = state;
    step.wakeAt = null;
    step.finishedAt = Date.now();
    if (resultJson !== undefined) step.resultJson = resultJson;
    step.error = error ?? (state === 'cancelled' ? step.error : null);
    this.waiting.delete(entry);
    this.#journal.noteStepEnded();
  }

  #change(
    entry: Entry,
    path: readonly StepState[],
    facts: StepFacts,
  ): Pick<Draft, 'transitions' | 'facts'> {
    const { step } = entry;
    step.state = path.at(-1) ?? step.state;
    const part: { transitions: Draft['transitions']; facts?: StepFacts[] } = {
      transitions: path.map((to) => [step.no, to] as const),
    };
    if (Object.keys(facts).length > 1) part.facts = [facts];
    return part;
  }

  #keep(step: Mutable<StepRecord>, recorded: boolean): Entry {
    const entry: Entry = {
      step,
      recorded,
      asked: false,
      answer: null,
      begin: null,
      cancel: null,
    };
    this.entries[step.no] = entry;
    this.#byName.set(step.name, entry);
    return entry;
  }
}

/**
 * What a step that is over gives to its function: the same at the first time and at every replay,
 * because it is made of what is stored.
 * @throws MillraceError STEP_FAILED, or what else its error says.
 */
export function answerOf({ step }: Entry): unknown {
  const { state, resultJson, error } = step;
  if (state === 'complete' || state === 'resolved_manually') {
    return resultJson === null ? undefined : JSON.parse(resultJson);
  }
  if (state === 'cancelled') {
    throw new MillraceError('STEP_FAILED', `Step '${step.name}' was cancelled.`, {
      details: { step: step.name, kind: step.kind, code: 'STEP_CANCELLED' },
    });
  }
  throw failureOf(step, error);
}

const ownCodes = ['WORKFLOW_TIMEOUT', 'WORKFLOW_FAILED', 'WORKFLOW_CANCELLED'] as const;

function failureOf(step: StepRecord, error: JobErrorRecord | null): MillraceError {
  const { code = null, message = 'nothing was said', stack = null } = error ?? {};
  const details = { step: step.name, kind: step.kind, code, attempts: step.attempts };
  const own = step.kind === 'run' ? undefined : ownCodes.find((one) => one === code);
  if (own !== undefined) return new MillraceError(own, message, { details });
  const cause = new Error(message);
  if (code !== null) Object.assign(cause, { code });
  if (stack !== null) cause.stack = stack;
  return new MillraceError('STEP_FAILED', `Step '${step.name}' failed: ${message}`, {
    cause,
    details,
  });
}

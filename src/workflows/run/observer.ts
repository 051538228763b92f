/**
 * Told of everything that happens in the runs of this process, after it is durable: the one source
 * of Tier 1 (telemetry). Not a hook for developers. Whoever observes must be quick and must not
 * throw; what it throws is reported and changes nothing. Without observers nothing is called.
 */
import type { RunChange, RunRecord, StepRecord } from '../../core/workflow/run-record.ts';
import type { StepState, TaskState } from '../../core/workflow/states.ts';
import type { EventWait, NewMessage, RunInfo } from '../../ports/workflows.ts';

/** Why a process lets go of a run. */
export type LetGo = 'ended' | 'rested' | 'lost' | 'released';

/** The run and what is known of it, as the moment finds it. Do not keep `record`: it changes. */
export interface ObservedRun {
  readonly info: RunInfo;
  readonly record: RunRecord;
}

export interface RunObserver {
  /** A run was stored by this process: its task exists, nothing has begun. */
  created?(info: RunInfo): void;
  /** This process holds the run from now on. `seq` 0: it is new. */
  held?(run: ObservedRun, how: 'born' | 'claimed'): void;
  letGo?(run: ObservedRun, how: LetGo): void;
  /** A change is durable and applied; after the transitions and steps that it brought. */
  committed?(run: ObservedRun, change: RunChange): void;
  stepCreated?(run: ObservedRun, step: StepRecord, change: RunChange): void;
  /** `step` null: of the run itself. In the order in which they were made. */
  transition?(
    run: ObservedRun,
    step: StepRecord | null,
    from: TaskState | StepState,
    to: TaskState | StepState,
    change: RunChange,
  ): void;
  /**
   * Around the handler of a step, so that a span can be active in it: answers with what `call`
   * gives, a promise as a rule, and calls it once.
   */
  handler?<T>(run: ObservedRun, step: StepRecord, attempt: number, call: () => T): T;
  /** A message was delivered to a run by this process. */
  sent?(message: NewMessage): void;
  /** A step of a run waits for an event from now on. */
  waits?(run: ObservedRun, wait: EventWait): void;
}

export type Observers = readonly RunObserver[];

/** Calls something of each observer; what one throws is reported. */
export function tellObservers(
  observers: Observers,
  onError: (error: unknown, where: string) => void,
  tell: (observer: RunObserver) => void,
): void {
  for (const observer of observers) {
    try {
      tell(observer);
    } catch (error) {
      onError(error, 'observer');
    }
  }
}

/** Applies a change to the run's record, and tells of all that it brought. */
export function applyObserved(
  observers: Observers,
  onError: (error: unknown, where: string) => void,
  run: ObservedRun,
  change: RunChange,
  waits: readonly EventWait[],
): void {
  const { record } = run;
  const before = record.steps.length;
  const tell = (of: (observer: RunObserver) => void) => tellObservers(observers, onError, of);
  const moved: (() => void)[] = [];
  record.apply(change, (step, from, to) => {
    moved.push(() => tell((it) => it.transition?.(run, step, from, to, change)));
  });
  for (const step of record.steps.slice(before)) tell((it) => it.stepCreated?.(run, step, change));
  for (const one of moved) one();
  for (const wait of waits) tell((it) => it.waits?.(run, wait));
  tell((it) => it.committed?.(run, change));
}

/** Runs a handler inside every observer that wants to be around it, the first one outermost. */
export function observeHandler<T>(
  observers: Observers | undefined,
  run: ObservedRun,
  step: StepRecord,
  attempt: number,
  call: () => T,
): T {
  if (observers === undefined || observers.length === 0) return call();
  const from = (i: number): T => {
    const observer = observers[i];
    if (observer === undefined) return call();
    if (observer.handler === undefined) return from(i + 1);
    return observer.handler(run, step, attempt, () => from(i + 1));
  };
  return from(0);
}

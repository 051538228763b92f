/**
 * Undoing a run that failed for good: steps that were done and can be undone are, one after the
 * other, each before what it was built upon; then the run ends in error. Meanwhile nothing begins.
 *
 * What is undone stands in the notes of the run: `compensated:<step>`, and `compensate:<step>` with
 * the tries so far of one that cannot be undone yet. When its tries are used up the run stays
 * blocked, and an operator decides.
 */
import { backoffDelayMs } from '../../core/backoff.ts';
import type { HeldRun, StepEnding } from '../run/driver.ts';
import { StepContext } from '../steps/step-context.ts';
import { callStep, endingOfCommit } from '../steps/step-runner.ts';
import type { LiveGraph } from './live-graph.ts';
import type { LiveStep } from './live-step.ts';
import { PendingDraft } from './pending-draft.ts';
import { StepSource } from './step-source.ts';

/** What it needs of the driver. */
interface UndoingRun {
  readonly run: HeldRun;
  readonly live: LiveGraph;
  readonly draft: PendingDraft;
  readonly now: () => number;
  flush(): Promise<void>;
}

interface Tries {
  readonly attempts: number;
  readonly wakeAt: number;
  readonly message: string;
}

export const undonePrefix = 'compensated:';
export const triesPrefix = 'compensate:';

/** A step failed for good, and this workflow undoes what was done. */
export function isUndoing({ live }: Pick<UndoingRun, 'live'>): boolean {
  return live.plan.compensates && live.steps.some(hasFailed);
}

function hasFailed({ active, state, isolated }: LiveStep): boolean {
  return active && state === 'error' && !isolated;
}

/** What is to be undone next; null: nothing is left. */
function nextOf({ run, live }: UndoingRun): LiveStep | null {
  const { notes } = run.record;
  const { order } = live.plan.template.graph;
  const place = new Map(order.map((no, at) => [no, at]));
  let last: LiveStep | null = null;
  const rank = (step: LiveStep) => place.get(step.planned.node.no) as number;
  for (const step of live.steps) {
    if (!step.active || step.state !== 'complete' || step.planned.compensate === null) continue;
    if (notes.has(undonePrefix + step.name)) continue;
    if (last === null || rank(step) >= rank(last)) last = step;
  }
  return last;
}

function triesOf({ run }: UndoingRun, step: LiveStep): Tries | null {
  const json = run.record.notes.get(triesPrefix + step.name);
  return json === undefined ? null : (JSON.parse(json) as Tries);
}

/** When the next try is due; null: none is to come by itself. */
export function undoDueAt(undoing: UndoingRun): number | null {
  const step = nextOf(undoing);
  if (step === null) return undoing.now();
  const tries = triesOf(undoing, step);
  if (tries === null) return undoing.now();
  return tries.attempts < step.planned.attemptsMax ? tries.wakeAt : null;
}

/** That it goes on by itself, for those who see it blocked. True: it was not noted before. */
export function noteUndoing({ run, live, draft }: UndoingRun): boolean {
  if (run.record.notes.has('compensating')) return false;
  const failed = live.steps.filter(hasFailed).map(({ name }) => name);
  draft.note('compensating', JSON.stringify({ failed }));
  return true;
}

/** One try, or the end of the run. True: it has ended. */
export async function undoOne(undoing: UndoingRun): Promise<boolean> {
  const step = nextOf(undoing);
  if (step === null) {
    await endInError(undoing);
    return true;
  }
  const { run } = undoing;
  if (noteUndoing(undoing)) await undoing.flush();
  const before = triesOf(undoing, step);
  const attempt = (before?.attempts ?? 0) + 1;
  const ending = await call(undoing, step, attempt);
  if (ending.kind === 'aborted') return false;
  if (ending.kind === 'error') {
    await noteFailure(undoing, step, attempt, ending);
    return false;
  }
  const done = new PendingDraft(undoing.draft.runState);
  done.note(undonePrefix + step.name, ending.resultJson ?? 'true');
  if (before !== null) done.note(triesPrefix + step.name, null);
  try {
    if (ending.transaction === null) await run.commit(done.print());
    else await ending.transaction.commit(done.print());
  } catch (error) {
    const meaning = endingOfCommit(error);
    if (meaning === 'again') return false;
    if (meaning.kind !== 'error') throw error;
    await noteFailure(undoing, step, attempt, meaning);
  }
  return false;
}

function call({ run, live }: UndoingRun, step: LiveStep, attempt: number): Promise<StepEnding> {
  const { compensate, compiled, attemptsMax } = step.planned;
  const parts = {
    info: run.info,
    input: run.input,
    live,
    // It is done in one go: what it notes for another try would be taken for the step's own.
    saveCheckpoint: () => Promise.resolve(),
  };
  return callStep(run, {
    step,
    attempt,
    attemptsMax,
    timeoutMs: compiled.timeoutMs,
    transactional: compiled.transactional,
    handle: (tools) => compensate?.(new StepContext(new StepSource(parts, step, true), tools)),
  });
}

async function noteFailure(
  undoing: UndoingRun,
  step: LiveStep,
  attempt: number,
  {
    error,
    retryable,
    delayMs,
  }: Pick<Extract<StepEnding, { kind: 'error' }>, 'error' | 'retryable' | 'delayMs'>,
): Promise<void> {
  const { attemptsMax, backoff } = step.planned;
  const tries: Tries = {
    attempts: retryable ? attempt : attemptsMax,
    wakeAt: undoing.now() + (delayMs ?? backoffDelayMs(backoff, { attempt })),
    message: error.message,
  };
  undoing.run.log(step).error(`could not be undone: ${error.message}`, { attempt });
  undoing.draft.note(triesPrefix + step.name, JSON.stringify(tries));
  // From here on it waits for somebody.
  if (tries.attempts >= attemptsMax) undoing.draft.note('compensating', null);
  await undoing.flush();
}

async function endInError(undoing: UndoingRun): Promise<void> {
  const { live, draft, run } = undoing;
  for (const step of live.steps) {
    if (step.active && isOpen(step)) draft.move(step, 'cancelled');
  }
  draft.moveRun('error');
  if (run.record.notes.has('compensating')) draft.note('compensating', null);
  const error = live.steps.find(hasFailed)?.error ?? null;
  draft.end = { state: 'error', resultJson: null, error };
  await undoing.flush();
}

function isOpen({ state }: LiveStep): boolean {
  return state === 'pending' || state === 'enqueued' || state === 'waiting_for_retry';
}

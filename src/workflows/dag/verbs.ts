/**
 * What operators tell the steps of a run to do. The verbs that mean the same for every run are the
 * engine's (`run/verbs.ts`).
 *
 *   retry          failed and cancelled steps run again, with all their tries; what was undone, too
 *   retry_from     a step and all that comes after it run again
 *   reset          the whole run begins again, from its input
 *   reset_step     one step that failed runs again
 *   resolve_step   a step counts as done
 *   complete_step  the same with a result, which must be one that its handler could have given
 */
import { isMillraceError } from '../../core/errors.ts';
import { isEnd, type StepState } from '../../core/workflow/states.ts';
import type { StoredMessage } from '../../ports/workflows.ts';
import type { HeldRun } from '../run/driver.ts';
import { readVerb, type VerbPayload } from '../run/verbs.ts';
import { printStepResult } from '../steps/step-result.ts';
import { triesPrefix, undonePrefix } from './compensation.ts';
import { noteLeftOut } from './growth.ts';
import type { LiveGraph } from './live-graph.ts';
import type { LiveStep } from './live-step.ts';
import type { PendingDraft } from './pending-draft.ts';
import { finishResult } from './step-handle.ts';

interface ToldRun {
  readonly run: HeldRun;
  readonly live: LiveGraph;
  readonly draft: PendingDraft;
}

const reopening: ReadonlySet<string> = new Set(['retry', 'retry_from', 'reset', 'reset_step']);

/** It takes a run that ended in error, or was cancelled, up again. */
export function reopens({ kind, name }: StoredMessage): boolean {
  return kind === 'verb' && reopening.has(name);
}

/** Writes the verb's effect into the draft. Answers why there is none, or null. */
export function applyVerb(told: ToldRun, message: StoredMessage): string | null {
  const { live, draft } = told;
  const verb = readVerb(message);
  if (isEnd(draft.runState)) {
    if (draft.runState !== 'error' && draft.runState !== 'cancelled') {
      return `the run is ${draft.runState}`;
    }
    draft.stepRun('pending');
  }
  if (message.name === 'retry') return retry(told);
  if (message.name === 'reset') return startAgain(told, live.steps, true);
  const step = verb.step === undefined ? undefined : live.find(verb.step);
  if (step === undefined) return `there is no step '${verb.step ?? ''}'`;
  switch (message.name) {
    case 'retry_from':
      return startAgain(told, live.from(step), false);
    case 'reset_step':
      return resetStep(told, step);
    case 'resolve_step':
      return endByHand(told, step, 'resolved_manually', verb);
    case 'complete_step':
      return endByHand(told, step, 'complete', verb);
    default:
      return `'${message.name}' is no verb of ours`;
  }
}

function retry(told: ToldRun): string | null {
  const { run, live } = told;
  const again = live.steps.filter(
    ({ active, state }) =>
      active && (state === 'error' || state === 'cancelled' || state === 'waiting_for_retry'),
  );
  const undone = live.steps.filter(({ name }) => run.record.notes.has(undonePrefix + name));
  if (again.length === 0 && undone.length === 0) return 'no step of it failed';
  // Before the failed ones: those that come after them are among what starts again.
  if (undone.length > 0)
    startAgain(told, [...new Set(undone.flatMap((it) => live.from(it)))], false);
  for (const step of again) if (step.state !== 'pending') makePending(told, step, true);
  forgetUndoing(told);
  return null;
}

function resetStep(told: ToldRun, step: LiveStep): string | null {
  const { state, name } = step;
  if (state !== 'error' && state !== 'waiting_for_retry' && state !== 'cancelled') {
    return `step '${name}' is ${state}`;
  }
  makePending(told, step, true);
  return null;
}

/** Steps that outcomes among them had created are left out until they are created again. */
function startAgain(told: ToldRun, steps: readonly LiveStep[], whole: boolean): string | null {
  const { draft, live } = told;
  const settlers = new Set(steps.map(({ planned }) => planned.node.no));
  for (const step of steps) {
    if (!step.active) continue;
    const { createdAtStart, settledBy } = step.planned.node;
    const dependsOnOutcome = whole ? !createdAtStart : settledBy.some((no) => settlers.has(no));
    if (dependsOnOutcome) leaveOut(told, step);
    else makePending(told, step, false);
  }
  noteLeftOut(live, draft);
  forgetUndoing(told);
  return null;
}

const waysToPending: Readonly<Record<StepState, readonly StepState[]>> = {
  pending: [],
  enqueued: ['waiting_for_retry', 'pending'],
  in_progress: ['waiting_for_retry', 'pending'],
  enqueued_for_orchestration: ['error', 'pending'],
  enqueued_as_error_for_orchestration: ['waiting_for_retry', 'pending'],
  waiting_for_retry: ['pending'],
  complete: ['pending'],
  error: ['pending'],
  cancelled: ['pending'],
  resolved_manually: ['pending'],
};

/** @param keep its checkpoint stays: it goes on where it was. */
function makePending({ draft }: ToldRun, step: LiveStep, keep: boolean): void {
  step.cancel?.abort(new Error('An operator began it anew.'));
  draft.move(step, ...waysToPending[step.state]);
  draft.learn(step, {
    attempts: 0,
    ...(step.resultJson !== null && { resultJson: null }),
    ...(step.error !== null && { error: null }),
    ...(step.wakeAt !== null && { wakeAt: null }),
    ...(!keep && step.checkpointJson !== null && { checkpointJson: null }),
  });
}

function leaveOut(told: ToldRun, step: LiveStep): void {
  makePending(told, step, false);
  told.draft.move(step, 'cancelled');
  step.active = false;
}

function endByHand(
  { draft, live, run }: ToldRun,
  step: LiveStep,
  state: 'resolved_manually' | 'complete',
  { result }: VerbPayload,
): string | null {
  if (step.satisfied || step.state === 'cancelled') return `step '${step.name}' is ${step.state}`;
  let resultJson: string | null = null;
  if (state === 'complete' || result !== undefined) {
    try {
      resultJson = printStepResult(step.name, finishResult(live.plan, step.planned, result));
    } catch (error) {
      if (isMillraceError(error)) return error.message;
      throw error;
    }
  }
  step.cancel?.abort(new Error('An operator ended it.'));
  draft.move(step, state);
  draft.learn(step, { resultJson, ...(step.wakeAt !== null && { wakeAt: null }) });
  forgetTries({ draft, live, run });
  return null;
}

function forgetUndoing(told: ToldRun): void {
  const { run, draft } = told;
  for (const key of run.record.notes.keys()) {
    if (key.startsWith(undonePrefix) || key === 'compensating') draft.note(key, null);
  }
  forgetTries(told);
}

function forgetTries({ run, draft }: ToldRun): void {
  for (const key of run.record.notes.keys()) if (key.startsWith(triesPrefix)) draft.note(key, null);
}

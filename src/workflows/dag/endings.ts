/** What the end of a try means for its step, written into the draft at hand. */
import { backoffDelayMs } from '../../core/backoff.ts';
import type { StepOutcome } from '../../core/workflow/domain-event.ts';
import type { HeldRun, StepEnding } from '../run/driver.ts';
import { originOf } from '../run/event-origin.ts';
import type { LiveStep } from './live-step.ts';
import type { PendingDraft } from './pending-draft.ts';

export type Value = Omit<Extract<StepEnding, { kind: 'value' }>, 'kind' | 'transaction' | 'value'>;
export type Failure = Omit<Extract<StepEnding, { kind: 'error' }>, 'kind' | 'thrown'>;

export function succeed(run: HeldRun, draft: PendingDraft, step: LiveStep, ending: Value): void {
  const { resultJson, events } = ending;
  draft.move(step, 'enqueued_for_orchestration', 'complete');
  draft.learn(step, {
    ...(resultJson !== step.resultJson && { resultJson }),
    ...(step.error !== null && { error: null }),
    ...(step.wakeAt !== null && { wakeAt: null }),
    ...(step.checkpointJson !== null && { checkpointJson: null }),
  });
  if (step.planned.declarations.length === 0) return;
  publish(run, draft, step, events, { success: true, retryable: false, result: step.value });
}

/** True: it is tried again; false: it failed for good. */
export function fail(
  run: HeldRun,
  draft: PendingDraft,
  step: LiveStep,
  { error, retryable, delayMs, events, now }: Failure & { readonly now: number },
): boolean {
  const { attemptsMax, backoff } = step.planned;
  const again = retryable && step.attempts < attemptsMax;
  draft.move(step, 'enqueued_as_error_for_orchestration', again ? 'waiting_for_retry' : 'error');
  const waitMs = delayMs ?? backoffDelayMs(backoff, { attempt: step.attempts });
  draft.learn(step, {
    error,
    ...(again ? { wakeAt: now + waitMs } : step.wakeAt !== null && { wakeAt: null }),
  });
  if (step.planned.declarations.length > 0) {
    publish(run, draft, step, events, { success: false, retryable: again, error });
  }
  return again;
}

/**
 * Declared events: with the payload that the handler gave, else with the step's result or error.
 * Whether an event's condition holds is for the publisher to say.
 */
function publish(
  run: HeldRun,
  draft: PendingDraft,
  step: LiveStep,
  given: readonly (readonly [name: string, payload: unknown])[],
  outcome: StepOutcome,
): void {
  if (run.stepEvents === undefined) return;
  const { declarations } = step.planned;
  const asked = new Set(given.map(([name]) => name));
  const usual = outcome.success ? (outcome.result ?? null) : failurePayload(step, outcome);
  const byThemselves = declarations
    .filter(({ name, publisher }) => publisher === undefined && !asked.has(name))
    .map(({ name }) => [name, usual] as const);
  const prepared = run.stepEvents.prepare(originOf(run, step, declarations), outcome, [
    ...given,
    ...byThemselves,
  ]);
  draft.publish(prepared.routed, () => prepared.dispatch());
}

function failurePayload(step: LiveStep, { error, retryable }: StepOutcome) {
  return {
    step: step.name,
    error_code: error?.code ?? null,
    error_message: error?.message ?? '',
    retryable,
    attempt: step.attempts,
  };
}

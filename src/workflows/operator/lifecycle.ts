/**
 * When an open run counts as stale: longer in one state than its workflow allows, or open for
 * longer than it may last at all. Pure; `staleness.ts` acts upon it.
 *
 * A run that waits by design is not stale in its state: it sleeps, or waits for a signal, an event,
 * an approval or a child. Its whole duration is limited all the same. A paused run is never stale.
 */
import type { RunRecord } from '../../core/workflow/run-record.ts';
import { isEnd, type TaskState, taskStates } from '../../core/workflow/states.ts';
import type { RunSummary } from '../../ports/workflow-queries.ts';
import type { Lifecycle } from '../definition.ts';

export const openStates: readonly TaskState[] = taskStates.filter((state) => !isEnd(state));

/** From this share of a limit on it is worth a warning. */
export const warningShare = 0.8;

/** Which limit of `Lifecycle` it is about. */
export type StalenessLimit =
  | 'max_duration'
  | 'max_waiting_for_dependencies'
  | 'max_waiting_for_retry'
  | 'max_steps_in_process';

export interface Staleness {
  readonly limit: StalenessLimit;
  readonly limitMinutes: number;
  /** In that state, or in all. */
  readonly minutes: number;
  /** 1 and more: stale. */
  readonly share: number;
  readonly level: 'warning' | 'stale';
}

const minuteMs = 60_000;

/** States that count for a limit: the short-lived ones belong to the steps under way. */
export const limitedStates: Readonly<
  Record<Exclude<StalenessLimit, 'max_duration'>, readonly TaskState[]>
> = {
  max_waiting_for_dependencies: ['waiting_for_dependencies'],
  max_waiting_for_retry: ['waiting_for_retry'],
  max_steps_in_process: ['enqueuing_steps', 'steps_in_process', 'evaluating_results'],
};

export function minutesOf(lifecycle: Lifecycle, limit: StalenessLimit): number | null {
  switch (limit) {
    case 'max_duration':
      return lifecycle.maxDurationMinutes;
    case 'max_waiting_for_dependencies':
      return lifecycle.maxWaitingForDependenciesMinutes;
    case 'max_waiting_for_retry':
      return lifecycle.maxWaitingForRetryMinutes;
    case 'max_steps_in_process':
      return lifecycle.maxStepsInProcessMinutes;
  }
}

const byDesign: ReadonlySet<string> = new Set(['sleep', 'event', 'signal', 'approval', 'child']);
const waitStates: ReadonlySet<string> = new Set(['pending', 'enqueued', 'in_progress']);

/** Whether a step waits for something that the workflow itself asked for. */
export function waitsByDesign(record: RunRecord): boolean {
  return record.steps.some(({ kind, state }) => byDesign.has(kind) && waitStates.has(state));
}

/** The limit that is nearest or furthest exceeded; null while none is at its warning. */
export function stalenessOf(
  run: Pick<RunSummary, 'state' | 'stateSince' | 'startedAt'>,
  record: RunRecord | null,
  lifecycle: Lifecycle,
  nowMs: number,
): Staleness | null {
  if (isEnd(run.state) || record?.paused) return null;
  const inState = (Object.keys(limitedStates) as (keyof typeof limitedStates)[]).find((limit) =>
    limitedStates[limit].includes(run.state),
  );
  const excused = inState !== undefined && record !== null && waitsByDesign(record);
  const found = [
    measure('max_duration', lifecycle, nowMs - run.startedAt),
    inState === undefined || excused ? null : measure(inState, lifecycle, nowMs - run.stateSince),
  ].filter((one) => one !== null);
  return found.sort((a, b) => b.share - a.share)[0] ?? null;
}

function measure(limit: StalenessLimit, lifecycle: Lifecycle, ms: number): Staleness | null {
  const limitMinutes = minutesOf(lifecycle, limit);
  if (limitMinutes === null) return null;
  const minutes = ms / minuteMs;
  const share = minutes / limitMinutes;
  if (share < warningShare) return null;
  return { limit, limitMinutes, minutes, share, level: share >= 1 ? 'stale' : 'warning' };
}

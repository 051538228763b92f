/** Reading runs for people: lists, counts, one run as it stands. Nothing here is on a hot path. */
import type { JobErrorRecord } from '../core/error-record.ts';
import type { TaskState } from '../core/workflow/states.ts';
import type { RunInfo } from './workflows.ts';

export interface RunFilter {
  readonly tenantId?: string | undefined;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly states?: readonly TaskState[] | undefined;
  readonly correlationId?: string | undefined;
  readonly parentRunId?: string | undefined;
  /** Milliseconds since 1970. */
  readonly startedAfter?: number | undefined;
  readonly startedBefore?: number | undefined;
}

export interface RunSummary extends RunInfo {
  readonly state: TaskState;
  /** Since when. */
  readonly stateSince: number;
  readonly seq: number;
  readonly endedAt: number | null;
  readonly resultJson: string | null;
  readonly error: JobErrorRecord | null;
  /** Of a resting run. */
  readonly wakeAt: number | null;
  readonly resting: boolean;
  /** Epoch that holds it, as far as the store knows; null: it rests, waits in a queue, or ended. */
  readonly epoch: number | null;
}

export const deadLetterReasons = [
  'staleness_timeout',
  'max_retries_exceeded',
  'dependency_cycle_detected',
  'worker_unavailable',
  'manual_dlq',
] as const;
export type DeadLetterReason = (typeof deadLetterReasons)[number];

export const investigationStates = [
  'pending',
  'manually_resolved',
  'permanently_failed',
  'cancelled',
] as const;
export type InvestigationState = (typeof investigationStates)[number];

/** An investigation record: it never runs anything again by itself; one pending per run. */
export interface Investigation {
  readonly entryId: string;
  readonly runId: string;
  readonly tenantId: string;
  readonly reason: DeadLetterReason;
  readonly status: InvestigationState;
  readonly state: TaskState;
  readonly enteredAt: number;
  readonly resolvedAt: number | null;
  readonly resolvedBy: string | null;
  readonly notes: string | null;
  /** How the run looked. */
  readonly snapshotJson: string;
}

/** How many investigations there are of one kind. */
export interface InvestigationCount {
  readonly reason: DeadLetterReason;
  readonly status: InvestigationState;
  readonly count: number;
  /** When the oldest of them was opened; milliseconds since 1970. */
  readonly oldestAt: number;
  /** Of all of them together: from opening to closing, milliseconds; 0 for pending ones. */
  readonly resolvedMs: number;
}

/** Open runs in one of the states, `of` which so much time has passed: of the state, or the run. */
export interface StaleLimit {
  readonly states: readonly TaskState[];
  readonly olderThanMs: number;
  /** 'state' by default. */
  readonly of?: 'state' | 'run' | undefined;
}

export interface WorkflowQueries {
  /** Those that there are, in the order asked. */
  find(runIds: readonly string[]): Promise<readonly RunSummary[]>;
  /**
   * Ids that begin or end with that text of hexadecimal digits and dashes, newest first. Endings
   * are looked for among the newest 100,000 runs.
   */
  match(
    text: string,
    options: { readonly tenantId?: string | undefined; readonly limit: number },
  ): Promise<readonly string[]>;
  /** Newest first. */
  list(
    filter: RunFilter,
    page: { readonly limit: number; readonly after: string | null },
  ): Promise<{ readonly runs: readonly RunSummary[]; readonly next: string | null }>;
  counts(filter: RunFilter): Promise<ReadonlyMap<TaskState, number>>;
  /** Changes of a run as stored, with their times: for audits. */
  history(runId: string): Promise<readonly { readonly seq: number; readonly changeJson: string }[]>;

  /** Opens an investigation; null when one is pending for the run. */
  investigate(entry: {
    readonly runId: string;
    readonly reason: DeadLetterReason;
    readonly snapshotJson: string;
  }): Promise<Investigation | null>;
  investigations(
    filter: {
      readonly tenantId?: string | undefined;
      readonly runId?: string | undefined;
      readonly status?: InvestigationState | undefined;
      readonly reason?: DeadLetterReason | undefined;
    },
    page: { readonly limit: number; readonly after: string | null },
  ): Promise<{ readonly entries: readonly Investigation[]; readonly next: string | null }>;
  findInvestigation(entryId: string): Promise<Investigation | null>;
  investigationCounts(tenantId?: string): Promise<readonly InvestigationCount[]>;
  /** Closes a pending one; null when there is none with that id, or it was closed before. */
  resolveInvestigation(
    entryId: string,
    change: {
      readonly status: InvestigationState;
      readonly by: string;
      readonly notes: string | null;
    },
  ): Promise<Investigation | null>;
  /**
   * Open runs beyond one of the limits, in the order of their ids: oldest first. Pages go on after
   * the last run of the one before.
   */
  stale(
    limits: readonly StaleLimit[],
    limit: number,
    after?: string | null,
  ): Promise<readonly RunSummary[]>;
  /** Does the work unless another process does such work right now; then it answers null. */
  alone<T>(work: () => Promise<T>): Promise<T | null>;
}

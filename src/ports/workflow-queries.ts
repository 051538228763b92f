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
  /** Epoch that holds it, as far as the store knows; null: it rests, waits in a queue or has ended. */
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

export interface WorkflowQueries {
  find(runIds: readonly string[]): Promise<readonly RunSummary[]>;
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
  resolveInvestigation(
    entryId: string,
    change: {
      readonly status: InvestigationState;
      readonly by: string;
      readonly notes: string | null;
    },
  ): Promise<Investigation | null>;
  /** Open runs that have been in one of the states for longer than that, oldest first. */
  stale(
    limits: readonly { readonly states: readonly TaskState[]; readonly olderThanMs: number }[],
    limit: number,
  ): Promise<readonly RunSummary[]>;
}

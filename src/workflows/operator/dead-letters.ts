/**
 * Runs that somebody is to look into. An investigation is a record and nothing else: opening or
 * closing one never runs anything again. One is pending for a run at a time.
 */
import { MillraceError } from '../../core/errors.ts';
import type { TaskState } from '../../core/workflow/states.ts';
import {
  type DeadLetterReason,
  deadLetterReasons,
  type Investigation,
  type InvestigationCount,
  type InvestigationState,
  investigationStates,
  type RunSummary,
  type WorkflowQueries,
} from '../../ports/workflow-queries.ts';
import { readDocument, recordOf, timeText, toRunView, toStepView } from './run-view.ts';
import { findRun } from './verbs.ts';

/** Times are ISO 8601. */
export interface InvestigationView {
  readonly entryId: string;
  readonly runId: string;
  readonly tenantId: string;
  readonly workflow: string | null;
  readonly reason: DeadLetterReason;
  readonly status: InvestigationState;
  /** Of the run as the investigation was opened, and now; null: the run was removed. */
  readonly stateThen: TaskState;
  readonly stateNow: TaskState | null;
  readonly enteredAt: string;
  readonly resolvedAt: string | null;
  readonly resolvedBy: string | null;
  readonly notes: string | null;
}

export interface QueuedInvestigation extends InvestigationView {
  /** Higher first: by reason, the run's own priority, and hours of waiting. */
  readonly score: number;
  readonly minutesWaiting: number;
}

export interface InvestigationStats {
  readonly pending: number;
  readonly resolved: number;
  readonly byReason: Readonly<Record<DeadLetterReason, number>>;
  readonly byStatus: Readonly<Record<InvestigationState, number>>;
  readonly oldestPendingAt: string | null;
  /** Of those that were closed: mean minutes from opening to closing. */
  readonly meanMinutesToClose: number | null;
}

export interface InvestigationFilter {
  readonly tenantId?: string | undefined;
  readonly runId?: string | undefined;
  readonly status?: InvestigationState | undefined;
  readonly reason?: DeadLetterReason | undefined;
}

/** Looked at to order the queue. */
const queueMax = 1_000;

const weights: Readonly<Record<DeadLetterReason, number>> = {
  dependency_cycle_detected: 50,
  max_retries_exceeded: 40,
  manual_dlq: 30,
  worker_unavailable: 20,
  staleness_timeout: 10,
};

export class DeadLetterDesk {
  readonly #queries: WorkflowQueries;

  constructor(queries: WorkflowQueries) {
    this.#queries = queries;
  }

  /**
   * Opens an investigation with a snapshot of the run; null when one is pending.
   * @throws MillraceError NOT_FOUND
   */
  async open(
    runId: string,
    reason: DeadLetterReason,
    notes?: Readonly<Record<string, unknown>>,
  ): Promise<InvestigationView | null> {
    const run = await findRun(this.#queries, runId);
    const record = await recordOf(this.#queries, run);
    const snapshot = {
      run: toRunView(run),
      paused: record.paused,
      steps: record.steps.map((step) => toStepView(runId, step)),
      ...(notes && { notes }),
    };
    const snapshotJson = JSON.stringify(snapshot);
    const entry = await this.#queries.investigate({ runId, reason, snapshotJson });
    return entry && toView(entry, run);
  }

  async list(
    filter: InvestigationFilter = {},
    { limit = 100, after = null }: { limit?: number; after?: string | null } = {},
  ): Promise<{ readonly entries: readonly InvestigationView[]; readonly next: string | null }> {
    const { entries, next } = await this.#queries.investigations(filter, { limit, after });
    return { entries: await this.#withRuns(entries), next };
  }

  /** With the snapshot; null when there is no such entry. */
  async show(
    entryId: string,
  ): Promise<(InvestigationView & { readonly snapshot: unknown }) | null> {
    const entry = await this.#queries.findInvestigation(entryId);
    if (entry === null) return null;
    const [view] = await this.#withRuns([entry]);
    return { ...(view as InvestigationView), snapshot: readDocument(entry.snapshotJson) };
  }

  /**
   * Closes an investigation. The run stays as it is.
   * @throws MillraceError NOT_FOUND, DEAD_LETTER_STATE when it was closed before
   */
  async resolve(
    entryId: string,
    { status, by = 'operator', notes = null }: ResolveRequest,
  ): Promise<InvestigationView> {
    const closed = await this.#queries.resolveInvestigation(entryId, { status, by, notes });
    if (closed) return (await this.#withRuns([closed]))[0] as InvestigationView;
    const before = await this.#queries.findInvestigation(entryId);
    if (before === null) {
      throw new MillraceError('NOT_FOUND', `There is no investigation ${entryId}.`, {
        fix: 'Check the id; `millrace workflow dlq list` shows them.',
      });
    }
    throw new MillraceError(
      'DEAD_LETTER_STATE',
      `Investigation ${entryId} is ${before.status} since ${timeText(before.resolvedAt ?? 0)}.`,
      { fix: 'Only a pending one can be closed.' },
    );
  }

  async stats(tenantId?: string): Promise<InvestigationStats> {
    return toStats(await this.#queries.investigationCounts(tenantId));
  }

  /** What to look into first. */
  async queue(tenantId?: string, limit = 100): Promise<readonly QueuedInvestigation[]> {
    const page = { limit: queueMax, after: null };
    const { entries } = await this.#queries.investigations({ tenantId, status: 'pending' }, page);
    const runs = await this.#runsOf(entries);
    const nowMs = Date.now();
    return entries
      .map((entry) => scored(entry, runs.get(entry.runId), nowMs))
      .sort((a, b) => b.score - a.score || a.enteredAt.localeCompare(b.enteredAt))
      .slice(0, limit);
  }

  async #withRuns(entries: readonly Investigation[]): Promise<InvestigationView[]> {
    const runs = await this.#runsOf(entries);
    return entries.map((entry) => toView(entry, runs.get(entry.runId)));
  }

  async #runsOf(entries: readonly Investigation[]): Promise<ReadonlyMap<string, RunSummary>> {
    const ids = [...new Set(entries.map(({ runId }) => runId))];
    if (ids.length === 0) return new Map();
    return new Map((await this.#queries.find(ids)).map((run) => [run.runId, run]));
  }
}

export interface ResolveRequest {
  readonly status: Exclude<InvestigationState, 'pending'>;
  readonly by?: string | undefined;
  readonly notes?: string | null | undefined;
}

function toView(entry: Investigation, run: RunSummary | undefined): InvestigationView {
  const { entryId, runId, tenantId, reason, status, state, enteredAt, resolvedAt } = entry;
  return {
    entryId,
    runId,
    tenantId,
    workflow: run ? `${run.namespace}/${run.name}@${run.version}` : null,
    reason,
    status,
    stateThen: state,
    stateNow: run?.state ?? null,
    enteredAt: timeText(enteredAt),
    resolvedAt: resolvedAt === null ? null : timeText(resolvedAt),
    resolvedBy: entry.resolvedBy,
    notes: entry.notes,
  };
}

/** A run of priority 0 adds nothing; one hour of waiting adds one, up to a week of them. */
function scored(
  entry: Investigation,
  run: RunSummary | undefined,
  nowMs: number,
): QueuedInvestigation {
  const minutesWaiting = Math.max(0, (nowMs - entry.enteredAt) / 60_000);
  const urgency = Math.max(-20, Math.min(20, -(run?.priority ?? 0)));
  const score = weights[entry.reason] + urgency + Math.min(168, minutesWaiting / 60);
  return {
    ...toView(entry, run),
    score: Math.round(score * 100) / 100,
    minutesWaiting: Math.floor(minutesWaiting),
  };
}

function toStats(counts: readonly InvestigationCount[]): InvestigationStats {
  const zeros = <K extends string>(names: readonly K[]) =>
    Object.fromEntries(names.map((name) => [name, 0])) as Record<K, number>;
  const byReason = zeros(deadLetterReasons);
  const byStatus = zeros(investigationStates);
  let oldest: number | null = null;
  let closed = 0;
  let closedMs = 0;
  for (const { reason, status, count, oldestAt, resolvedMs } of counts) {
    byReason[reason] += count;
    byStatus[status] += count;
    if (status === 'pending') oldest = Math.min(oldest ?? oldestAt, oldestAt);
    else {
      closed += count;
      closedMs += resolvedMs;
    }
  }
  return {
    pending: byStatus.pending,
    resolved: closed,
    byReason,
    byStatus,
    oldestPendingAt: oldest === null ? null : timeText(oldest),
    meanMinutesToClose: closed === 0 ? null : Math.round(closedMs / closed / 6_000) / 10,
  };
}

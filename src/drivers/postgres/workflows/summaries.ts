/** Rows of run-find.sql and of investigations as the port has them. */
import type { JobErrorRecord } from '../../../core/error-record.ts';
import { type TaskState, taskStates } from '../../../core/workflow/states.ts';
import type {
  DeadLetterReason,
  Investigation,
  InvestigationState,
  RunSummary,
} from '../../../ports/workflow-queries.ts';

export type RunRow = [
  runId: string,
  tenantId: string,
  namespace: string,
  name: string,
  version: string,
  templateHash: string,
  identity: string | null,
  key: string,
  priority: number,
  correlationId: string,
  traceparent: string | null,
  parentRun: string | null,
  parentStep: number | null,
  input: string,
  metadata: string | null,
  queue: string,
  jobName: string,
  startedAt: number,
  state: number,
  stateSince: number,
  seq: number,
  endedAt: number | null,
  result: string | null,
  error: string | null,
  wakeAt: number | null,
  resting: boolean,
  epoch: number | null,
];

export function toSummary(row: RunRow): RunSummary {
  const [runId, tenantId, namespace, name, version, templateHash, identity, key, priority] = row;
  const [parentRun, parentStep] = [row[11], row[12]];
  return {
    runId,
    tenantId,
    namespace,
    name,
    version,
    templateHash,
    identity,
    key,
    priority,
    correlationId: row[9],
    traceparent: row[10],
    parent: parentRun === null ? null : { runId: parentRun, step: parentStep ?? 0 },
    inputJson: row[13],
    metadataJson: row[14],
    queue: row[15],
    jobName: row[16],
    startedAt: Math.round(row[17]),
    state: taskStates[row[18]] as TaskState,
    stateSince: Math.round(row[19]),
    seq: row[20],
    endedAt: roundOptional(row[21]),
    resultJson: row[22],
    error: row[23] === null ? null : (JSON.parse(row[23]) as JobErrorRecord),
    wakeAt: roundOptional(row[24]),
    resting: row[25],
    epoch: row[26],
  };
}

export type InvestigationRow = [
  entryId: string,
  runId: string,
  tenantId: string,
  reason: DeadLetterReason,
  status: InvestigationState,
  state: TaskState,
  enteredAt: number,
  resolvedAt: number | null,
  resolvedBy: string | null,
  notes: string | null,
  snapshot: string,
];

export function toInvestigation(row: InvestigationRow): Investigation {
  const [entryId, runId, tenantId, reason, status, state, enteredAt, resolvedAt] = row;
  return {
    entryId,
    runId,
    tenantId,
    reason,
    status,
    state,
    enteredAt: Math.round(enteredAt),
    resolvedAt: roundOptional(resolvedAt),
    resolvedBy: row[8],
    notes: row[9],
    snapshotJson: row[10],
  };
}

function roundOptional(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms);
}

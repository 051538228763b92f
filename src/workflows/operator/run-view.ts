/**
 * A run as people and programs look at it: the store's summary with its JSON read, and its steps as
 * its history tells them. Looking never fails: what is stored is shown as it is.
 */
import type { JobErrorRecord } from '../../core/error-record.ts';
import { parseStored } from '../../core/json.ts';
import {
  parseChange,
  RunRecord,
  type StepKind,
  type StepRecord,
} from '../../core/workflow/run-record.ts';
import type { StepState, TaskState } from '../../core/workflow/states.ts';
import { stepUuid } from '../../core/workflow/step-uuid.ts';
import type { RunSummary, WorkflowQueries } from '../../ports/workflow-queries.ts';

/** Times are ISO 8601; null where there is nothing to tell. */
export interface RunView {
  readonly runId: string;
  readonly tenantId: string;
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly state: TaskState;
  readonly stateSince: string;
  readonly queue: string;
  readonly key: string;
  readonly priority: number;
  readonly correlationId: string;
  readonly traceparent: string | null;
  readonly identity: string | null;
  readonly templateHash: string;
  readonly parent: { readonly runId: string; readonly step: number } | null;
  readonly startedAt: string;
  readonly endedAt: string | null;
  readonly durationMs: number | null;
  /** Of a resting run: when it goes on by itself. */
  readonly wakeAt: string | null;
  readonly resting: boolean;
  /** Of the process that holds it. */
  readonly epoch: number | null;
  readonly seq: number;
  readonly input: unknown;
  readonly result: unknown;
  readonly error: JobErrorRecord | null;
  readonly metadata: unknown;
}

export interface StepView {
  /** UUID, made of the run's and the step's number. */
  readonly stepId: string;
  readonly runId: string;
  readonly no: number;
  readonly name: string;
  readonly kind: StepKind;
  readonly template: string;
  readonly state: StepState;
  /** Tries that began. */
  readonly attempts: number;
  readonly dependsOn: readonly string[];
  readonly inputs: unknown;
  readonly result: unknown;
  readonly error: JobErrorRecord | null;
  readonly checkpoint: unknown;
  readonly wakeAt: string | null;
  readonly createdAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  /** Of its last try. */
  readonly durationMs: number | null;
  readonly by: string | null;
}

export function toRunView(run: RunSummary): RunView {
  const { startedAt, endedAt } = run;
  return {
    runId: run.runId,
    tenantId: run.tenantId,
    namespace: run.namespace,
    name: run.name,
    version: run.version,
    state: run.state,
    stateSince: timeText(run.stateSince),
    queue: run.queue,
    key: run.key,
    priority: run.priority,
    correlationId: run.correlationId,
    traceparent: run.traceparent,
    identity: run.identity,
    templateHash: run.templateHash,
    parent: run.parent,
    startedAt: timeText(startedAt),
    endedAt: optionalTime(endedAt),
    durationMs: endedAt === null ? null : Math.max(0, endedAt - startedAt),
    wakeAt: optionalTime(run.wakeAt),
    resting: run.resting,
    epoch: run.epoch,
    seq: run.seq,
    input: readDocument(run.inputJson),
    result: readDocument(run.resultJson),
    error: run.error,
    metadata: readDocument(run.metadataJson),
  };
}

export function toStepView(runId: string, step: StepRecord): StepView {
  const { startedAt, finishedAt } = step;
  return {
    stepId: stepUuid(runId, step.no),
    runId,
    no: step.no,
    name: step.name,
    kind: step.kind,
    template: step.template,
    state: step.state,
    attempts: step.attempts,
    dependsOn: step.dependsOn,
    inputs: readDocument(step.inputsJson),
    result: readDocument(step.resultJson),
    error: step.error,
    checkpoint: readDocument(step.checkpointJson),
    wakeAt: optionalTime(step.wakeAt),
    createdAt: timeText(step.createdAt),
    startedAt: optionalTime(startedAt),
    finishedAt: optionalTime(finishedAt),
    durationMs:
      startedAt === null || finishedAt === null ? null : Math.max(0, finishedAt - startedAt),
    by: step.by,
  };
}

/** The record as it was when the run was read: its steps fit its state, though it has gone on. */
export async function recordOf(
  queries: Pick<WorkflowQueries, 'history'>,
  { runId, seq: last }: Pick<RunSummary, 'runId' | 'seq'>,
): Promise<RunRecord> {
  const history = await queries.history(runId);
  return readRecord(history.filter(({ seq }) => seq <= last).map(({ changeJson }) => changeJson));
}

export function readRecord(changes: readonly string[]): RunRecord {
  const record = new RunRecord();
  for (const changeJson of changes) record.apply(parseChange(changeJson));
  return record;
}

export function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

function optionalTime(ms: number | null): string | null {
  return ms === null ? null : timeText(ms);
}

/** JSON text as it reads; text that is no JSON is shown as text. */
export function readDocument(json: string | null): unknown {
  if (json === null) return null;
  try {
    return parseStored(json);
  } catch {
    return json;
  }
}

/** A row of workflow_run as the port says it. */
import type { RunInfo } from '../../../ports/workflows.ts';

/** started_at: milliseconds since 1970. */
export interface RunRow {
  readonly run_id: string;
  readonly tenant_id: string;
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly template_hash: string;
  readonly identity: string | null;
  readonly run_key: string;
  readonly priority: number;
  readonly correlation_id: string;
  readonly traceparent: string | null;
  readonly parent_run: string | null;
  readonly parent_step: number | null;
  readonly input: string;
  readonly metadata: string | null;
  readonly queue: string;
  readonly job_name: string;
  readonly started_at: number;
}

export function toRunInfo(row: RunRow): RunInfo {
  const { parent_run: parentRun, parent_step: parentStep } = row;
  return {
    runId: row.run_id,
    tenantId: row.tenant_id,
    namespace: row.namespace,
    name: row.name,
    version: row.version,
    templateHash: row.template_hash,
    identity: row.identity,
    key: row.run_key,
    priority: row.priority,
    correlationId: row.correlation_id,
    traceparent: row.traceparent,
    parent: parentRun === null ? null : { runId: parentRun, step: parentStep as number },
    inputJson: row.input,
    metadataJson: row.metadata,
    queue: row.queue,
    jobName: row.job_name,
    startedAt: Math.round(row.started_at),
  };
}

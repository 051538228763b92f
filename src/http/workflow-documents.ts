/**
 * Runs as the API shows them: the names of the original (`task_uuid`, `step_uuid`, snake_case), the
 * values of the operator's views. What users stored (inputs, results, metadata) is shown as it is.
 */
import type { InvestigationView } from '../workflows/operator/dead-letters.ts';
import type { RunView, StepView } from '../workflows/operator/run-view.ts';
import type { StaleRun } from '../workflows/operator/staleness.ts';
import type { RunDetails } from '../workflows/options.ts';

type Document = Record<string, unknown>;

/** Members whose content belongs to users. */
const theirs = new Set(['input', 'result', 'metadata', 'inputs', 'checkpoint', 'notes', 'error']);
const renamed: Readonly<Record<string, string>> = {
  runId: 'task_uuid',
  stepId: 'step_uuid',
};

/** Members in snake_case, at every depth but in what users stored. */
export function documentOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(documentOf);
  if (typeof value !== 'object' || value === null) return value;
  const document: Document = {};
  for (const [name, member] of Object.entries(value)) {
    const own = renamed[name] ?? name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    document[own] = theirs.has(name) ? member : documentOf(member);
  }
  return document;
}

export interface TaskDocument {
  readonly task_uuid: string;
  readonly tenant_id: string;
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly state: string;
  readonly state_since: string;
  readonly queue: string;
  readonly key: string;
  readonly priority: number;
  readonly correlation_id: string;
  readonly parent: { readonly task_uuid: string; readonly step: number } | null;
  readonly started_at: string;
  readonly ended_at: string | null;
  readonly duration_ms: number | null;
  readonly wake_at: string | null;
  readonly resting: boolean;
  readonly epoch: number | null;
  readonly seq: number;
  readonly input: unknown;
  readonly result: unknown;
  readonly error: { readonly code: string | null; readonly message: string } | null;
  readonly metadata: unknown;
}

export interface StepDocument {
  readonly step_uuid: string;
  readonly task_uuid: string;
  readonly no: number;
  readonly name: string;
  readonly kind: string;
  readonly template: string;
  readonly state: string;
  readonly attempts: number;
  readonly depends_on: readonly string[];
  readonly inputs: unknown;
  readonly result: unknown;
  readonly error: TaskDocument['error'];
  readonly checkpoint: unknown;
  readonly wake_at: string | null;
  readonly created_at: string;
  readonly started_at: string | null;
  readonly finished_at: string | null;
  readonly duration_ms: number | null;
  readonly by: string | null;
}

export interface TaskDetailsDocument extends TaskDocument {
  readonly paused: boolean;
  readonly notes: Readonly<Record<string, unknown>>;
  readonly workflow_steps: readonly StepDocument[];
}

export interface InvestigationDocument {
  readonly entry_id: string;
  readonly task_uuid: string;
  readonly tenant_id: string;
  readonly workflow: string | null;
  readonly reason: string;
  readonly status: string;
  readonly state_then: string;
  readonly state_now: string | null;
  readonly entered_at: string;
  readonly resolved_at: string | null;
  readonly resolved_by: string | null;
  readonly notes: string | null;
  readonly snapshot?: unknown;
  readonly score?: number;
  readonly minutes_waiting?: number;
}

export function taskDocument(run: RunView): TaskDocument {
  return documentOf(run) as TaskDocument;
}

export function stepDocument(step: StepView): StepDocument {
  return documentOf(step) as StepDocument;
}

export function detailsDocument({ steps, ...run }: RunDetails): TaskDetailsDocument {
  return {
    ...(documentOf(run) as Omit<TaskDetailsDocument, 'workflow_steps'>),
    workflow_steps: steps.map(stepDocument),
  };
}

export function investigationDocument(entry: InvestigationView): InvestigationDocument {
  return documentOf(entry) as InvestigationDocument;
}

export function staleDocument({ run, staleness }: StaleRun): unknown {
  const { runId, tenantId, namespace, name, version, state, stateSince, startedAt } = run;
  return documentOf({
    runId,
    tenantId,
    namespace,
    name,
    version,
    state,
    stateSince: new Date(stateSince).toISOString(),
    startedAt: new Date(startedAt).toISOString(),
    level: staleness.level,
    limit: staleness.limit,
    limitMinutes: staleness.limitMinutes,
    minutes: Math.floor(staleness.minutes),
    share: Math.round(staleness.share * 100) / 100,
  });
}

/** What users give to workflows and get from them, as types. */
import type { JobLog } from '../core/job-context.ts';
import type { JsonValue } from '../core/json.ts';
import type { StepRecord } from '../core/workflow/run-record.ts';
import type { CallerTransaction } from '../jobs/transaction.ts';
import type { Tracing } from '../ports/tracing.ts';
import type { RunInfo } from '../ports/workflows.ts';
import type { LifecycleChoice } from './definition.ts';
import type { RunView, StepView } from './operator/run-view.ts';

export interface WorkflowsOptions {
  /** Runs held at once; 500 by default. Queues count apart: each takes over as many. */
  readonly concurrency?: number;
  /** A run that can only wait stays in memory for so long while there is room; 5,000 by default. */
  readonly residencyMs?: number;
  /** How long stop() waits for handlers; 30,000 ms by default. */
  readonly graceMs?: number;
  /** Ended runs are kept for so long; 7 days by default, null for ever. */
  readonly retentionMs?: number | null;
  /** How often to look for due and orphaned runs at the latest; 1,000 ms by default. */
  readonly lookMs?: number;
  /** A run gets more urgent by one for each time that it has waited so long; 60,000 by default. */
  readonly ageingMs?: number;
  /** When open runs are stale, of workflows that leave it open themselves. */
  readonly lifecycle?: LifecycleChoice;
  /** How often stale runs are looked for; 300,000 ms by default. */
  readonly stalenessSweepMs?: number;
  /** Runs of one page of a sweep; 100 by default. */
  readonly stalenessBatch?: number;
  /** Where lines of handlers' own log go; the console by default. */
  readonly log?: (run: RunInfo, step: StepRecord | null) => JobLog;
  /** Runs started inside a span carry its `traceparent`. */
  readonly tracing?: Tracing;
  /** Told of errors that were survived. */
  readonly onError?: (error: unknown, where: string) => void;
}

export interface WorkflowWorkOptions {
  /** Runs held at once; the larger one counts when it is said twice. */
  readonly concurrency?: number;
}

export interface StartOptions {
  /** Idempotency key: at most one run of (tenant, namespace, name) has it. */
  readonly key?: string | undefined;
  /** Of a definition given by name; the one that was added last by default. */
  readonly version?: string | undefined;
  /** 'default' by default. */
  readonly tenantId?: string | undefined;
  /** Smaller runs first; the definition's by default. */
  readonly priority?: number | undefined;
  /** A new UUID by default. */
  readonly correlationId?: string | undefined;
  /** W3C trace context. */
  readonly traceparent?: string | undefined;
  /** Shown with the run and read by nobody. */
  readonly metadata?: Readonly<Record<string, JsonValue>> | undefined;
  /** Not before that. */
  readonly delayMs?: number | undefined;
  /** The caller's own transaction: the run exists if and when it commits. */
  readonly tx?: CallerTransaction | undefined;
  /** What to do when there is such a run already; 'return' by default. */
  readonly onDuplicate?: 'return' | 'throw' | undefined;
}

export interface ResultOptions {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface RunHandle<Result = unknown> {
  readonly runId: string;
  /** A run with this identity was there before, and this is it. */
  readonly duplicate: boolean;
  /** @throws MillraceError WORKFLOW_FAILED, WORKFLOW_CANCELLED, WORKFLOW_TIMEOUT */
  result(options?: ResultOptions): Promise<Result>;
}

export interface VerbOptions {
  /** Who says so, for the audit; 'operator' by default. */
  readonly by?: string | undefined;
  readonly reason?: string | undefined;
}

/** A run with its steps. */
export interface RunDetails extends RunView {
  readonly paused: boolean;
  readonly notes: Readonly<Record<string, unknown>>;
  readonly steps: readonly StepView[];
}

export interface WorkflowsHealth {
  /** Runs in this process now. */
  readonly held: number;
  /** Of them, those that only wait. */
  readonly waiting: number;
  readonly concurrency: number;
  readonly queues: readonly string[];
  readonly commits: number;
  readonly batches: number;
}

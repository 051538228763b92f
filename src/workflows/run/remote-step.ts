/**
 * Steps whose handlers live in another namespace: the driver puts a job named `step` into
 * `Draft.jobs`; a process that works on that namespace's queue loads the run, runs the step and
 * answers with a message of kind `step`. The engine does all of it but the handler's call, which
 * the layer that knows handlers plugs in as `RunRemoteStep`.
 */
import { errorRecord, type JobErrorRecord } from '../../core/error-record.ts';
import { MillraceError } from '../../core/errors.ts';
import type { NewJob } from '../../core/job.ts';
import type { RunRecord, StepRecord } from '../../core/workflow/run-record.ts';
import type { NewMessage, RunInfo, StoredTemplate } from '../../ports/workflows.ts';
import type { AnyWorkflowDefinition } from '../definition.ts';
import type { HeldRun, StepEnding } from './driver.ts';

/** Name of the jobs. */
export const remoteStepJob = 'step';

export interface RemoteStepPayload {
  readonly runId: string;
  /** Number of the step in its run. */
  readonly step: number;
  /** The try that it is: 1 for the first. Its message is delivered once for each. */
  readonly attempt: number;
  readonly correlationId: string;
}

/** Payload of the message that answers; its name is the number of the step. */
export interface RemoteStepResult {
  readonly attempt: number;
  readonly ok: boolean;
  /** JSON text as the step runner printed it. */
  readonly resultJson: string | null;
  readonly error: JobErrorRecord | null;
  readonly retryable: boolean;
  /** What the handler asked for; null: by the policy. */
  readonly delayMs: number | null;
  readonly events: readonly (readonly [name: string, payload: unknown])[];
  /** Worker that ran it. */
  readonly by: string;
}

/** What a remote step is run with. */
export interface RemoteStepCall {
  /**
   * Made for the step runner: the record as stored, the input, a log and a signal, `begin()` for
   * transactional steps. Its `commit`, `rest`, `wait` and `messages` throw: nobody holds the run
   * here.
   */
  readonly run: HeldRun;
  readonly info: RunInfo;
  readonly record: RunRecord;
  readonly step: StepRecord;
  readonly attempt: number;
  /** What the run was started with; null for durable functions. */
  readonly template: StoredTemplate | null;
  /** If this process knows the workflow. */
  readonly definition: AnyWorkflowDefinition | null;
}

/** Null: no handler of this process knows it, and another one shall have it. */
export type RunRemoteStep = (call: RemoteStepCall) => Promise<StepEnding> | null;

/** The job that a driver puts into its draft. */
export function remoteStepJobFor(options: {
  readonly namespace: string;
  readonly info: RunInfo;
  readonly step: number;
  readonly attempt: number;
  readonly delayMs?: number;
}): NewJob {
  const { namespace, info, step, attempt, delayMs = 0 } = options;
  const payload: RemoteStepPayload = {
    runId: info.runId,
    step,
    attempt,
    correlationId: info.correlationId,
  };
  return {
    queue: `${namespace}_queue`,
    tenantId: info.tenantId,
    key: info.key,
    priority: info.priority,
    name: remoteStepJob,
    version: 1,
    payloadJson: JSON.stringify(payload),
    optionsJson: JSON.stringify({
      correlationId: info.correlationId,
      ...(info.traceparent !== null && { traceparent: info.traceparent }),
    }),
    delayMs,
    unique: null,
    dependsOn: [],
    onParentFailure: 'wait',
  };
}

/** The answer as a message; null when the try was aborted and says nothing. */
export function remoteStepMessage(
  call: { readonly runId: string; readonly step: number; readonly attempt: number },
  ending: StepEnding,
  by: string,
): NewMessage | null {
  if (ending.kind === 'aborted') return null;
  const { attempt } = call;
  const value = ending.kind === 'value';
  const result: RemoteStepResult = {
    attempt,
    ok: value,
    resultJson: value ? ending.resultJson : null,
    error: value ? null : ending.error,
    retryable: value ? true : ending.retryable,
    delayMs: value ? null : ending.delayMs,
    events: ending.events,
    by,
  };
  return {
    runId: call.runId,
    messageId: `step:${call.step}:${attempt}`,
    kind: 'step',
    name: String(call.step),
    payloadJson: JSON.stringify(result),
  };
}

/** @throws MillraceError JOB_INVALID when the payload is none of ours. */
export function parseRemoteStep(payload: unknown): RemoteStepPayload {
  const { runId, step, attempt, correlationId } = (payload ?? {}) as Partial<RemoteStepPayload>;
  if (
    typeof runId === 'string' &&
    Number.isSafeInteger(step) &&
    Number.isSafeInteger(attempt) &&
    (step as number) >= 0
  ) {
    return {
      runId,
      step: step as number,
      attempt: attempt as number,
      correlationId: String(correlationId),
    };
  }
  throw new MillraceError('JOB_INVALID', 'A job named `step` has no runId, step and attempt.', {
    fix: 'Such jobs are enqueued by the engine alone; remove this one.',
  });
}

/** What a driver makes of the answer. */
export function parseRemoteStepResult(payloadJson: string): RemoteStepResult {
  const given = JSON.parse(payloadJson) as Partial<RemoteStepResult>;
  const ok = given.ok === true;
  return {
    attempt: Number(given.attempt ?? 1),
    ok,
    resultJson: given.resultJson ?? null,
    error: ok ? null : (given.error ?? errorRecord(new Error('The step failed elsewhere.'))),
    retryable: given.retryable !== false,
    delayMs: given.delayMs ?? null,
    events: given.events ?? [],
    by: String(given.by ?? 'unknown'),
  };
}

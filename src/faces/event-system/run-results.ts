/**
 * Results of steps that belong to a run of a workflow: a durable message to the run, once for each
 * try, whoever runs it and wherever. The run decides what comes next, a further try among it.
 */
import { errorRecord } from '../../core/error-record.ts';
import { isMillraceError } from '../../core/errors.ts';
import type { Millrace } from '../../millrace.ts';
import { remoteStepJob, remoteStepMessage } from '../../workflows/run/remote-step.ts';
import type { StepExecutionResult } from './worker-command.ts';
import type { StepMessage } from './worker-queue-event.ts';

/** A step of a run; the try is 1 for the first. */
export interface RunAddress {
  readonly runId: string;
  readonly step: number;
  readonly attempt: number;
}

/** Null for messages that belong to no run. */
export function runAddressOf({ name, payload }: StepMessage): RunAddress | null {
  if (name !== remoteStepJob || typeof payload !== 'object' || payload === null) return null;
  const { runId, step, attempt } = payload as Partial<RunAddress>;
  const whole = Number.isSafeInteger(step) && Number.isSafeInteger(attempt);
  return typeof runId === 'string' && whole ? ({ runId, step, attempt } as RunAddress) : null;
}

/** What a handler threw, as a result. */
export function failedWith(thrown: unknown): StepExecutionResult {
  const { message } = errorRecord(thrown);
  const name = thrown instanceof Error ? thrown.name : 'Error';
  const retryable = !(isMillraceError(thrown) && thrown.code === 'PERMANENT_FAILURE');
  return { success: false, error: { message, errorType: name, retryable } };
}

/** False when the run is not there, or has ended. Late and doubled results change nothing. */
export async function sendToRun(
  { store, jobs }: Millrace,
  address: RunAddress,
  result: StepExecutionResult,
): Promise<boolean> {
  const message = remoteStepMessage(address, endingOf(result), jobs.workerId);
  if (message === null) return false;
  const { deliveries, woken } = await store.workflows.deliver([message]);
  const { notices } = store.jobs;
  const told = [
    `run ${address.runId}`,
    ...woken.map((queue) => `jobs ${encodeURIComponent(queue)}`),
  ];
  // A notice that fails is made up for: the run's holder looks now and then.
  for (const notice of told) await notices.send(notice).catch(() => {});
  return deliveries.some((one) => one === 'delivered');
}

function endingOf({ success, result, error }: StepExecutionResult) {
  if (success) {
    const resultJson = result === undefined ? null : JSON.stringify(result);
    return { kind: 'value', value: result, resultJson, events: [], transaction: null } as const;
  }
  const thrown = Object.assign(new Error(error?.message ?? 'The step failed.'), {
    name: error?.errorType ?? 'StepFailed',
  });
  const retryable = error?.retryable !== false;
  const record = errorRecord(thrown);
  return { kind: 'error', thrown, error: record, retryable, delayMs: null, events: [] } as const;
}

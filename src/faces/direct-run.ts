/**
 * A job run here and now, without queue and store: by its processor, as often as the policy says,
 * each try within the time limit. For `WorkerManager.processJob`.
 */
import { MillraceError } from '../core/errors.ts';
import { outcomeOf } from '../core/job-outcome.ts';
import { sleep } from '../runtime/bell.ts';
import { JobError, messageOf } from './errors.ts';
import { type Job, type JobVerdict, verdicts } from './job.ts';
import { type Processor, runProcessor } from './job-processor.ts';
import type { WorkPolicy } from './job-runner.ts';

export interface DirectRun {
  readonly job: Job;
  readonly processor: Processor;
  readonly policy: WorkPolicy;
  /** Ends the run, whatever it is doing. */
  readonly signal: AbortSignal;
}

/** @throws JobError JOB_FAILED or JOB_CANCELLED with what was thrown as its cause. */
export async function runDirectly(run: DirectRun): Promise<unknown> {
  const { job, policy, signal } = run;
  const attempts = Math.max(1, job.attempts ?? policy.retryAttempts);
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    const tried = await tryOnce(run, attempt);
    if ('value' in tried) return tried.value;
    signal.throwIfAborted();
    const { error, verdict } = tried;
    if (verdict?.action === 'ignore') return undefined;
    const outcome = outcomeOf(error);
    if (outcome.kind === 'cancelled') throw failure('JOB_CANCELLED', job, attempt, error);
    const over = verdict === null ? attempt >= attempts : verdict.action === 'fail';
    if (outcome.kind === 'dead' || (outcome.kind === 'failed' && over)) {
      throw failure('JOB_FAILED', job, attempt, error);
    }
    if (outcome.kind === 'snoozed') {
      attempt -= 1;
      await sleep(outcome.delayMs, signal);
    } else await sleep(verdict?.delayMs ?? policy.retryDelay, signal);
  }
}

type Tried =
  | { readonly value: unknown }
  | { readonly error: unknown; readonly verdict: JobVerdict | null };

async function tryOnce(run: DirectRun, attempt: number): Promise<Tried> {
  const { processor, policy } = run;
  const { timeout, errorRecovery } = policy;
  const late = new AbortController();
  const signal = AbortSignal.any([run.signal, late.signal]);
  const job: Job = { ...run.job, attempt, signal, updateProgress() {} };
  let verdict: JobVerdict | null = null;
  verdicts.set(job, (given) => {
    verdict = given;
  });
  const timer = timeout > 0 ? setTimeout(() => late.abort(tooLong(timeout)), timeout) : undefined;
  const stopped = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
  try {
    const answer = runProcessor(processor, job, { write() {} });
    return { value: await Promise.race([answer, stopped]) };
  } catch (error) {
    if (verdict === null && outcomeOf(error).kind === 'failed' && !run.signal.aborted) {
      await errorRecovery?.handleError(job, error);
    }
    return { error, verdict };
  } finally {
    clearTimeout(timer);
  }
}

function tooLong(timeoutMs: number): MillraceError {
  return new MillraceError('HANDLER_TIMEOUT', `The processor took over ${timeoutMs} ms.`, {
    details: { timeoutMs },
  });
}

function failure(
  code: 'JOB_FAILED' | 'JOB_CANCELLED',
  job: Job,
  attempts: number,
  cause: unknown,
): JobError {
  const what = code === 'JOB_FAILED' ? 'failed' : 'was cancelled';
  const tries = attempts === 1 ? '1 try' : `${attempts} tries`;
  const message = `Job ${job.id} (${job.type}) ${what} after ${tries}: ${messageOf(cause)}`;
  return new JobError(code, message, { cause, jobId: job.id, attempts });
}

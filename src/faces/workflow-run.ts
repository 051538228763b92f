/**
 * An execution as its owner sees it: waits for its end, shows where it stands, cancels it, by
 * following the chain of jobs that run-chain.ts makes. Any process can, with the id alone.
 */
import { isMillraceError } from '../core/errors.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { JobView } from '../jobs/view.ts';
import type { Engine } from './connection.ts';
import { JobError } from './errors.ts';
import { overStatuses, type Turn, type TurnPayload } from './run-chain.ts';
import type { WorkflowStep } from './workflow.ts';

/** A turn takes milliseconds where there is a process for it. */
const betweenMs = 10_000;

/** What is known of one step of a run. */
export interface StepStatus {
  readonly name: string;
  readonly processor: string;
  /** That of its job; 'pending' before it has one, 'forgotten' when it is not kept any more. */
  readonly status: string;
  readonly attempts: number;
  readonly error: string | null;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
}

export interface RunStatus {
  readonly runId: string;
  readonly workflow: string;
  readonly status: 'running' | 'completed' | 'failed';
  readonly steps: readonly StepStatus[];
  /** What the last step returned. */
  readonly result: unknown;
  readonly error: string | null;
}

/** An execution, as `WorkflowEngine.execute` answers it. */
export class WorkflowRun {
  readonly id: string;
  readonly workflow: string;
  readonly #engine: Engine;

  constructor(engine: Engine, id: string, workflow: string) {
    this.#engine = engine;
    this.id = id;
    this.workflow = workflow;
  }

  /**
   * Waits for the end of the run, wherever it goes on. Answers with what its last step returned.
   * @throws JobError JOB_FAILED or JOB_CANCELLED naming the step; JOB_TIMEOUT
   */
  async result(
    options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
  ): Promise<unknown> {
    const { timeoutMs, signal } = options;
    const until = performance.now() + (timeoutMs ?? 0);
    for (let id = this.id; ; ) {
      const left = Math.max(0, until - performance.now());
      const turn = (await this.#wait(id, {
        ...(timeoutMs !== undefined && { timeoutMs: left }),
        ...(signal && { signal }),
      })) as Turn;
      if (turn.kind === 'completed') return turn.result;
      if (turn.kind === 'failed') throw runError(this.id, this.workflow, turn);
      id = turn.id;
    }
  }

  /** Where the run stands. Null when it is not kept any more. */
  async status(): Promise<RunStatus | null> {
    return this.#engine.call((jobs) => readRun(jobs, this.id));
  }

  /**
   * Cancels the step that is waiting or running; the run ends with it. False when it was over.
   * @throws JobError JOB_TIMEOUT when the run is between two steps and no process leads it on.
   */
  async cancel(): Promise<boolean> {
    for (let id = this.id; ; ) {
      const turn = await this.#engine.call((jobs) => jobs.get<TurnPayload, Turn>(id));
      if (turn === null || overStatuses.has(turn.status)) return false;
      if (turn.status === 'completed') {
        if (turn.result?.kind !== 'next') return false;
        id = turn.result.id;
        continue;
      }
      // A turn that runs may have enqueued what follows: only a start that has not begun goes.
      const { stepId } = turn.payload;
      const target = stepId ?? (turn.status === 'running' ? null : id);
      if (target !== null && (await this.#engine.call((jobs) => jobs.cancel(target))).length > 0) {
        return true;
      }
      await this.#wait(id, { timeoutMs: betweenMs });
    }
  }

  async #wait(id: string, options: { timeoutMs?: number; signal?: AbortSignal }) {
    try {
      return await this.#engine.result(id, options);
    } catch (error) {
      if (!isMillraceError(error)) throw error;
      const { code, fix } = error;
      const message = `Run ${this.id} of '${this.workflow}': ${error.message}`;
      throw new JobError(code, message, { cause: error, fix, jobId: this.id });
    }
  }
}

/** A run that failed, as an error. */
export function runError(
  runId: string,
  workflow: string,
  { step, failure }: Extract<Turn, { kind: 'failed' }>,
): JobError {
  const { status, code, message, attempts } = failure;
  const what = status === 'cancelled' ? 'was cancelled' : 'failed';
  return new JobError(
    status === 'cancelled' ? 'JOB_CANCELLED' : 'JOB_FAILED',
    `Workflow '${workflow}' ${what} at step '${step}': ${message}`,
    { jobId: runId, attempts, details: { runId, workflow, step, code } },
  );
}

async function readRun(jobs: Jobs, runId: string): Promise<RunStatus | null> {
  const start = await jobs.get<TurnPayload, Turn>(runId);
  if (start === null || !start.name.startsWith('workflow:')) return null;
  const { workflow, steps } = start.payload;
  const known: StepStatus[] = [];
  let turn = start.result;
  let status: RunStatus['status'] = overStatuses.has(start.status) ? 'failed' : 'running';
  while (turn?.kind === 'next') {
    const step = steps[known.length] as WorkflowStep;
    const [job, next] = await Promise.all([
      jobs.get(turn.stepId),
      jobs.get<TurnPayload, Turn>(turn.id),
    ]);
    known.push(toStepStatus(step, job));
    turn = next?.result ?? null;
  }
  if (turn?.kind === 'completed' || turn?.kind === 'failed') status = turn.kind;
  const pending = steps.slice(known.length).map((step) => toStepStatus(step, undefined));
  return {
    runId,
    workflow,
    status,
    steps: [...known, ...pending],
    result: turn?.kind === 'completed' ? turn.result : null,
    error: turn?.kind === 'failed' ? turn.failure.message : null,
  };
}

function toStepStatus({ name, processor }: WorkflowStep, job: JobView | null | undefined) {
  const [startedAt, finishedAt] = [job?.startedAt, job?.finishedAt];
  return {
    name,
    processor,
    status: job?.status ?? (job === null ? 'forgotten' : 'pending'),
    attempts: (job?.failures ?? 0) + (job?.status === 'completed' ? 1 : 0),
    error: job?.error?.message ?? null,
    startedAt: startedAt ? new Date(startedAt) : null,
    finishedAt: finishedAt ? new Date(finishedAt) : null,
  };
}

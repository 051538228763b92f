/**
 * One execution of a workflow, as a chain of jobs: each step is a job, and each has its turn, a job
 * that waits for the step's end however it comes, and then leads on: to the next step and its turn,
 * or to the end of the run. Whatever dies in between, the chain goes on from where it is.
 *
 *   start ──> step 0 <── turn 0 ──> step 1 <── turn 1 ──> … ──> the last turn ends the run
 *
 * Invariant: what a turn enqueues has a unique key of the run and the step's number, so a turn that
 * runs again adds nothing. The id of a run is that of its start. The steps travel with the run: one
 * that is under way is not changed by a new release of its workflow.
 */
import { isMillraceError } from '../core/errors.ts';
import { snooze } from '../core/job-outcome.ts';
import type { Jobs } from '../jobs/jobs.ts';
import type { JobView } from '../jobs/view.ts';
import type { Engine } from './connection.ts';
import { definitionFor, toBackoff } from './job-request.ts';
import type { WorkSettings } from './settings.ts';
import type { WorkflowStep } from './workflow.ts';

/** What a step's job holds. */
export interface StepPayload {
  readonly runId: string;
  readonly workflow: string;
  readonly step: WorkflowStep;
  readonly data: unknown;
}

/** What a turn's job holds. */
export interface TurnPayload {
  readonly workflow: string;
  readonly steps: readonly WorkflowStep[];
  /** Null in the start, whose own id it is. */
  readonly runId: string | null;
  /** The step it waited for; -1 in the start. */
  readonly index: number;
  readonly stepId: string | null;
  /** Of the start: what the first step gets. */
  readonly data?: unknown;
}

/** What a turn came to. */
export type Turn =
  | { readonly kind: 'next'; readonly step: string; readonly stepId: string; readonly id: string }
  | { readonly kind: 'completed'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly step: string; readonly failure: StepFailure };

export interface StepFailure {
  readonly status: string;
  readonly code: string | null;
  readonly message: string;
  readonly attempts: number;
}

/** What a turn knows of its own job. */
interface TurnSituation {
  readonly id: string;
  readonly tenantId: string;
  readonly signal: AbortSignal;
}

export const stepName = (processor: string): string => `step:${processor}`;
export const turnName = (workflow: string): string => `workflow:${workflow}`;

/** A turn must not be given up while the store is away: the run would stand still for ever. */
const turnAttempts = 1_000;
const weekMs = 7 * 86_400_000;

export class RunChain {
  readonly #engine: Engine;
  readonly #settings: WorkSettings;

  constructor(engine: Engine, settings: WorkSettings) {
    this.#engine = engine;
    this.#settings = settings;
  }

  /** Durable when it resolves, with the run's id. */
  async start(
    workflow: string,
    steps: readonly WorkflowStep[],
    data: unknown,
    tenantId: string,
  ): Promise<string> {
    const payload: TurnPayload = { workflow, steps, runId: null, index: -1, stepId: null, data };
    const definition = this.#turnDefinition(workflow);
    const options = { tenantId, attempts: turnAttempts };
    const { id } = await this.#engine.call((jobs) => jobs.enqueue(definition, payload, options));
    return id;
  }

  /** Leads on from a step's end, or from the start. */
  async turn(jobs: Jobs, payload: TurnPayload, own: TurnSituation): Promise<Turn> {
    const { steps, stepId, index } = payload;
    own.signal.throwIfAborted();
    const at = { ...payload, runId: payload.runId ?? own.id };
    if (stepId === null) return this.#next(jobs, at, own.tenantId, payload.data);
    const step = (steps[index] as WorkflowStep).name;
    const ended = await jobs.get(stepId);
    const status = ended?.status ?? 'removed';
    if (status === 'completed') {
      const result = ended?.result ?? null;
      if (index + 1 < steps.length) return this.#next(jobs, at, own.tenantId, result);
      return { kind: 'completed', result };
    }
    // Somebody retried the step before its turn came.
    if (ended && !overStatuses.has(status))
      throw snooze(1_000, `Step '${step}' is ${status} again.`);
    return { kind: 'failed', step, failure: failureOf(ended, status) };
  }

  /** To the next step; data that cannot be a job's ends the run instead. */
  async #next(
    jobs: Jobs,
    at: TurnPayload & { readonly runId: string },
    tenantId: string,
    data: unknown,
  ): Promise<Turn> {
    try {
      return await this.#enqueue(jobs, at, tenantId, data);
    } catch (error) {
      if (!isMillraceError(error) || !unfit.has(error.code)) throw error;
      const step = (at.steps[at.index + 1] as WorkflowStep).name;
      const { code, message } = error;
      return { kind: 'failed', step, failure: { status: 'refused', code, message, attempts: 0 } };
    }
  }

  async #enqueue(
    jobs: Jobs,
    { workflow, steps, runId, index }: TurnPayload & { readonly runId: string },
    tenantId: string,
    data: unknown,
  ): Promise<Turn> {
    const next = index + 1;
    const step = steps[next] as WorkflowStep;
    const { retryAttempts = this.#settings.retryAttempts } = step;
    const { retryDelay = this.#settings.retryDelay, timeout = this.#settings.timeout } = step;
    const once = (what: string) =>
      ({ key: `${what} ${next} of ${runId}`, mode: 'throttle', windowMs: weekMs }) as const;
    const stepQueue = this.#engine.scoped(stepName(step.processor));
    const stepPayload: StepPayload = { runId, workflow, step, data };
    const { id: stepId } = await jobs.enqueue(
      definitionFor(stepQueue, stepName(step.processor)),
      stepPayload,
      {
        tenantId,
        attempts: Math.max(1, retryAttempts),
        backoff: toBackoff(retryDelay),
        timeoutMs: timeout,
        correlationId: runId,
        unique: once('step'),
      },
    );
    const turn: TurnPayload = { workflow, steps, runId, index: next, stepId };
    const { id } = await jobs.enqueue(this.#turnDefinition(workflow), turn, {
      tenantId,
      attempts: turnAttempts,
      correlationId: runId,
      unique: once('turn'),
      dependsOn: [stepId],
      onParentFailure: 'run',
    });
    return { kind: 'next', step: step.name, stepId, id };
  }

  #turnDefinition(workflow: string) {
    return definitionFor(this.#engine.scoped(turnName(workflow)), turnName(workflow));
  }
}

const unfit: ReadonlySet<string> = new Set(['JOB_INVALID', 'JOB_TOO_LARGE', 'PAYLOAD_NOT_JSON']);
/** A job of these does not go on by itself. */
export const overStatuses: ReadonlySet<string> = new Set(['dead', 'cancelled', 'quarantined']);

function failureOf(step: JobView | null, status: string): StepFailure {
  const { error = null, failures = 0 } = step ?? {};
  const message = error?.message ?? `it was ${status}`;
  return { status, code: error?.code ?? null, message, attempts: failures };
}

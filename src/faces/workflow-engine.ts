/**
 * `WorkflowEngine`: executes workflows step by step, durably: `execute` resolves when the run is
 * stored, and from then on it goes on whatever process dies, wherever the processors of its steps
 * are registered. How it goes on is in run-chain.ts.
 */
import { defineJob } from '../core/job-definition.ts';
import { Connection, type ConnectionOptions, type Engine } from './connection.ts';
import { asQueueError, asWorkerError, messageOf, WorkerError } from './errors.ts';
import { tenantIn } from './job-request.ts';
import { Listeners } from './listeners.ts';
import {
  RunChain,
  type StepPayload,
  stepName,
  type Turn,
  type TurnPayload,
  turnName,
} from './run-chain.ts';
import { readWork, type WorkOptions, type WorkSettings } from './settings.ts';
import type { StepContext, StepWork, Workflow, WorkflowStep } from './workflow.ts';
import { runError, WorkflowRun } from './workflow-run.ts';
import type { Employment } from './workshop.ts';

export interface WorkflowEngineOptions extends ConnectionOptions, WorkOptions {
  readonly workflows?: readonly Workflow[] | undefined;
}

export interface ExecuteOptions {
  /** Whose run it is; `data.tenantId` by default, where that is a text, else 'default'. */
  readonly tenantId?: string | undefined;
}

/** Event → what its listeners are called with; in the process that ended the run. */
export interface WorkflowEvents {
  readonly completed: { readonly runId: string; readonly workflow: string; result: unknown };
  readonly failed: { readonly runId: string; readonly workflow: string; readonly error: Error };
  /** onSuccess or onError threw, or the connection could not be made. */
  readonly error: { readonly error: unknown };
}

const namePattern = /^[A-Za-z0-9_.:/-]{1,64}$/;

export class WorkflowEngine {
  readonly #connection: Connection;
  readonly #settings: WorkSettings;
  readonly #chain: RunChain;
  readonly #workflows = new Map<string, Workflow>();
  readonly #processors = new Map<string, StepWork>();
  readonly #employments = new Map<string, Employment>();
  /** Those of them that are worked on. */
  readonly #employed = new Set<Employment>();
  readonly #listeners = new Listeners<WorkflowEvents>();
  #starting: Promise<void> | null = null;

  /** Connects when it is first used. @throws WorkerError DEFINITION_INVALID naming the workflow. */
  constructor(options: WorkflowEngineOptions = {}) {
    this.#settings = readWork(options);
    this.#connection = new Connection('WorkflowEngine', options);
    this.#chain = new RunChain(this.#engine, this.#settings);
    for (const workflow of options.workflows ?? []) this.registerWorkflow(workflow);
  }

  /** @throws WorkerError DEFINITION_INVALID naming what is wrong. */
  registerWorkflow(workflow: Workflow): this {
    checkWorkflow(workflow);
    if (this.#workflows.has(workflow.name)) {
      throw invalid(`There are two workflows '${workflow.name}'.`);
    }
    this.#workflows.set(workflow.name, workflow);
    this.#employments.set(turnName(workflow.name), this.#turns(workflow.name));
    if (this.#starting !== null) this.#startSoon();
    return this;
  }

  /** Does the steps that name this processor, in this process and from now on. */
  registerStepProcessor(name: string, processor: StepWork): this {
    checkName(name, 'The step processor');
    if (this.#processors.has(name)) throw invalid(`There are two step processors '${name}'.`);
    this.#processors.set(name, processor);
    this.#employments.set(stepName(name), this.#steps(name, processor));
    this.#startSoon();
    return this;
  }

  /**
   * Starts a run; resolves when it is durable, not when it has ended: `result()` waits for that.
   * Steps whose processor is registered nowhere wait until one is.
   * @throws WorkerError NOT_FOUND, STORE_UNAVAILABLE; QueueError JOB_INVALID for data beyond JSON.
   */
  async execute(name: string, data: unknown, options: ExecuteOptions = {}): Promise<WorkflowRun> {
    const workflow = this.#workflows.get(name);
    if (workflow === undefined) {
      throw new WorkerError('NOT_FOUND', `There is no workflow '${name}' here.`, {
        fix: `Register it; there are: ${[...this.#workflows.keys()].join(', ') || 'none'}.`,
      });
    }
    try {
      await this.start();
      const steps = workflow.steps.map(toStored);
      const tenantId = options.tenantId ?? tenantIn(data);
      const id = await this.#chain.start(name, steps, data, tenantId);
      return new WorkflowRun(this.#engine, id, name);
    } catch (error) {
      throw asQueueError(error);
    }
  }

  /** A run by its id, of this or another process, of now or before a restart. */
  async getRun(runId: string): Promise<WorkflowRun | null> {
    try {
      const found = await this.#engine.call((jobs) => jobs.get<TurnPayload>(runId));
      if (!found?.name.startsWith('workflow:')) return null;
      return new WorkflowRun(this.#engine, runId, found.payload.workflow);
    } catch (error) {
      throw asQueueError(error);
    }
  }

  /** Goes on with the runs there are. `execute` and `registerStepProcessor` do so, too. */
  async start(): Promise<void> {
    const { workshop } = this.#engine;
    const waiting = [...this.#employments.values()].filter((it) => !this.#employed.has(it));
    for (const employment of waiting) this.#employed.add(employment);
    this.#starting = Promise.all([
      this.#starting,
      ...waiting.map((employment) => workshop.employ(employment)),
    ]).then(() => {});
    try {
      await this.#starting;
    } catch (error) {
      this.#starting = null;
      for (const employment of waiting) this.#employed.delete(employment);
      throw asWorkerError(error);
    }
  }

  /** Returns how to stop listening. */
  on<E extends keyof WorkflowEvents>(
    event: E,
    listener: (event: WorkflowEvents[E]) => void,
  ): () => void {
    return this.#listeners.on(event, listener);
  }

  /** Steps that run come to their end; runs go on elsewhere, or after the next start. */
  async close(): Promise<void> {
    if (this.#connection.closed) return this.#connection.close();
    const { engine } = this.#connection;
    const worked = this.#starting !== null;
    await this.#starting?.catch(() => {});
    engine.workshop.release(this.#employments.values());
    await this.#connection.close();
    if (worked && engine.holders > 0) await engine.renew();
  }

  /** The same as `close`. */
  stop(): Promise<void> {
    return this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #engine(): Engine {
    return this.#connection.engine;
  }

  #startSoon(): void {
    this.start().catch((error) => {
      if (this.#listeners.emit('error', { error })) return;
      this.#connection.engine.workshop.report(error);
    });
  }

  #steps(name: string, processor: StepWork): Employment {
    const queue = this.#engine.scoped(stepName(name));
    const handler = ({ step, data, runId, workflow }: StepPayload, context: StepSituation) => {
      const { attempt, signal } = context;
      const given: StepContext = { runId, workflow, attempt, signal };
      if (typeof processor === 'function') return processor(step, data as never, given);
      return processor.process(step, data, given);
    };
    return {
      concurrency: this.#settings.concurrency,
      define: () => defineJob(stepName(name), { queue, handler }),
    };
  }

  #turns(name: string): Employment {
    const queue = this.#engine.scoped(turnName(name));
    return {
      concurrency: this.#settings.concurrency,
      define: (jobs) =>
        defineJob(turnName(name), {
          queue,
          backoff: { kind: 'exponential', delayMs: 100, maxDelayMs: 10_000 },
          handler: async (payload: TurnPayload, own): Promise<Turn> => {
            const turn = await this.#chain.turn(jobs, payload, own);
            if (turn.kind !== 'next') await this.#end(payload.runId ?? own.id, name, turn);
            return turn;
          },
        }),
    };
  }

  /** What the run's owner thinks of its end does not change it. */
  async #end(
    runId: string,
    workflow: string,
    turn: Exclude<Turn, { kind: 'next' }>,
  ): Promise<void> {
    const definition = this.#workflows.get(workflow);
    try {
      if (turn.kind === 'completed') {
        this.#listeners.emit('completed', { runId, workflow, result: turn.result });
        await definition?.onSuccess?.(turn.result);
      } else {
        const error = runError(runId, workflow, turn);
        this.#listeners.emit('failed', { runId, workflow, error });
        await definition?.onError?.(error);
      }
    } catch (error) {
      if (this.#listeners.emit('error', { error })) return;
      const which = turn.kind === 'completed' ? 'onSuccess' : 'onError';
      process.emitWarning(`${which} of '${workflow}' threw: ${messageOf(error)}`, {
        type: 'MillraceWarning',
      });
    }
  }
}

type StepSituation = Pick<StepContext, 'attempt' | 'signal'>;

/** What of a step is stored with a run. */
function toStored({ name, processor, retryAttempts, retryDelay, timeout }: WorkflowStep) {
  return {
    name,
    processor,
    ...(retryAttempts !== undefined && { retryAttempts }),
    ...(retryDelay !== undefined && { retryDelay }),
    ...(timeout !== undefined && { timeout }),
  };
}

function checkWorkflow({ name, steps }: Workflow): void {
  checkName(name, 'The workflow');
  if (!Array.isArray(steps) || steps.length === 0) {
    throw invalid(`The workflow '${name}' has no steps.`);
  }
  const names = new Set<string>();
  for (const step of steps as readonly WorkflowStep[]) {
    checkName(step.processor, `The processor of step '${step.name}' of '${name}'`);
    if (names.has(step.name)) throw invalid(`'${name}' has two steps '${step.name}'.`);
    names.add(step.name);
    for (const option of ['retryAttempts', 'retryDelay', 'timeout'] as const) {
      const value = step[option];
      if (value === undefined || (Number.isInteger(value) && value >= 0)) continue;
      throw invalid(
        `${option} of step '${step.name}' of '${name}' is ${String(value)}, ` +
          'not a whole number from 0.',
      );
    }
  }
}

function checkName(name: unknown, what: string): void {
  if (typeof name === 'string' && namePattern.test(name)) return;
  throw invalid(
    `${what} is called '${String(name)}'.`,
    'Use 1 to 64 letters, digits, _ . : / or -.',
  );
}

function invalid(message: string, fix?: string): WorkerError {
  return new WorkerError('DEFINITION_INVALID', message, { fix });
}

/**
 * Workflows as users see them: register, work, start, wait, tell, look. What is done with runs is
 * the engine's.
 */
import { MillraceError } from '../core/errors.ts';
import { auditOf, parseChange, type Transition } from '../core/workflow/run-record.ts';
import type { TaskState } from '../core/workflow/states.ts';
import { asSqlTransaction } from '../jobs/transaction.ts';
import type { RunFilter } from '../ports/workflow-queries.ts';
import type { Delivery, NewMessage, StartResult, WorkflowStore } from '../ports/workflows.ts';
import type { AnyWorkflowDefinition, WorkflowDefinition } from './definition.ts';
import { Engine, type WorkflowsSurroundings } from './engine.ts';
import { resultOf } from './finishes.ts';
import {
  type RunView,
  readDocument,
  readRecord,
  toRunView,
  toStepView,
} from './operator/run-view.ts';
import { applyVerb, type VerbAnswer, type VerbRequest } from './operator/verbs.ts';
import type {
  ResultOptions,
  RunDetails,
  RunHandle,
  StartOptions,
  VerbOptions,
  WorkflowsHealth,
  WorkflowsOptions,
  WorkflowWorkOptions,
} from './options.ts';
import type { FromTemplate } from './registry.ts';
import type { RunObserver } from './run/observer.ts';
import type { RunRemoteStep } from './run/remote-step.ts';

/** Seams for the layers that know templates and handlers. */
export interface WorkflowsPlugs {
  /** Makes a definition of a stored template, for runs whose own is not registered any more. */
  readonly fromTemplate?: FromTemplate;
  /** Runs a step whose run is held elsewhere. */
  readonly runRemoteStep?: RunRemoteStep;
  /** Telemetry's. */
  readonly observer?: RunObserver;
}

export class Workflows {
  readonly #engine: Engine;
  readonly #store: WorkflowStore;
  readonly #listen: () => void;

  constructor(surroundings: WorkflowsSurroundings, options: WorkflowsOptions = {}) {
    this.#engine = new Engine(surroundings, options);
    this.#store = surroundings.store.workflows;
    this.#listen = () => surroundings.jobs.tenure.listen();
  }

  /**
   * Plugs in what knows templates, handlers and telemetry. `observer` is for telemetry only: what
   * it is told changes with the engine. Business logic subscribes to domain events.
   */
  plug({ fromTemplate, runRemoteStep, observer }: WorkflowsPlugs): void {
    const { registry, remoteSteps, observers } = this.#engine;
    if (fromTemplate) registry.fromTemplate = fromTemplate;
    if (runRemoteStep) remoteSteps.run = runRemoteStep;
    if (observer) observers.push(observer);
  }

  /** Makes workflows known here, to start runs of them that others work on. */
  register(definitions: AnyWorkflowDefinition | readonly AnyWorkflowDefinition[]): void {
    for (const definition of listOf(definitions)) this.#engine.add(definition, false);
  }

  /**
   * Works on workflows; before or after start(). Several versions of one stand side by side.
   * @example mill.workflows.work([OrderWorkflow], { concurrency: 200 });
   */
  work(
    definitions: AnyWorkflowDefinition | readonly AnyWorkflowDefinition[],
    options: WorkflowWorkOptions = {},
  ): void {
    this.#engine.resize(options.concurrency);
    for (const definition of listOf(definitions)) this.#engine.add(definition, true);
  }

  /** Runs steps of other namespaces' workflows that are sent to these namespaces. */
  workOnSteps(namespaces: readonly string[], options: WorkflowWorkOptions = {}): void {
    this.#engine.resize(options.concurrency);
    for (const namespace of namespaces) this.#engine.workQueue(`${namespace}_queue`);
  }

  /** The definitions that this process knows. */
  get definitions(): readonly AnyWorkflowDefinition[] {
    return this.#engine.registry.all;
  }

  /**
   * Starts a run; resolves after the durable commit.
   * @example
   * const { runId, result } = await mill.workflows.start(OrderWorkflow, { orderId: 'o-1' });
   * @throws MillraceError WORKFLOW_UNKNOWN, WORKFLOW_INPUT_INVALID, WORKFLOW_DUPLICATE (if asked
   * for), BACKPRESSURE
   */
  async start<Input, Result>(
    workflow: WorkflowDefinition<Input, Result>,
    input: Input,
    options?: StartOptions,
  ): Promise<RunHandle<Result>>;
  async start(workflow: string, input: unknown, options?: StartOptions): Promise<RunHandle>;
  async start(
    workflow: AnyWorkflowDefinition | string,
    input: unknown,
    options: StartOptions = {},
  ): Promise<RunHandle> {
    if (this.#engine.isStopped) throw stopped();
    const definition =
      typeof workflow === 'string'
        ? this.#engine.registry.find(workflow, options.version)
        : workflow;
    const result = options.tx
      ? await this.#engine.starter.startIn(asSqlTransaction(options.tx), definition, input, options)
      : await this.#engine.starter.start(definition, input, options);
    if (result.duplicate && options.onDuplicate === 'throw') throw duplicate(definition, result);
    return this.#handleOf(result);
  }

  /** Starts many runs of one workflow, in as few commits as possible. */
  startMany<Input, Result>(
    workflow: WorkflowDefinition<Input, Result>,
    inputs: readonly Input[],
    options?: StartOptions,
  ): Promise<RunHandle<Result>[]> {
    return Promise.all(inputs.map((input) => this.start(workflow, input, options)));
  }

  /**
   * Waits until a run has ended, wherever it is, and answers with its result.
   * @throws MillraceError WORKFLOW_FAILED (when it is blocked by failures, too),
   * WORKFLOW_CANCELLED, WORKFLOW_TIMEOUT, NOT_FOUND
   */
  async result(runId: string, options: ResultOptions = {}): Promise<unknown> {
    if (this.#engine.holder.find(runId) === undefined) this.#listen();
    return resultOf(runId, await this.#engine.finishes.wait(runId, options));
  }

  /** Sends a signal to a run. The same message id again is a duplicate. */
  signal(
    runId: string,
    name: string,
    payload?: unknown,
    options: { readonly messageId?: string } = {},
  ): Promise<Delivery> {
    return this.#engine.messenger.tell(runId, 'signal', name, payload ?? null, options.messageId);
  }

  /** Answers an approval that a run waits for. */
  approve(
    runId: string,
    name: string,
    decision: unknown,
    options: { readonly messageId?: string } = {},
  ): Promise<Delivery> {
    return this.#engine.messenger.tell(
      runId,
      'approval',
      name,
      decision ?? null,
      options.messageId,
    );
  }

  cancel(runId: string, options: VerbOptions = {}): Promise<Delivery> {
    return this.#tell(runId, 'cancel', options);
  }
  /** Nothing new begins until it is resumed; handlers at work finish. */
  pause(runId: string, options: VerbOptions = {}): Promise<Delivery> {
    return this.#tell(runId, 'pause', options);
  }
  resume(runId: string, options: VerbOptions = {}): Promise<Delivery> {
    return this.#tell(runId, 'resume', options);
  }
  /** Steps that failed for good are tried again. */
  retry(runId: string, options: VerbOptions = {}): Promise<Delivery> {
    return this.#tell(runId, 'retry', options);
  }
  /** That step, and all that come after it. */
  retryFrom(runId: string, step: string, options: VerbOptions = {}): Promise<Delivery> {
    return this.#tell(runId, 'retry_from', { ...options, step });
  }
  /** From the start. */
  reset(runId: string, options: VerbOptions = {}): Promise<Delivery> {
    return this.#tell(runId, 'reset', options);
  }
  resetStep(runId: string, step: string, options: VerbOptions = {}): Promise<Delivery> {
    return this.#tell(runId, 'reset_step', { ...options, step });
  }
  /** Counts as done, without a result. */
  resolveStep(runId: string, step: string, options: VerbOptions = {}): Promise<Delivery> {
    return this.#tell(runId, 'resolve_step', { ...options, step });
  }
  /** Counts as done, with the result that is given. */
  completeStep(
    runId: string,
    step: string,
    result: unknown,
    options: VerbOptions = {},
  ): Promise<Delivery> {
    return this.#tell(runId, 'complete_step', { ...options, step, result });
  }
  /** The run is over, and counts as done. */
  resolve(
    runId: string,
    options: VerbOptions & { readonly result?: unknown } = {},
  ): Promise<Delivery> {
    return this.#tell(runId, 'resolve_run', options);
  }
  /** A blocked run ends in error. */
  giveUp(runId: string, options: VerbOptions = {}): Promise<Delivery> {
    return this.#tell(runId, 'give_up', options);
  }

  /** A verb with its checks: is the run in a state for it, and has it had its effect? */
  apply(runId: string, request: VerbRequest): Promise<VerbAnswer> {
    const deliver = (messages: readonly NewMessage[]) => this.#engine.messenger.deliver(messages);
    return applyVerb({ workflows: this.#store, deliver }, runId, request);
  }

  /** Stores messages of any kind, and tells those who should look. */
  deliver(messages: readonly NewMessage[]): Promise<readonly Delivery[]> {
    return this.#engine.messenger.deliver(messages);
  }

  /** A run with its steps; null: there is none. */
  async get(runId: string): Promise<RunDetails | null> {
    const { queries } = this.#store;
    const [[summary], history] = await Promise.all([queries.find([runId]), queries.history(runId)]);
    if (summary === undefined) return null;
    const record = readRecord(history.map(({ changeJson }) => changeJson));
    const notes = [...record.notes].map(([key, json]) => [key, readDocument(json)] as const);
    return {
      ...toRunView(summary),
      paused: record.paused,
      notes: Object.fromEntries(notes),
      steps: record.steps.map((step) => toStepView(runId, step)),
    };
  }

  /** Every transition of a run and its steps, in order, with who and why. */
  async history(runId: string): Promise<readonly Transition[]> {
    const rows = await this.#store.queries.history(runId);
    return auditOf(rows.map(({ changeJson }) => parseChange(changeJson)));
  }

  /** Newest first. */
  async list(
    filter: RunFilter = {},
    { limit = 100, after = null }: { limit?: number; after?: string | null } = {},
  ): Promise<{ readonly runs: readonly RunView[]; readonly next: string | null }> {
    const page = await this.#store.queries.list(filter, { limit, after });
    return { runs: page.runs.map(toRunView), next: page.next };
  }

  counts(filter: RunFilter = {}): Promise<ReadonlyMap<TaskState, number>> {
    return this.#store.queries.counts(filter);
  }

  health(): WorkflowsHealth {
    return this.#engine.health();
  }

  /** After the jobs; by Millrace. */
  open(): Promise<void> {
    return this.#engine.open();
  }

  /** A notice of another process that is not about jobs or the log; by Millrace. */
  hear(notice: string): void {
    this.#engine.hear(notice);
  }

  /** Notices may have been missed before now; by Millrace. */
  connected(): void {
    this.#engine.holder.nudgeAll();
  }

  /** Before the jobs; by Millrace. Handlers may finish; what is not over goes on elsewhere. */
  stop(options: { readonly graceMs?: number } = {}): Promise<void> {
    return this.#engine.stop(options.graceMs);
  }

  #handleOf<Result>({ runId, duplicate }: StartResult): RunHandle<Result> {
    const result = (options?: ResultOptions) => this.result(runId, options) as Promise<Result>;
    return { runId, duplicate, result };
  }

  #tell(
    runId: string,
    verb: string,
    {
      by = 'operator',
      ...rest
    }: VerbOptions & { readonly step?: string; readonly result?: unknown },
  ): Promise<Delivery> {
    return this.#engine.messenger.tell(runId, 'verb', verb, { ...rest, by });
  }
}

function listOf(definitions: AnyWorkflowDefinition | readonly AnyWorkflowDefinition[]) {
  return Array.isArray(definitions)
    ? (definitions as readonly AnyWorkflowDefinition[])
    : [definitions as AnyWorkflowDefinition];
}

function stopped(): MillraceError {
  return new MillraceError('SHUTTING_DOWN', 'This instance was stopped.');
}

function duplicate({ namespace, name }: AnyWorkflowDefinition, { runId }: StartResult) {
  const message = `A run of ${namespace}/${name} with this identity is there: ${runId}.`;
  return new MillraceError('WORKFLOW_DUPLICATE', message, { details: { runId } });
}

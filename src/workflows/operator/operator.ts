/**
 * What operators do with runs, in one place: look, ask why, tell a run something, investigate,
 * measure. The command line and the API are doors to this; everything is delegated.
 */
import { MillraceError } from '../../core/errors.ts';
import { checkJson, parseStored } from '../../core/json.ts';
import { auditOf, parseChange, type Transition } from '../../core/workflow/run-record.ts';
import type { TaskState } from '../../core/workflow/states.ts';
import type { JobStore } from '../../ports/jobs.ts';
import type { RunFilter, RunSummary } from '../../ports/workflow-queries.ts';
import type { Delivery, MessageKind, NewMessage, WorkflowStore } from '../../ports/workflows.ts';
import {
  type AnyWorkflowDefinition,
  completeLifecycle,
  type Lifecycle,
  type LifecycleChoice,
  lifecycleMembers,
} from '../definition.ts';
import type { RunDetails } from '../options.ts';
import {
  type AnalyticsRequest,
  type Bottlenecks,
  findBottlenecks,
  measurePerformance,
  type Performance,
} from './analytics.ts';
import { type BulkRuns, type BulkRunsRequest, startBulkRuns } from './bulk-runs.ts';
import { DeadLetterDesk } from './dead-letters.ts';
import { drawRun } from './mermaid.ts';
import type { RunWhy } from './reason.ts';
import { type RunView, recordOf, type StepView, toRunView, toStepView } from './run-view.ts';
import { type StaleRun, Sweeper, type SweepReport } from './staleness.ts';
import {
  applyVerb,
  awaitEffect,
  findRun,
  findStep,
  missed,
  notFound,
  type VerbAnswer,
  type VerbRequest,
} from './verbs.ts';
import { explainRun } from './why.ts';

export interface OperatorOptions {
  readonly workflows: WorkflowStore;
  readonly jobs: Pick<JobStore, 'queries' | 'queues' | 'workers'>;
  /** Those that this process knows. */
  definitions(): readonly AnyWorkflowDefinition[];
  /** Delivers, and tells those who should look. */
  deliver(messages: readonly NewMessage[]): Promise<readonly Delivery[]>;
  /** Of workflows that leave it open; the rest is built in. */
  readonly lifecycle?: LifecycleChoice | undefined;
  /** 300,000 by default. */
  readonly sweepEveryMs?: number | undefined;
  /** Runs of one page of a sweep; 100 by default. */
  readonly sweepBatch?: number | undefined;
  onStale?(stale: StaleRun): void;
  onError(error: unknown, where: string): void;
}

/** Short ids shorter than that would match by chance. */
const shortMin = 4;

export class WorkflowOperator {
  readonly deadLetters: DeadLetterDesk;
  readonly #options: OperatorOptions;
  readonly #sweeper: Sweeper;
  readonly #lifecycle: Lifecycle;

  constructor(options: OperatorOptions) {
    this.#options = options;
    const { queries } = options.workflows;
    this.#lifecycle = completeLifecycle(options.lifecycle ?? {});
    this.deadLetters = new DeadLetterDesk(queries);
    this.#sweeper = new Sweeper({
      queries,
      jobs: options.jobs,
      desk: this.deadLetters,
      lifecycles: () => [
        this.#lifecycle,
        ...options.definitions().map((one) => this.lifecycleIn(one)),
      ],
      batch: options.sweepBatch,
      lifecycleOf: (run) => this.lifecycleOf(run),
      deliver: (messages) => options.deliver(messages),
      ...(options.onStale && { onWarning: options.onStale }),
      onError: (error, where) => options.onError(error, where),
    });
  }

  /** Begins to sweep; for processes that work. */
  start(): void {
    this.#sweeper.start(this.#options.sweepEveryMs);
  }

  stop(): Promise<void> {
    return this.#sweeper.stop();
  }

  /** The run with its steps; null when there is none. */
  async show(runId: string): Promise<RunDetails | null> {
    const { queries } = this.#options.workflows;
    const [run] = await queries.find([runId]);
    if (run === undefined) return null;
    const record = await recordOf(queries, run);
    const notes = [...record.notes].map(([key, json]) => [key, parseStored(json)] as const);
    return {
      ...toRunView(run),
      paused: record.paused,
      notes: Object.fromEntries(notes),
      steps: record.steps.map((step) => toStepView(runId, step)),
    };
  }

  /** Newest first. */
  async list(
    filter: RunFilter = {},
    { limit = 100, after = null }: { limit?: number; after?: string | null } = {},
  ): Promise<{ readonly runs: readonly RunView[]; readonly next: string | null }> {
    const page = await this.#options.workflows.queries.list(filter, { limit, after });
    return { runs: page.runs.map(toRunView), next: page.next };
  }

  counts(filter: RunFilter = {}): Promise<ReadonlyMap<TaskState, number>> {
    return this.#options.workflows.queries.counts(filter);
  }

  /**
   * The whole id of the one run whose id begins or ends like that; a whole id is answered as it is.
   * @throws MillraceError NOT_FOUND; REQUEST_INVALID when several runs match
   */
  async resolveId(given: string, tenantId?: string): Promise<string> {
    const text = given.trim().toLowerCase();
    if (text.length === 36) return text;
    if (!/^[0-9a-f-]+$/.test(text) || text.length < shortMin) {
      throw new MillraceError('REQUEST_INVALID', `'${given}' is no id of a run.`, {
        fix: `Give the whole UUID, or its first or last ${shortMin} digits or more.`,
      });
    }
    const { queries } = this.#options.workflows;
    const [first, ...others] = await queries.match(text, { tenantId, limit: 6 });
    if (first === undefined) throw notFound(given);
    if (others.length === 0) return first;
    const several = [first, ...others].slice(0, 5).join(', ');
    throw new MillraceError('REQUEST_INVALID', `Several runs match ${given}: ${several}.`, {
      fix: 'Give more digits; the last ones differ most.',
    });
  }

  /** @throws MillraceError NOT_FOUND */
  async step(runId: string, step: string): Promise<StepView & { readonly audit: Transition[] }> {
    const { queries } = this.#options.workflows;
    const run = await findRun(queries, runId);
    const found = findStep(runId, await recordOf(queries, run), step);
    if (found === null) {
      throw new MillraceError('NOT_FOUND', `Run ${runId} has no step ${step}.`, {
        fix: `Look at its steps: millrace workflow steps ${runId}`,
      });
    }
    const audit = (await this.audit(runId)).filter((row) => row.step === found.name);
    return { ...toStepView(runId, found), audit };
  }

  /** Every transition, in order. @throws MillraceError NOT_FOUND */
  async audit(runId: string): Promise<readonly Transition[]> {
    const { queries } = this.#options.workflows;
    const history = await queries.history(runId);
    if (history.length === 0) await findRun(queries, runId);
    return auditOf(history.map(({ changeJson }) => parseChange(changeJson)));
  }

  /** What holds a run up, and the command that clears it. @throws MillraceError NOT_FOUND */
  async why(runId: string): Promise<RunWhy> {
    const { workflows, jobs } = this.#options;
    const lifecycleOf = (run: RunSummary) => this.lifecycleOf(run);
    const why = await explainRun({ workflows, jobs, lifecycleOf }, runId);
    if (why) return why;
    throw notFound(runId);
  }

  /** @throws MillraceError NOT_FOUND, WORKFLOW_STATE */
  verb(runId: string, request: VerbRequest): Promise<VerbAnswer> {
    return applyVerb(this.#options, runId, request);
  }

  signal(runId: string, name: string, payload: unknown, id?: string): Promise<Sent> {
    return this.#send('signal', runId, name, payload, id);
  }

  /** Answers the approval step of that name. */
  approve(runId: string, step: string, decision: ApprovalDecision, id?: string): Promise<Sent> {
    return this.#send('approval', runId, step, decision, id);
  }

  /** One verb for all runs of a filter, as an object that can be watched and stopped. */
  bulk(request: BulkRunsRequest): Promise<BulkRuns> {
    const { workflows, deliver } = this.#options;
    return startBulkRuns({ queries: workflows.queries, deliver }, request);
  }

  performance(request: AnalyticsRequest = {}): Promise<Performance> {
    return measurePerformance(this.#options.workflows.queries, request);
  }

  bottlenecks(request: AnalyticsRequest & { readonly limit?: number } = {}): Promise<Bottlenecks> {
    return findBottlenecks(this.#options.workflows.queries, request);
  }

  /** Mermaid text. @throws MillraceError NOT_FOUND */
  async visualize(runId: string): Promise<string> {
    const run = await this.show(runId);
    if (run === null) throw notFound(runId);
    return drawRun(run, run.steps);
  }

  /** Runs near or beyond a limit of their lifecycle, worst first. */
  staleness(filter: { readonly tenantId?: string } = {}): Promise<readonly StaleRun[]> {
    return this.#sweeper.look(filter);
  }

  /** What the interval does by itself, now. */
  sweep(): Promise<SweepReport> {
    return this.#sweeper.sweep();
  }

  /** Of the definition here, else of the template that the run was started with. */
  async lifecycleOf(run: RunSummary): Promise<Lifecycle> {
    const { workflows, definitions } = this.#options;
    const known = definitions().find(
      ({ namespace, name, version }) =>
        namespace === run.namespace && name === run.name && version === run.version,
    );
    if (known) return this.lifecycleIn(known);
    if (run.templateHash === '') return this.#lifecycle;
    const template = await workflows.template(run.templateHash);
    return completeLifecycle(storedChoice(template?.definitionJson ?? '{}'), this.#lifecycle);
  }

  /** What a definition says, and what is configured where it says nothing. */
  lifecycleIn({ lifecycle }: Pick<AnyWorkflowDefinition, 'lifecycle'>): Lifecycle {
    return completeLifecycle(lifecycle, this.#lifecycle);
  }

  async #send(
    kind: MessageKind,
    runId: string,
    name: string,
    payload: unknown,
    messageId: string = crypto.randomUUID(),
  ): Promise<Sent> {
    checkJson(payload);
    const payloadJson = JSON.stringify(payload ?? null);
    const message = { runId, messageId, kind, name, payloadJson };
    const [delivery] = await this.#options.deliver([message]);
    if (delivery === 'unknown') throw notFound(runId);
    if (delivery === 'ended') {
      throw new MillraceError('WORKFLOW_STATE', `Run ${runId} has ended: it hears no ${kind}.`, {
        fix: 'Start another run, or reset this one if it failed.',
        details: { runId },
      });
    }
    const effect = await awaitEffect(this.#options, message, 500);
    if (effect === 'missed')
      throw missed(await findRun(this.#options.workflows.queries, runId), kind);
    return { messageId, duplicate: delivery === 'duplicate', read: effect === 'read' };
  }
}

export interface Sent {
  readonly messageId: string;
  /** A message with this id was there before. */
  readonly duplicate: boolean;
  /** The run has read it already. */
  readonly read: boolean;
}

export interface ApprovalDecision {
  readonly approved: boolean;
  readonly by: string;
  readonly comment?: string | undefined;
  readonly data?: unknown;
}

/** What a stored template says. */
function storedChoice(definitionJson: string): LifecycleChoice {
  const { lifecycle } = parseStored(definitionJson) as { lifecycle?: LifecycleChoice | null };
  const said = lifecycle ?? {};
  return Object.fromEntries(lifecycleMembers.map((member) => [member, said[member]]));
}

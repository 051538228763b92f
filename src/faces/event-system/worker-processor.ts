/**
 * The commands of a worker. Those that execute steps end in one place: they ask the engine to
 * claim, and the claim decides whether a message is this worker's, whichever path spoke of it and
 * however often. Nothing is executed beside the engine.
 */
import { MillraceError } from '../../core/errors.ts';
import { formatJobId, parseJobId } from '../../core/job.ts';
import type { ClaimReport, ConductedQueue } from '../../jobs/conducting.ts';
import type { Millrace } from '../../millrace.ts';
import type { SystemHealth } from './event-driven-system.ts';
import { sendToRun } from './run-results.ts';
import type { StepDesk } from './step-desk.ts';
import type {
  EventReceipt,
  ResultReceipt,
  StepAddress,
  StepExecutionResult,
  StepReceipt,
  TemplateRefresh,
  WorkerAnswer,
  WorkerCommand,
  WorkerCommandType,
  WorkerStatus,
} from './worker-command.ts';
import { workerCommandTypes } from './worker-command.ts';
import type { WorkerCounters } from './worker-event-statistics.ts';
import type { MessageReadyEvent } from './worker-queue-event.ts';

export interface WorkerProcessorOptions {
  readonly mill: Millrace;
  readonly desk: StepDesk;
  readonly counters: WorkerCounters;
  /** Null: the system does not run, or has no such queue. */
  queue(name: string): ConductedQueue | null;
  status(): WorkerStatus;
  health(): Promise<SystemHealth>;
  refreshTemplates(namespace: string | null): Promise<TemplateRefresh>;
  shutdown(graceMs: number | undefined): Promise<void>;
}

type Outcome = StepReceipt['status'];

interface Wanted {
  readonly lane: number;
  readonly offset: number;
  readonly outcome: Promise<Outcome>;
  settle(outcome: Outcome): void;
  refuse(error: unknown): void;
}

/** Ids that were claimed here lately, for messages that are spoken of again. */
const recentMax = 20_000;

export class WorkerProcessor {
  readonly commands: Record<WorkerCommandType, number>;
  readonly #options: WorkerProcessorOptions;
  readonly #wanted = new Map<string, Wanted>();
  readonly #recent = new Set<string>();
  /** Events by queue that no claim has answered yet. */
  readonly #unanswered = new Map<string, number>();

  constructor(options: WorkerProcessorOptions) {
    this.#options = options;
    const none = workerCommandTypes.map((type) => [type, 0] as const);
    this.commands = Object.fromEntries(none) as Record<WorkerCommandType, number>;
  }

  /**
   * Takes a command and answers it.
   * @throws MillraceError SHUTTING_DOWN when the system does not run, NOT_FOUND for a message that
   * is not there, JOB_STATE for one that is not to be run now, REQUEST_INVALID
   */
  async send<Command extends WorkerCommand>(command: Command): Promise<WorkerAnswer<Command>> {
    if (!workerCommandTypes.includes(command.type)) {
      throw invalid(`'${command.type}' is not a command of a worker.`);
    }
    this.commands[command.type] += 1;
    return (await this.#answer(command)) as WorkerAnswer<Command>;
  }

  /** As the poller sends it: what it found was waiting a moment ago. */
  executeFound(queueName: string, messageId: string): Promise<StepReceipt> {
    this.commands.ExecuteStep += 1;
    return this.#execute(queueName, messageId, null);
  }

  /** The engine has claimed, or found nothing. */
  claimed(queueName: string, { jobs, ration, looked }: ClaimReport): void {
    for (const job of jobs) this.#remember(formatJobId(job));
    if (looked && ration === null) {
      const events = this.#unanswered.get(queueName) ?? 0;
      this.#unanswered.delete(queueName);
      if (jobs.length === 0) this.#options.counters.deduplicated += events;
    }
    if (this.#wanted.size === 0) return;
    const last = new Map<number, number>();
    for (const { lane, offset } of jobs) last.set(lane, Math.max(last.get(lane) ?? 0, offset));
    for (const job of jobs) this.#settle(formatJobId(job), 'accepted');
    // Lanes are taken in order: what lies before a claimed message was somebody else's.
    for (const [id, { lane, offset }] of this.#wanted) {
      const passed = (last.get(lane) ?? 0) > offset;
      const gone = ration?.lane === lane && ration.over && !last.has(lane);
      if (passed || gone) this.#settle(id, 'duplicate');
    }
    if (ration?.over) this.#claimWanted(queueName, ration.lane);
  }

  /** Nothing will be claimed any more: whoever waits is told. */
  refuseAll(): void {
    const stopped = new MillraceError('SHUTTING_DOWN', 'The worker event system was stopped.');
    for (const { refuse } of this.#wanted.values()) refuse(stopped);
    this.#wanted.clear();
    this.#unanswered.clear();
  }

  #answer(command: WorkerCommand): unknown {
    const { desk, status, health, refreshTemplates, shutdown } = this.#options;
    switch (command.type) {
      case 'ExecuteStep':
      case 'ExecuteStepFromMessage':
        return this.#executeChecked(command.queueName, command.message.messageId, null);
      case 'ExecuteStepWithCorrelation':
        return this.#executeChecked(
          command.queueName,
          command.message.messageId,
          command.correlationId,
        );
      case 'ExecuteStepFromEvent':
        return this.#claimFor(command.messageEvent);
      case 'SendStepResult':
        return this.#deliver(command.step, command.result);
      case 'ProcessStepCompletion':
        return this.#deliver(command.step, command.result, command.correlationId);
      case 'GetWorkerStatus':
        return status();
      case 'SetEventIntegration':
        desk.integration = command.enabled;
        return desk.status();
      case 'GetEventStatus':
        return desk.status();
      case 'RefreshTemplateCache':
        return refreshTemplates(command.namespace ?? null);
      case 'HealthCheck':
        return health();
      case 'Shutdown':
        return shutdown(command.graceMs).then(() => ({ stopped: true }));
    }
  }

  #claimFor({ queueName, lanes }: MessageReadyEvent): EventReceipt {
    const queue = this.#options.queue(queueName);
    if (queue === null) return { queueName, accepted: false };
    if (lanes.length > 0) {
      this.#unanswered.set(queueName, (this.#unanswered.get(queueName) ?? 0) + 1);
    }
    queue.claim(lanes);
    return { queueName, accepted: true };
  }

  async #executeChecked(
    queueName: string,
    messageId: string,
    correlationId: string | null,
  ): Promise<StepReceipt> {
    const job = await this.#options.mill.jobs.get(messageId);
    if (job === null || job.queue !== queueName) {
      throw new MillraceError('NOT_FOUND', `There is no message ${messageId} in ${queueName}.`);
    }
    if (job.status === 'waiting') return this.#execute(queueName, messageId, correlationId);
    if (job.status === 'running' || job.status === 'completed') {
      this.#options.counters.deduplicated += 1;
      return { messageId, queueName, status: 'duplicate', correlationId };
    }
    throw new MillraceError('JOB_STATE', `Message ${messageId} is ${job.status}, not waiting.`, {
      fix: `Use the verbs of jobs: \`millrace jobs run ${messageId}\` or \`jobs retry\`.`,
    });
  }

  async #execute(
    queueName: string,
    messageId: string,
    correlationId: string | null,
  ): Promise<StepReceipt> {
    const queue = this.#options.queue(queueName);
    if (queue === null) {
      throw new MillraceError('SHUTTING_DOWN', `Nothing works on ${queueName} here.`, {
        fix: 'Start the worker event system, with the namespace of this queue.',
      });
    }
    const { desk, counters } = this.#options;
    const answer = (status: Outcome) => ({ messageId, queueName, status, correlationId });
    if (this.#recent.has(messageId)) {
      counters.deduplicated += 1;
      return answer('duplicate');
    }
    if (correlationId !== null) desk.correlate(messageId, correlationId);
    const wanted = this.#wanted.get(messageId) ?? this.#want(messageId);
    this.#claimWanted(queueName, wanted.lane);
    const status = await wanted.outcome;
    if (status === 'duplicate') {
      desk.forget(messageId);
      counters.deduplicated += 1;
    }
    return answer(status);
  }

  #want(messageId: string): Wanted {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    promise.catch(() => {});
    const wanted = { ...parseJobId(messageId), outcome: promise, settle: resolve, refuse: reject };
    this.#wanted.set(messageId, wanted);
    return wanted;
  }

  /** As many of a lane as are wanted of it, and no more: others may be too young. */
  #claimWanted(queueName: string, lane: number): void {
    let most = 0;
    for (const wanted of this.#wanted.values()) if (wanted.lane === lane) most += 1;
    if (most > 0) this.#options.queue(queueName)?.claimSome(lane, most);
  }

  #settle(messageId: string, outcome: Outcome): void {
    this.#wanted.get(messageId)?.settle(outcome);
    this.#wanted.delete(messageId);
  }

  #remember(messageId: string): void {
    this.#recent.add(messageId);
    if (this.#recent.size <= recentMax) return;
    for (const oldest of this.#recent) {
      this.#recent.delete(oldest);
      break;
    }
  }

  /** Of a step that is not held here: its run's. Null: there is none to compare with. */
  async #correlationOf(step: StepAddress): Promise<string | null> {
    if (!('runId' in step)) return null;
    const { queries } = this.#options.mill.store.workflows;
    const [run] = await queries.find([step.runId]);
    return run?.correlationId ?? null;
  }

  /** To its run first, which keeps it; then the message that is held here has done its part. */
  async #deliver(
    step: StepAddress,
    result: StepExecutionResult,
    correlationId?: string,
  ): Promise<ResultReceipt> {
    const { mill, desk } = this.#options;
    const held = desk.heldAt(step);
    const address = 'runId' in step ? step : (held?.address ?? null);
    if (correlationId !== undefined) {
      const own = held === null ? await this.#correlationOf(step) : held.correlationId;
      checkCorrelation(correlationId, own);
    }
    if (address === null) {
      const completed = held !== null && desk.complete(held.messageId, result);
      return { delivered: completed ? 'held' : 'unknown' };
    }
    const delivered = await sendToRun(mill, address, result);
    if (held !== null) desk.complete(held.messageId, { success: true, result: result.result });
    return { delivered: delivered ? 'run' : 'unknown' };
  }
}

/** Completions of another execution than the one they name are a mistake of the caller. */
function checkCorrelation(given: string, own: string | null): void {
  if (own === null || own === given) return;
  throw new MillraceError(
    'REQUEST_INVALID',
    `The completion is for correlation id '${given}', and the step has '${own}'.`,
    { fix: 'Give the correlationId that the step was handed out with, or leave it out.' },
  );
}

function invalid(message: string): MillraceError {
  return new MillraceError('REQUEST_INVALID', message);
}

/**
 * What travels between the parts of a worker event system: events of queues, notifications, and
 * step messages as handlers get them.
 */
import { isUuid } from '../../core/ids.ts';
import type { JobContext } from '../../core/job-context.ts';
import { stepUuid } from '../../core/workflow/step-uuid.ts';
import type { WakeSource } from '../../runtime/heads.ts';
import type { SystemHealth } from './event-driven-system.ts';

/** Step messages wait in a namespace's queue. Which ones, the claim decides. */
export interface MessageReadyEvent {
  readonly queueName: string;
  readonly namespace: string;
  /** An enqueue of this process, a notice of another one, or a look after missed notices. */
  readonly path: WakeSource;
  /** Lanes of the queue that got messages; none: any may have. */
  readonly lanes: readonly number[];
  /** Of `Date.now()`. */
  readonly receivedAt: number;
}

export type WorkerQueueEvent = {
  readonly type: 'StepMessage';
  readonly message: MessageReadyEvent;
};

export interface WorkerHealthUpdate extends SystemHealth {
  readonly before: SystemHealth['status'];
}

export type WorkerNotification =
  | { readonly type: 'Event'; readonly event: WorkerQueueEvent }
  | { readonly type: 'Health'; readonly health: WorkerHealthUpdate };

/** A message of a namespace's queue. The steps of workflows and plain jobs are alike in this. */
export interface StepMessage {
  /** `<lane>-<offset>`, as `jobs.enqueue` answered it. */
  readonly messageId: string;
  readonly queueName: string;
  readonly namespace: string;
  /** Name of the job; `step` for steps of workflows. */
  readonly name: string;
  readonly taskUuid: string | null;
  /** The one that its context, its audit and its domain events have. */
  readonly stepUuid: string | null;
  readonly correlationId: string | null;
  /** 1 for the first delivery. */
  readonly attempt: number;
  readonly enqueuedAt: Date;
  readonly payload: unknown;
}

export interface StepMessageContext {
  /** Aborted by the visibility timeout, a cancel, a lost lease, and the end of a stop's grace. */
  readonly signal: AbortSignal;
  readonly log: JobContext['log'];
  readonly correlationId: string | null;
}

/** What it returns is the message's result; what it throws is retried with the backoff. */
export type StepMessageHandler = (
  message: StepMessage,
  context: StepMessageContext,
) => unknown | Promise<unknown>;

/** `{namespace}_queue`. */
export function queueOf(namespace: string): string {
  return `${namespace}_queue`;
}

type Facts = Pick<JobContext, 'id' | 'queue' | 'name' | 'attempt' | 'enqueuedAt' | 'correlationId'>;

/** A job as step message. Both spellings of its ids are read. */
export function toStepMessage(payload: unknown, facts: Facts): StepMessage {
  const given = (typeof payload === 'object' && payload !== null ? payload : {}) as Readonly<
    Record<string, unknown>
  >;
  const text = (...names: readonly string[]): string | null => {
    const found = names.map((name) => given[name]).find((value) => value !== undefined);
    return found === undefined || found === null ? null : String(found);
  };
  return {
    messageId: facts.id,
    queueName: facts.queue,
    namespace: facts.queue.replace(/_queue$/, ''),
    name: facts.name,
    taskUuid: text('task_uuid', 'taskUuid', 'runId'),
    stepUuid: text('step_uuid', 'stepUuid') ?? uuidOfStep(given),
    correlationId: text('correlation_id', 'correlationId') ?? facts.correlationId,
    attempt: facts.attempt,
    enqueuedAt: facts.enqueuedAt,
    payload,
  };
}

/** Steps of runs come by the run's id and their number in it. */
function uuidOfStep({ runId, step }: Readonly<Record<string, unknown>>): string | null {
  const isStep = typeof runId === 'string' && isUuid(runId) && Number.isSafeInteger(step);
  return isStep ? stepUuid(runId, step as number) : null;
}

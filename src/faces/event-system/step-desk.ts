/**
 * Where step messages are worked on: around every handler of the system's queues, whoever defined
 * it. It counts and measures, puts aside what is too old, and with event integration on it hands a
 * message out to something else and holds it until its result comes.
 *
 * It runs inside the engine's own handler call: claim, time limit, retry and settlement are its.
 */
import { isMillraceError, MillraceError, permanentFailure } from '../../core/errors.ts';
import type { JobContext } from '../../core/job-context.ts';
import { snooze } from '../../core/job-outcome.ts';
import { RunContext } from '../../jobs/context.ts';
import { failedWith, type RunAddress, runAddressOf } from './run-results.ts';
import type { EventIntegrationStatus, StepAddress, StepExecutionResult } from './worker-command.ts';
import type { WorkerCounters } from './worker-event-statistics.ts';
import { type StepMessage, type StepMessageHandler, toStepMessage } from './worker-queue-event.ts';

export interface StepDeskOptions {
  readonly counters: WorkerCounters;
  /** Null: no message is too old. */
  readonly maxAgeMs: number | null;
  /** Null: nobody here knows messages of this name. */
  handlerOf(name: string): StepMessageHandler | null;
  /** The step of a run has ended here. */
  sendToRun(address: RunAddress, result: StepExecutionResult): Promise<unknown>;
  /** A message is handed out: its result comes by `complete`. */
  onHandedOut(message: StepMessage): void;
  /** A handler has ended, and its slot is free. */
  onEnded(queueName: string): void;
}

/** A message that was handed out, and whose result has not come. */
export interface HeldMessage extends Pick<Held, 'address' | 'correlationId'> {
  readonly messageId: string;
}

interface Held {
  /** Of the step of a run. */
  readonly address: RunAddress | null;
  /** As the message was handed out. */
  readonly correlationId: string | null;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

/** A message that nobody here knows is offered again after so long. */
const unknownMs = 5_000;

export class StepDesk {
  readonly #options: StepDeskOptions;
  readonly #held = new Map<string, Held>();
  readonly #correlations = new Map<string, string>();
  #running = 0;
  #published = 0;
  #completed = 0;
  integration = false;

  constructor(options: StepDeskOptions) {
    this.#options = options;
  }

  get running(): number {
    return this.#running;
  }

  status(): EventIntegrationStatus {
    return {
      enabled: this.integration,
      pending: this.#held.size,
      published: this.#published,
      completed: this.#completed,
    };
  }

  /** The message's handler shall know this id in place of its own. */
  correlate(messageId: string, correlationId: string): void {
    this.#correlations.set(messageId, correlationId);
  }

  forget(messageId: string): void {
    this.#correlations.delete(messageId);
  }

  /** Around a handler of these queues, as middleware of the engine. */
  async watch(job: JobContext, next: () => Promise<unknown>): Promise<unknown> {
    const { counters, onEnded } = this.#options;
    const began = performance.now();
    this.#running += 1;
    counters.messagesStarted += 1;
    if (job.attempt === 1) counters.startLatency.note(Date.now() - job.enqueuedAt.getTime());
    try {
      const result = await next();
      counters.messagesCompleted += 1;
      counters.consecutiveErrors = 0;
      return result;
    } catch (error) {
      const outcome = error instanceof MillraceError && error.code === 'JOB_OUTCOME';
      if (!outcome) {
        counters.messagesFailed += 1;
        counters.consecutiveErrors += 1;
        counters.errors.note();
      }
      throw error;
    } finally {
      this.#running -= 1;
      counters.duration.note(performance.now() - began);
      this.forget(job.id);
      // After the engine has freed the slot.
      setImmediate(() => onEnded(job.queue));
    }
  }

  /** Of messages for which no other definition is known here. */
  async handle(payload: unknown, job: JobContext): Promise<unknown> {
    this.#checkAge(job);
    const message = this.#messageOf(payload, job);
    if (this.integration) return this.#handOut(message, job.signal);
    const handler = this.#options.handlerOf(message.name);
    if (handler === null) throw snooze(unknownMs, `No handler here knows '${message.name}'.`);
    const { signal, log } = job;
    const context = { signal, log, correlationId: message.correlationId };
    const address = runAddressOf(message);
    return address === null
      ? handler(message, context)
      : this.#runFor(address, message, () => handler(message, context), signal);
  }

  /** A run has its own rules for tries: it is told how this one ended, and the message is done. */
  async #runFor(
    address: RunAddress,
    { messageId }: StepMessage,
    handle: () => unknown,
    signal: AbortSignal,
  ): Promise<unknown> {
    let result: StepExecutionResult;
    try {
      result = { success: true, result: await handle() };
    } catch (error) {
      if (isTaken(error) || (signal.aborted && isTaken(signal.reason))) throw error;
      this.#options.counters.messagesFailed += 1;
      result = failedWith(error);
    }
    await this.#options.sendToRun(address, result);
    return { messageId, success: result.success };
  }

  /** The message that is held for this step. */
  heldAt(step: StepAddress): HeldMessage | null {
    if ('messageId' in step) {
      const held = this.#held.get(step.messageId);
      if (held === undefined) return null;
      const { address, correlationId } = held;
      return { messageId: step.messageId, address, correlationId };
    }
    for (const [messageId, { address, correlationId }] of this.#held) {
      const same = address?.runId === step.runId && address.step === step.step;
      if (same && address.attempt === step.attempt) return { messageId, address, correlationId };
    }
    return null;
  }

  /** False when no message of this id is held here. */
  complete(messageId: string, { success, result, error }: StepExecutionResult): boolean {
    const held = this.#held.get(messageId);
    if (held === undefined) return false;
    this.#held.delete(messageId);
    this.#completed += 1;
    if (success) held.resolve(result);
    else held.reject(failureOf(messageId, error));
    return true;
  }

  #messageOf(payload: unknown, job: JobContext): StepMessage {
    const message = toStepMessage(payload, job);
    const correlationId = this.#correlations.get(job.id) ?? message.correlationId;
    return { ...message, correlationId };
  }

  #handOut(message: StepMessage, signal: AbortSignal): Promise<unknown> {
    const { messageId } = message;
    return new Promise((resolve, reject) => {
      const giveUp = () => {
        this.#held.delete(messageId);
        reject(signal.reason);
      };
      if (signal.aborted) return giveUp();
      const over = (act: () => void) => {
        signal.removeEventListener('abort', giveUp);
        act();
      };
      this.#held.set(messageId, {
        address: runAddressOf(message),
        correlationId: message.correlationId,
        resolve: (result) => over(() => resolve(result)),
        reject: (error) => over(() => reject(error)),
      });
      signal.addEventListener('abort', giveUp, { once: true });
      this.#published += 1;
      this.#options.onHandedOut(message);
    });
  }

  /** What has a state row was delayed, tried or retried by hand: it is due by that, however old. */
  #checkAge(job: JobContext): void {
    const { maxAgeMs, counters } = this.#options;
    const touched = job instanceof RunContext && job.job.exceptional;
    const ageMs = Date.now() - job.enqueuedAt.getTime();
    if (maxAgeMs === null || ageMs <= maxAgeMs || touched) return;
    counters.messagesTooOld += 1;
    throw permanentFailure(
      `The message waited for ${Math.round(ageMs / 1_000)} s, longer than max_age allows ` +
        `(${maxAgeMs / 1_000} s), and was put aside unrun. Retry it to run it all the same.`,
    );
  }
}

/**
 * The message was taken from its handler: whoever gets it next says how the step ended, and what
 * this one came to would stand in the way of that answer.
 */
function isTaken(reason: unknown): boolean {
  return isMillraceError(reason) && ['SHUTTING_DOWN', 'LEASE_LOST'].includes(reason.code);
}

function failureOf(messageId: string, error: StepExecutionResult['error']): Error {
  const message = error?.message ?? `The step of message ${messageId} failed.`;
  if (error?.retryable === false) return permanentFailure(message);
  return Object.assign(new Error(message), { name: error?.errorType ?? 'StepFailed' });
}

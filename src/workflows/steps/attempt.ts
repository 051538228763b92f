/**
 * One try of a step: what its handler gets as tools, and what the try comes to. It ends once, by
 * whoever is first: the handler, its time limit, or the loss or cancelling of its run; what comes
 * after that is ignored. Tools are made when a handler asks for them, because most never do.
 */
import { MillraceError } from '../../core/errors.ts';
import type { JobLog } from '../../core/job-context.ts';
import { freezeJson } from '../../core/json.ts';
import type { SqlTransaction } from '../../core/sql-transaction.ts';
import type { HeldRun, HeldTransaction, StepCall, StepEnding, StepTools } from '../run/driver.ts';
import { observeHandler } from '../run/observer.ts';
import { viewFailure } from './step-failure.ts';
import { printStepResult } from './step-result.ts';
import { forgetDeadline, forgetSignal, type Watched, watchDeadline, watchSignal } from './watch.ts';

type PublishedEvents = Extract<StepEnding, { kind: 'value' }>['events'];

const noEvents: PublishedEvents = Object.freeze([]);
export const abortedEnding: StepEnding = Object.freeze({ kind: 'aborted' });

export class Attempt implements StepTools, Watched {
  readonly #run: HeldRun;
  readonly #call: StepCall;
  readonly #transaction: HeldTransaction | null;
  deadlineAt = Number.POSITIVE_INFINITY;
  #over = false;
  #events: [name: string, payload: unknown][] | null = null;
  #controller: AbortController | null = null;
  #reason: unknown = null;
  #resolve: ((ending: StepEnding) => void) | null = null;

  constructor(run: HeldRun, call: StepCall, transaction: HeldTransaction | null) {
    this.#run = run;
    this.#call = call;
    this.#transaction = transaction;
  }

  get runId(): string {
    return this.#run.info.runId;
  }
  get stepName(): string {
    return this.#call.step.name;
  }
  get idempotencyKey(): string {
    return `${this.#run.info.runId}:${this.#call.step.name}`;
  }
  get attempt(): number {
    return this.#call.attempt;
  }
  get attemptsMax(): number {
    return this.#call.attemptsMax;
  }
  get tx(): SqlTransaction | undefined {
    return this.#transaction?.tx;
  }
  get log(): JobLog {
    return this.#run.log(this.#call.step);
  }
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#reason !== null) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  // Getters that give a function: handlers take their tools apart in the parameter list.
  get heartbeat(): () => void {
    return () => {
      if (!this.#over) this.#setDeadline();
    };
  }
  get publishEvent(): (name: string, payload: unknown) => void {
    return (name, payload) => this.#publish(name, payload);
  }

  /** Calls the handler. A value that is no promise ends the try in the same turn. */
  start(): Promise<StepEnding> {
    let answer: unknown;
    try {
      const { step, attempt } = this.#call;
      answer = observeHandler(this.#run.observers, this.#run, step, attempt, () =>
        this.#call.handle(this),
      );
    } catch (error) {
      return Promise.resolve(this.#close(this.#fail(error)));
    }
    if (!isThenable(answer)) return Promise.resolve(this.#close(this.#succeed(answer)));
    return this.#follow(answer);
  }

  timeOut(): void {
    const { timeoutMs } = this.#call;
    const error = new MillraceError(
      'HANDLER_TIMEOUT',
      `Step '${this.stepName}' took over ${timeoutMs} ms.`,
      { details: { step: this.stepName, timeoutMs } },
    );
    this.#stop(error);
    this.#end(this.#fail(error));
  }

  abort(reason: unknown): void {
    this.#stop(reason);
    this.#end(abortedEnding);
  }

  #follow(answer: PromiseLike<unknown>): Promise<StepEnding> {
    const { signal } = this.#run;
    const { cancel } = this.#call;
    const ending = new Promise<StepEnding>((resolve) => {
      this.#resolve = resolve;
    });
    // The handler itself may have been what lost or cancelled the run.
    if (signal.aborted) this.abort(signal.reason);
    else if (cancel?.aborted) this.abort(cancel.reason);
    else {
      this.#setDeadline();
      watchDeadline(this);
      watchSignal(signal, this);
      if (cancel) watchSignal(cancel, this);
    }
    Promise.resolve(answer).then(
      (value) => {
        if (!this.#over) this.#end(this.#succeed(value));
      },
      (error) => {
        if (!this.#over) this.#end(this.#fail(error));
      },
    );
    return ending;
  }

  #setDeadline(): void {
    const { timeoutMs } = this.#call;
    if (timeoutMs > 0) this.deadlineAt = performance.now() + timeoutMs;
  }

  #succeed(value: unknown): StepEnding {
    let resultJson: string | null;
    try {
      resultJson = printStepResult(this.#call.step.name, value);
    } catch (error) {
      return this.#fail(error);
    }
    return {
      kind: 'value',
      value,
      resultJson,
      events: this.#events ?? noEvents,
      transaction: this.#transaction,
    };
  }

  #fail(thrown: unknown): StepEnding {
    const { error, retryable, delayMs } = viewFailure(thrown);
    return { kind: 'error', thrown, error, retryable, delayMs, events: this.#events ?? noEvents };
  }

  #end(ending: StepEnding): void {
    if (this.#over) return;
    forgetDeadline(this);
    forgetSignal(this.#run.signal, this);
    const { cancel } = this.#call;
    if (cancel) forgetSignal(cancel, this);
    this.#resolve?.(this.#close(ending));
  }

  #close(ending: StepEnding): StepEnding {
    this.#over = true;
    return ending;
  }

  #stop(reason: unknown): void {
    this.#reason ??= reason;
    this.#controller?.abort(reason);
  }

  #publish(name: string, payload: unknown): void {
    if (this.#over) {
      throw new MillraceError(
        'HANDLER_FAILED',
        `Step '${this.stepName}' published '${name}' after it had ended.`,
        { fix: 'Await everything that the handler starts before it returns.' },
      );
    }
    // A copy: handlers may go on changing what they gave.
    const copy = payload === undefined ? null : freezeJson(payload, { root: name });
    this.#events ??= [];
    this.#events.push([name, copy]);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as { readonly then?: unknown }).then === 'function'
  );
}

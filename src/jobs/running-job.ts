/**
 * One job while its handler runs. It ends once, by whoever is first: the handler, its time limit,
 * somebody who cancels it, or the loss of the lease. What comes after that is ignored.
 */
import { MillraceError } from '../core/errors.ts';
import type { ClaimedJob } from '../ports/jobs.ts';
import type { RunContext } from './context.ts';

export type Ending =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'error'; readonly error: unknown }
  | { readonly kind: 'cancelled' }
  /** Nothing can be settled any more. */
  | { readonly kind: 'lost' };

/** The place that a handler takes up. */
export interface Slot {
  /** Once for each job in it, when it has ended. */
  leave(run: RunningJob): void;
}

/** Thousands a second are made of these, so they share their callbacks: no closure for each. */
export class RunningJob {
  readonly context: RunContext;
  readonly epoch: number;
  readonly slot: Slot;
  readonly startedAt = performance.now();
  /** Of `performance.now()`; never: Infinity. */
  deadlineAt = Number.POSITIVE_INFINITY;
  readonly #end: (run: RunningJob, ending: Ending) => void;
  over = false;
  /** Its own transaction is being committed: what the handler did may be durable by now. */
  committing = false;
  /** Its own transaction has settled it. */
  settled = false;
  /** Told to stop with its worker: when it fails from then on, it is handed back. */
  handedBack = false;

  constructor(
    context: RunContext,
    epoch: number,
    slot: Slot,
    end: (run: RunningJob, ending: Ending) => void,
  ) {
    this.context = context;
    this.epoch = epoch;
    this.slot = slot;
    this.#end = end;
    this.limitTime(this.startedAt);
  }

  /** Its time limit counts from then on. */
  limitTime(fromAt: number): void {
    const { timeoutMs } = this.context.settings;
    this.deadlineAt = timeoutMs > 0 ? fromAt + timeoutMs : Number.POSITIVE_INFINITY;
  }

  get job(): ClaimedJob {
    return this.context.job;
  }

  end(ending: Ending): void {
    if (this.over) return;
    this.over = true;
    this.#end(this, ending);
  }

  /** Tells the handler to stop; it may still succeed. */
  abort(cause: unknown): void {
    if (this.over) return;
    this.handedBack = true;
    this.context.abort(cause);
  }

  lose(cause: unknown): void {
    this.context.abort(cause);
    this.end({ kind: 'lost' });
  }

  cancel(): void {
    this.context.abort(new MillraceError('JOB_CANCELLED', `Job ${this.context.id} was cancelled.`));
    this.end({ kind: 'cancelled' });
  }

  timeOut(): void {
    // The handler was in time. Tried again, it would have its effects twice if they are durable.
    if (this.committing) return;
    const { timeoutMs } = this.context.settings;
    const error = new MillraceError('HANDLER_TIMEOUT', `The handler took over ${timeoutMs} ms.`, {
      details: { timeoutMs },
    });
    this.context.abort(error);
    this.end({ kind: 'error', error });
  }
}

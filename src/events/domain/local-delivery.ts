/**
 * One in-process subscription: a bounded buffer, and handlers of different keys at once, those of
 * one key in order. Best effort: a handler that fails is counted, and its event gone.
 *
 *   offer ──> buffer ──> handler (at most `concurrency`)
 *               └ full: the oldest or the newest goes, or whoever offers waits (block)
 */
import { MillraceError } from '../../core/errors.ts';
import type { DeliveryMode, DomainEvent } from '../../core/workflow/domain-event.ts';
import { isTimeout, withTimeout } from '../stream/timeout.ts';
import type { DomainEventCounters } from './metrics.ts';
import type { OverflowStrategy } from './options.ts';

export interface LocalContext {
  readonly delivery: 'fire_and_forget';
  readonly attempt: 1;
  /** Aborted when the handler's time is over, and at the end of a shutdown's grace. */
  readonly signal: AbortSignal;
}

export interface LocalOptions {
  readonly concurrency: number;
  readonly bufferSize: number;
  readonly overflow: OverflowStrategy;
  /** 0: no limit. */
  readonly timeoutMs: number;
  readonly counters: DomainEventCounters;
  wants(event: DomainEvent): boolean;
  handle(event: DomainEvent, context: LocalContext): unknown;
  onError(error: unknown): void;
}

interface Waiting {
  readonly event: DomainEvent;
  readonly lane: string;
  readonly mode: DeliveryMode;
}

const noWait: Promise<void> = Promise.resolve();

export class LocalDelivery {
  readonly #options: LocalOptions;
  readonly #buffer: Waiting[] = [];
  /** Publishers that wait for room, first come first served. */
  readonly #line: { readonly waiting: Waiting; admit(): void }[] = [];
  readonly #lanes = new Set<string>();
  readonly #end = new AbortController();
  #turn: NodeJS.Immediate | null = null;
  #closed = false;
  #idle: (() => void) | null = null;

  constructor(options: LocalOptions) {
    this.#options = options;
  }

  get waiting(): number {
    return this.#buffer.length + this.#line.length;
  }

  /**
   * Takes an event; never rejects. Handlers of one lane take turns. Resolves when it has a place:
   * at once, unless the buffer is full and the strategy is to block.
   * @param mode how the event was published, for the count of what is dropped.
   */
  offer(event: DomainEvent, lane: string, mode: DeliveryMode): Promise<void> {
    if (this.#closed || !this.#options.wants(event)) return noWait;
    const waiting: Waiting = { event, lane, mode };
    const { bufferSize, overflow, counters } = this.#options;
    if (this.#buffer.length >= bufferSize && overflow === 'block') {
      return new Promise((admit) => this.#line.push({ waiting, admit }));
    }
    this.#buffer.push(waiting);
    if (this.#buffer.length > bufferSize) {
      const gone = overflow === 'drop_oldest' ? this.#buffer.shift() : this.#buffer.pop();
      counters.add('dropped', (gone as Waiting).mode);
    }
    this.#wake();
    return noWait;
  }

  /** Takes nothing more, and handles what it has; what takes longer than this is aborted. */
  async stop(graceMs: number): Promise<void> {
    this.#closed = true;
    if (this.#lanes.size === 0 && this.waiting === 0) return;
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
    const deadline = setTimeout(() => this.#giveUp(), graceMs);
    await idle;
    clearTimeout(deadline);
  }

  #giveUp(): void {
    for (const { mode } of this.#buffer.splice(0)) this.#options.counters.add('dropped', mode);
    for (const { waiting, admit } of this.#line.splice(0)) {
      this.#options.counters.add('dropped', waiting.mode);
      admit();
    }
    this.#end.abort(new MillraceError('SHUTTING_DOWN', 'The subscription was stopped.'));
    this.#idle?.();
  }

  /** Not in the publisher's turn: what a handler does at once is no part of publishing. */
  #wake(): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = null;
      this.#start();
    });
  }

  #start(): void {
    const { concurrency, bufferSize } = this.#options;
    const buffer = this.#buffer;
    for (let i = 0; i < buffer.length && this.#lanes.size < concurrency; ) {
      const waiting = buffer[i] as Waiting;
      if (this.#lanes.has(waiting.lane)) {
        i += 1;
        continue;
      }
      buffer.splice(i, 1);
      this.#lanes.add(waiting.lane);
      void this.#run(waiting);
    }
    while (buffer.length < bufferSize && this.#line.length > 0) {
      const next = this.#line.shift();
      if (next === undefined) break;
      buffer.push(next.waiting);
      next.admit();
      this.#wake();
    }
  }

  async #run({ event, lane }: Waiting): Promise<void> {
    const { timeoutMs, counters, handle, onError } = this.#options;
    const delivery = 'fire_and_forget';
    const timer = new AbortController();
    const signal = AbortSignal.any([timer.signal, this.#end.signal]);
    const started = performance.now();
    let failure: { readonly error: unknown } | null = null;
    try {
      await withTimeout(handle(event, { delivery, attempt: 1, signal }), timeoutMs);
    } catch (error) {
      failure = { error };
      if (isTimeout(error)) timer.abort(error);
    }
    counters.handled(delivery, failure === null, performance.now() - started);
    this.#lanes.delete(lane);
    if (this.#buffer.length > 0 || this.#line.length > 0) this.#wake();
    else if (this.#closed && this.#lanes.size === 0) this.#idle?.();
    if (failure) onError(failure.error);
  }
}

/**
 * Threads for CPU-bound handlers: at most `max` at a time, used again for jobs of the same module,
 * ended when nobody needs them. A queue worker calls `run` where it would call a handler.
 */
import { availableParallelism } from 'node:os';
import { MillraceError } from '../../core/errors.ts';
import { type SandboxTask, SandboxThread } from './sandbox-thread.ts';

export interface SandboxPoolOptions {
  /** Threads at a time; as many as there are cores by default. Runs beyond it wait in line. */
  readonly max?: number;
  /** A thread without a job is ended after so long. */
  readonly idleMs?: number;
  /** What a handler gets to obey its signal before its thread is ended. */
  readonly graceMs?: number;
}

export interface SandboxRun extends SandboxTask {
  /** Its default export is called with (payload, SandboxContext). */
  readonly module: URL;
  /** Of heap and Buffers, garbage included; 512 by default. */
  readonly memoryMbMax?: number | null | undefined;
  /** It has a thread: from here on its time counts. */
  onSeated?(): void;
}

interface Slot {
  readonly key: string;
  readonly thread: SandboxThread;
  busy: boolean;
  idle: NodeJS.Timeout | undefined;
}

interface Waiter {
  readonly run: SandboxRun;
  readonly seat: PromiseWithResolvers<Slot>;
}

const memoryMbDefault = 512;

export class SandboxPool {
  readonly #max: number;
  readonly #idleMs: number;
  readonly #graceMs: number;
  readonly #slots = new Set<Slot>();
  readonly #line: Waiter[] = [];
  #closed = false;
  #onEmpty: (() => void) | null = null;

  constructor(options: SandboxPoolOptions = {}) {
    const { max = availableParallelism(), idleMs = 30_000, graceMs = 1_000 } = options;
    this.#max = Math.max(1, max);
    this.#idleMs = idleMs;
    this.#graceMs = graceMs;
  }

  /** How many threads there are, and how many runs wait for one. */
  get status(): { readonly threads: number; readonly busy: number; readonly waiting: number } {
    const busy = [...this.#slots].filter((slot) => slot.busy).length;
    return { threads: this.#slots.size, busy, waiting: this.#line.length };
  }

  /**
   * Resolves with what the handler returned, copied. The time limit counts from when it has a
   * thread.
   * @throws MillraceError HANDLER_TIMEOUT; SANDBOX_FAILED when the thread broke or its result
   * cannot be copied; the signal's reason; what the handler threw, made again in this thread.
   */
  async run(run: SandboxRun): Promise<unknown> {
    run.signal.throwIfAborted();
    const slot = await this.#seat(run);
    try {
      run.onSeated?.();
      return await slot.thread.run(run);
    } finally {
      this.#leave(slot);
    }
  }

  /** Ends every thread, idle or not. Resolves when there is none. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { seat } of this.#line.splice(0)) seat.reject(closed());
    if (this.#slots.size === 0) return;
    const empty = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    for (const slot of this.#slots) slot.thread.end();
    await empty;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #seat(run: SandboxRun): Promise<Slot> {
    if (this.#closed) throw closed();
    const waiter: Waiter = { run, seat: Promise.withResolvers<Slot>() };
    const giveUp = () => {
      const place = this.#line.indexOf(waiter);
      if (place >= 0) this.#line.splice(place, 1);
      waiter.seat.reject(run.signal.reason);
    };
    this.#line.push(waiter);
    this.#serve();
    run.signal.addEventListener('abort', giveUp, { once: true });
    try {
      return await waiter.seat.promise;
    } finally {
      run.signal.removeEventListener('abort', giveUp);
    }
  }

  /** Gives threads to those in line, first come first served. */
  #serve(): void {
    for (;;) {
      const waiter = this.#line[0];
      const slot = waiter && this.#find(waiter.run);
      if (!waiter || !slot) return;
      this.#line.shift();
      slot.busy = true;
      clearTimeout(slot.idle);
      waiter.seat.resolve(slot);
    }
  }

  #find({ module, ...run }: SandboxRun): Slot | null {
    const memoryMbMax = run.memoryMbMax ?? memoryMbDefault;
    const key = `${memoryMbMax} ${module.href}`;
    const slots = [...this.#slots];
    const idle = slots.filter((slot) => !slot.busy && slot.thread.usable);
    const fitting = idle.find((slot) => slot.key === key);
    if (fitting) return fitting;
    if (slots.length < this.#max) return this.#open(key, module.href, memoryMbMax);
    // When one has ended, there is room for a thread of this module.
    if (slots.every((slot) => slot.thread.usable)) idle[0]?.thread.end();
    return null;
  }

  #open(key: string, module: string, memoryMbMax: number): Slot {
    const thread = new SandboxThread({
      module,
      memoryMbMax,
      graceMs: this.#graceMs,
      onEnded: () => this.#onEnded(slot),
    });
    const slot: Slot = { key, thread, busy: false, idle: undefined };
    this.#slots.add(slot);
    return slot;
  }

  #leave(slot: Slot): void {
    slot.busy = false;
    if (slot.thread.usable) {
      slot.idle = setTimeout(() => slot.thread.end(), this.#idleMs);
      slot.idle.unref();
    }
    this.#serve();
  }

  #onEnded(slot: Slot): void {
    clearTimeout(slot.idle);
    this.#slots.delete(slot);
    if (this.#slots.size === 0) this.#onEmpty?.();
    this.#serve();
  }
}

function closed(): MillraceError {
  return new MillraceError('SHUTTING_DOWN', 'The sandboxes of this process are closed.');
}

/**
 * Works through a list at a pace, in chunks: watched, paused and stopped while it runs, and patient
 * with a store that does not answer. Bulk verbs for jobs and for runs are made of it.
 *
 *   running <──> paused
 *      └──> finished | stopped (by stop()) | failed (the store went on refusing)
 */
import { MillraceError } from '../core/errors.ts';
import { sleep } from './bell.ts';

/** `stopped` by `stop()`; `failed` when the store went on refusing. */
export type PacedStatus = 'running' | 'paused' | 'stopped' | 'finished' | 'failed';

export interface PacedOptions<Item> {
  readonly items: readonly Item[];
  readonly chunkMax: number;
  /** Does it to a chunk, and says to how many. Repeating a chunk must do no harm. */
  change(items: readonly Item[]): Promise<number>;
  /** Something of it is different. */
  onChange(): void;
}

/** Tries of one chunk while the store does not answer, with pauses of 0.25, 0.5, 1 … s. */
const triesMax = 6;

export class PacedWork<Item> {
  readonly #options: PacedOptions<Item>;
  readonly #end = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  #resumed: PromiseWithResolvers<void> | null = null;
  #status: PacedStatus = 'running';
  #done = 0;
  #failed = 0;
  #error: string | null = null;

  constructor(options: PacedOptions<Item>) {
    this.#options = options;
  }

  get status(): PacedStatus {
    return this.#status;
  }
  /** Items that `change` counted. */
  get done(): number {
    return this.#done;
  }
  /** Items that it did not count. */
  get failed(): number {
    return this.#failed;
  }
  /** Why it ended, when it failed. */
  get error(): string | null {
    return this.#error;
  }
  /** Resolves at the end, whatever it is; never rejects. */
  get ended(): Promise<void> {
    return this.#end.promise;
  }

  /** The chunk under way is still done; no other until `resume()`. */
  pause(): void {
    if (this.#status !== 'running') return;
    this.#status = 'paused';
    this.#resumed = Promise.withResolvers();
    this.#options.onChange();
  }

  resume(): void {
    if (this.#status !== 'paused') return;
    this.#status = 'running';
    this.#resumed?.resolve();
    this.#options.onChange();
  }

  /** For good: what was done stays done. */
  stop(): void {
    this.#stopping.abort();
    this.#resumed?.resolve();
    if (this.#status === 'paused') this.#status = 'running';
  }

  /** Called once, unless `finish` is called instead. */
  begin(ratePerSecond: number): void {
    this.#run(ratePerSecond).then(
      () => {
        const all = this.#done + this.#failed === this.#options.items.length;
        this.finish(all ? 'finished' : 'stopped');
      },
      (error) => {
        this.#error = error instanceof Error ? error.message : String(error);
        this.finish('failed');
      },
    );
  }

  /** Ends it, such as a dry run before it has begun. */
  finish(status: PacedStatus): void {
    this.#status = status;
    this.#options.onChange();
    this.#end.resolve();
  }

  async #run(ratePerSecond: number): Promise<void> {
    const { items, chunkMax, onChange } = this.#options;
    const { signal } = this.#stopping;
    // Ten steps a second at least, so that a pace of 20 a second is even.
    const size = Math.min(chunkMax, Math.max(1, Math.ceil(ratePerSecond / 10)));
    let dueAt = performance.now();
    for (let from = 0; from < items.length; from += size) {
      await this.#resumed?.promise;
      await sleep(Math.max(0, dueAt - performance.now()), signal);
      if (signal.aborted) return;
      const chunk = items.slice(from, from + size);
      // After a pause or a slow store it does not hurry to make up for it.
      dueAt = Math.max(dueAt, performance.now() - 1000) + (chunk.length * 1000) / ratePerSecond;
      const changed = await this.#change(chunk);
      this.#done += changed;
      this.#failed += chunk.length - changed;
      onChange();
    }
  }

  async #change(chunk: readonly Item[]): Promise<number> {
    const { signal } = this.#stopping;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#options.change(chunk);
      } catch (error) {
        const again = error instanceof MillraceError && error.retryable;
        if (!again || attempt === triesMax || signal.aborted) throw error;
        await sleep(125 * 2 ** attempt, signal);
      }
    }
  }
}

/** @throws MillraceError REQUEST_INVALID naming the option. */
export function checkPace(value: number, name: string, most: number): number {
  if (Number.isFinite(value) && value >= 1 && value <= most) return value;
  throw new MillraceError(
    'REQUEST_INVALID',
    `${name} is ${value}, not a number from 1 to ${most}.`,
  );
}

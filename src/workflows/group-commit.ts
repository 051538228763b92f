/**
 * Calls that many make at the same time, made as one: what gathers while one is under way goes out
 * in the next. Used for starts and messages. Resolves after the commit and never before; while the
 * store is away it asks again, so `send` must be able to say that a call is a repeated one.
 */
import { isMillraceError, MillraceError } from '../core/errors.ts';
import { sleep } from '../runtime/bell.ts';
import { isAway } from './committer.ts';

export interface GroupCommitOptions<Item, Answer> {
  readonly batchMax: number;
  /** Items not yet answered at most; beyond it callers are refused with BACKPRESSURE. */
  readonly bufferMax: number;
  readonly patienceMs: number;
  /** `again`: the answer to a call with these items was lost. */
  send(items: readonly Item[], again: boolean): Promise<readonly Answer[]>;
  onError(error: unknown): void;
}

interface Waiting<Item, Answer> {
  readonly item: Item;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

export class GroupCommit<Item, Answer> {
  readonly #options: GroupCommitOptions<Item, Answer>;
  #waiting: Waiting<Item, Answer>[] = [];
  #buffered = 0;
  #running: Promise<void> | null = null;
  #closed = false;

  constructor(options: GroupCommitOptions<Item, Answer>) {
    this.#options = options;
  }

  add(item: Item): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#closed) {
        reject(new MillraceError('SHUTTING_DOWN', 'This process takes no new work.'));
        return;
      }
      if (this.#buffered >= this.#options.bufferMax) {
        const message = `${this.#buffered} calls wait for the store.`;
        reject(new MillraceError('BACKPRESSURE', message));
        return;
      }
      this.#buffered += 1;
      this.#waiting.push({ item, resolve, reject });
      this.#running ??= this.#drain();
    });
  }

  /** Takes nothing more, and waits for what was taken. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#running;
  }

  async #drain(): Promise<void> {
    await new Promise<void>((resolve) => queueMicrotask(() => process.nextTick(resolve)));
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#options.batchMax);
      await this.#answer(batch);
      this.#buffered -= batch.length;
    }
    this.#running = null; // in the turn of the last look, so that nothing is left behind
  }

  async #answer(batch: readonly Waiting<Item, Answer>[], asked = false): Promise<void> {
    const tries = { again: asked };
    try {
      const answers = await this.#patiently(
        batch.map(({ item }) => item),
        tries,
      );
      for (const [i, { resolve }] of batch.entries()) resolve(answers[i] as Answer);
    } catch (error) {
      const unknown = isMillraceError(error) && error.code === 'STORE_UNAVAILABLE';
      if (batch.length === 1 || unknown) for (const { reject } of batch) reject(error);
      // Somebody's item is at fault; the others shall not pay for it.
      else for (const one of batch) await this.#answer([one], tries.again);
    }
  }

  async #patiently(items: readonly Item[], tries: { again: boolean }): Promise<readonly Answer[]> {
    const { send, patienceMs, onError } = this.#options;
    const until = performance.now() + patienceMs;
    for (let delayMs = 20; ; delayMs = Math.min(delayMs * 2, 1_000)) {
      try {
        return await send(items, tries.again);
      } catch (error) {
        if (!isAway(error) || performance.now() + delayMs > until) throw error;
        onError(error);
        tries.again = true;
        await sleep(delayMs * (0.5 + Math.random()));
      }
    }
  }
}

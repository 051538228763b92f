/**
 * Acknowledgements become committed offsets: per partition only the highest counts, and while one
 * request is under way all that come wait for the next one. A thousand calls are a few requests.
 *
 * Invariant: an offset never goes back; a partition that was taken away commits nothing more, and
 * who waits for it is told "done", for there is nothing left to do.
 */
import type { MillraceError } from '../../core/errors.ts';
import type { TopicPartition } from '../../ports/broker.ts';

export interface CommittedOffset extends TopicPartition {
  readonly offset: number;
}

/** What a partition's commit came to: stored, to be sent again, or never to be. */
export type CommitResult = 'stored' | 'again' | { readonly refused: MillraceError };

export interface CommitsOptions {
  /** Sends them; what it throws is retried like 'again'. Results as given. */
  send(offsets: readonly CommittedOffset[]): Promise<readonly CommitResult[]>;
  failure(error: unknown): MillraceError;
  onError(error: unknown, where: string): void;
  /** Between two requests, milliseconds. */
  readonly everyMs: number;
  /** An acknowledgement that is not committed by then is rejected. */
  readonly timeoutMs: number;
  wait(ms: number): Promise<void>;
}

interface Waiter {
  readonly offset: number;
  readonly deadline: number;
  resolve(): void;
  reject(error: MillraceError): void;
}

interface Partition extends TopicPartition {
  wanted: number;
  committed: number;
  waiters: Waiter[];
}

export class Commits {
  readonly #options: CommitsOptions;
  readonly #partitions = new Map<string, Partition>();
  #running: Promise<void> | null = null;
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(options: CommitsOptions) {
    this.#options = options;
  }

  /** @param committed what the group has already. */
  add(topic: string, partition: number, committed: number): void {
    const added = { topic, partition, wanted: committed, committed, waiters: [] };
    this.#partitions.set(`${topic} ${partition}`, added);
  }

  /** The partition is another's now. */
  remove(topic: string, partition: number): void {
    const key = `${topic} ${partition}`;
    const removed = this.#partitions.get(key);
    if (removed === undefined) return;
    this.#partitions.delete(key);
    for (const { resolve } of removed.waiters) resolve();
  }

  /**
   * Resolves when the group has this offset or a higher one, or the partition was taken away.
   * @throws MillraceError BROKER_UNAVAILABLE, BROKER_DENIED
   */
  commit({ topic, partition, offset }: CommittedOffset): Promise<void> {
    const one = this.#partitions.get(`${topic} ${partition}`);
    if (one === undefined || offset <= one.committed) return Promise.resolve();
    if (offset > one.wanted) one.wanted = offset;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const deadline = performance.now() + this.#options.timeoutMs;
    one.waiters.push({ offset, deadline, resolve, reject });
    this.#run();
    return promise;
  }

  /** Resolves when nothing is left to commit, or nothing can be. */
  async flush(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  #run(): void {
    if (this.#running !== null) return;
    this.#running = this.#sendAll().finally(() => {
      this.#running = null;
      if (this.#open().length > 0) this.#run();
    });
  }

  #open(): Partition[] {
    return [...this.#partitions.values()].filter(({ waiters }) => waiters.length > 0);
  }

  async #sendAll(): Promise<void> {
    const rest = this.#lastAt + this.#options.everyMs - performance.now();
    // Even a first one waits a turn: calls of one turn go together.
    await this.#options.wait(Math.max(0, rest));
    for (let attempt = 0; ; attempt += 1) {
      const open = this.#open();
      if (open.length === 0) return;
      const offsets = open.map(({ topic, partition, wanted }) => ({
        topic,
        partition,
        offset: wanted,
      }));
      this.#lastAt = performance.now();
      const error = await this.#sendOnce(open, offsets);
      if (error === null) return;
      if (attempt === 1) this.#options.onError(error, 'acknowledge');
      this.#expire(error);
      await this.#options.wait(Math.min(2000, 25 * 2 ** attempt) * (0.5 + Math.random() / 2));
    }
  }

  /** @returns null when none has to be sent again. */
  async #sendOnce(
    open: readonly Partition[],
    offsets: readonly CommittedOffset[],
  ): Promise<MillraceError | null> {
    let results: readonly CommitResult[];
    try {
      results = await this.#options.send(offsets);
    } catch (thrown) {
      const error = this.#options.failure(thrown);
      if (error.retryable) return error;
      results = offsets.map(() => ({ refused: error }));
    }
    let again = false;
    open.forEach((one, i) => {
      const result = results[i] ?? 'again';
      if (result === 'stored') {
        this.#stored(one, (offsets[i] as CommittedOffset).offset);
      } else if (result === 'again') {
        again = again || this.#partitions.get(`${one.topic} ${one.partition}`) === one;
      } else {
        for (const { reject } of one.waiters.splice(0)) reject(result.refused);
        one.wanted = one.committed;
      }
    });
    return again ? this.#options.failure(new Error('the group is being rearranged')) : null;
  }

  #stored(one: Partition, offset: number): void {
    one.committed = Math.max(one.committed, offset);
    const waiters = one.waiters;
    one.waiters = waiters.filter((waiter) => waiter.offset > offset);
    for (const waiter of waiters) if (waiter.offset <= offset) waiter.resolve();
  }

  #expire(error: MillraceError): void {
    const now = performance.now();
    for (const one of this.#partitions.values()) {
      const late = one.waiters.filter(({ deadline }) => deadline <= now);
      if (late.length === 0) continue;
      one.waiters = one.waiters.filter(({ deadline }) => deadline > now);
      for (const { reject } of late) reject(error);
    }
  }

  /** Nothing is committed any more: whoever waits is told why. */
  abandon(error: MillraceError): void {
    for (const { waiters } of this.#partitions.values()) {
      for (const { reject } of waiters.splice(0)) reject(error);
    }
    this.#partitions.clear();
  }
}

/**
 * Tells other processes how far partitions reach: one notice for everything appended since the last
 * one, never inside anybody's transaction (a NOTIFY takes a server-wide lock at commit). Idle: sent
 * at once. Busy: at most one every few milliseconds. A notice that fails is dropped: others poll.
 */
import type { NoticeChannel } from '../ports/notices.ts';
import { sleep } from './bell.ts';

const prefix = 'heads ';

export function encodeHeads(heads: ReadonlyMap<number, number>): string {
  return prefix + [...heads].map(([partition, head]) => `${partition}:${head}`).join(',');
}

/** The partitions and heads of a notice; null when it says something else. */
export function decodeHeads(notice: string): [partition: number, head: number][] | null {
  if (!notice.startsWith(prefix)) return null;
  return notice
    .slice(prefix.length)
    .split(',')
    .map((pair) => pair.split(':').map(Number) as [number, number])
    .filter((pair) => pair.length === 2 && pair.every(Number.isSafeInteger));
}

export class Notifier {
  readonly #channel: NoticeChannel;
  readonly #pauseMs: number;
  readonly #wanted: () => boolean;
  #pending = new Map<number, number>();
  #sending: Promise<void> | null = null;
  sent = 0;
  failed = 0;

  /** `wanted` is false while this process knows that nobody else listens. */
  constructor(channel: NoticeChannel, options: { pauseMs: number; wanted: () => boolean }) {
    this.#channel = channel;
    this.#pauseMs = options.pauseMs;
    this.#wanted = options.wanted;
  }

  note(partition: number, head: number): void {
    if (!this.#wanted()) return;
    if ((this.#pending.get(partition) ?? 0) < head) this.#pending.set(partition, head);
    this.#sending ??= this.#drain();
  }

  /** Waits until everything noted has been sent or dropped. */
  async flush(): Promise<void> {
    await this.#sending;
  }

  async #drain(): Promise<void> {
    while (this.#pending.size > 0) {
      const heads = this.#pending;
      this.#pending = new Map();
      try {
        await this.#channel.send(encodeHeads(heads));
        this.sent += 1;
      } catch {
        this.failed += 1;
      }
      await sleep(this.#pauseMs);
    }
    this.#sending = null; // in the turn of the last look, so that nothing noted is left behind
  }
}

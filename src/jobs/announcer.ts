/**
 * Tells other processes that lanes got jobs: one notice for all that gathered since the last one,
 * never in anybody's transaction. Idle: at once. One that fails is dropped: others look anyway.
 */
import type { NoticeChannel } from '../ports/notices.ts';
import { sleep } from '../runtime/bell.ts';

export interface JobsNotice {
  readonly queue: string;
  /** None: state rows may be due. */
  readonly lanes: readonly number[];
}

export function parseJobsNotice(notice: string): JobsNotice | null {
  const [what, queue, ...lanes] = notice.split(' ');
  if (what !== 'jobs' || queue === undefined) return null;
  return {
    queue: decodeURIComponent(queue),
    lanes: lanes.map(Number).filter(Number.isSafeInteger),
  };
}

/** A notice carries so many lanes at most; who gets one looks at the others soon anyway. */
const lanesMax = 200;

export class Announcer {
  readonly #channel: NoticeChannel;
  readonly #pauseMs: number;
  #pending = new Map<string, Set<number>>();
  #sending: Promise<void> | null = null;

  constructor(channel: NoticeChannel, pauseMs: number) {
    this.#channel = channel;
    this.#pauseMs = pauseMs;
  }

  tell(queue: string, lanes: readonly number[]): void {
    const known = this.#pending.get(queue) ?? new Set();
    this.#pending.set(queue, known);
    for (const lane of lanes) known.add(lane);
    this.#sending ??= this.#drain();
  }

  async flush(): Promise<void> {
    await this.#sending;
  }

  async #drain(): Promise<void> {
    while (this.#pending.size > 0) {
      const pending = this.#pending;
      this.#pending = new Map();
      for (const [queue, lanes] of pending) {
        const list = [...lanes].slice(0, lanesMax).join(' ');
        const notice = `jobs ${encodeURIComponent(queue)} ${list}`.trim();
        await this.#channel.send(notice).catch(() => {});
      }
      await sleep(this.#pauseMs);
    }
    this.#sending = null; // in the turn of the last look, so that nothing is left behind
  }
}

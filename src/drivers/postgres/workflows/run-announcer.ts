/**
 * Tells whoever holds a run that it got a message: `run <runId>…`, one notice for all that gathered
 * since the last one, never in anybody's transaction. Idle: at once. One that fails is dropped:
 * holders look anyway.
 */
import type { NoticeChannel } from '../../../ports/notices.ts';

const pauseMs = 5;
/** NOTIFY refuses payloads of 8,000 bytes and more. */
const runsMax = 200;

export class RunAnnouncer {
  readonly #channel: NoticeChannel;
  readonly #pending = new Set<string>();
  #sending = false;

  constructor(channel: NoticeChannel) {
    this.#channel = channel;
  }

  tell(runIds: readonly string[] | null): void {
    for (const runId of runIds ?? []) this.#pending.add(runId);
    if (this.#pending.size === 0 || this.#sending) return;
    this.#sending = true;
    void this.#drain();
  }

  async #drain(): Promise<void> {
    while (this.#pending.size > 0) {
      const runIds = [...this.#pending].slice(0, runsMax);
      for (const runId of runIds) this.#pending.delete(runId);
      await this.#channel.send(`run ${runIds.join(' ')}`).catch(() => {});
      await new Promise<void>((resolve) => setTimeout(resolve, pauseMs).unref());
    }
    this.#sending = false; // in the turn of the last look, so that nothing is left behind
  }
}

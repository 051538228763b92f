/**
 * Keeps one connection listening for notices: rebuilt with backoff when it is lost, and probed,
 * because a half-open connection is silent about its death. The probe is a notice to oneself.
 */
import type { NoticeChannel, NoticeListener } from '../ports/notices.ts';
import { Bell, sleep } from './bell.ts';

export interface ListenerOptions {
  /** How often to probe; a probe unanswered for as long again means the connection is dead. */
  readonly probeEveryMs: number;
  readonly backoffMs: readonly [min: number, max: number];
  onNotice(notice: string): void;
  /** Called after each (re)connection: whatever happened in between was not heard. */
  onConnected(): void;
}

export class Listener {
  readonly #channel: NoticeChannel;
  readonly #options: ListenerOptions;
  readonly #stop = new AbortController();
  readonly #lost = new Bell();
  readonly #probe = `probe ${crypto.randomUUID()}`;
  #running: Promise<void> = Promise.resolve();
  #heardAt = 0;
  connected = false;
  rebuilt = 0;

  constructor(channel: NoticeChannel, options: ListenerOptions) {
    this.#channel = channel;
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    this.#lost.ring();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    const [least, most] = this.#options.backoffMs;
    let delay = least;
    while (!signal.aborted) {
      let connection: NoticeListener;
      try {
        connection = await this.#channel.listen({
          onNotice: (notice) => this.#hear(notice),
          onLost: () => this.#lost.ring(),
        });
      } catch {
        await sleep(delay * (0.5 + Math.random()), signal);
        delay = Math.min(delay * 2, most);
        continue;
      }
      delay = least;
      this.connected = true;
      this.#options.onConnected();
      await this.#watch();
      this.connected = false;
      if (!signal.aborted) this.rebuilt += 1;
      await connection.close();
    }
  }

  /** Returns when the connection is lost, silent, or no longer wanted. */
  async #watch(): Promise<void> {
    const { probeEveryMs } = this.#options;
    this.#heardAt = performance.now();
    while (!this.#stop.signal.aborted) {
      const before = performance.now();
      await this.#lost.wait(probeEveryMs);
      const waited = performance.now() - before;
      if (waited < probeEveryMs - 1) return; // rung: lost or stopped
      if (performance.now() - this.#heardAt > probeEveryMs * 2 + 50) return;
      await this.#channel.send(this.#probe).catch(() => {});
    }
  }

  #hear(notice: string): void {
    this.#heardAt = performance.now();
    if (!notice.startsWith('probe ')) this.#options.onNotice(notice);
  }
}

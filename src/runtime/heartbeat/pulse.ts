/**
 * One epoch's beats: sends them, tries again when they fail, and says what it learns. Runs in the
 * heartbeat's thread, or in main's loop where there can be no threads.
 *
 *   beating ──(no beat got through for timeToLiveMs)──> expired ──(one does)──> beating
 *      ├─(main's loop blocked for blockedMsMax)──> silent ──(it turns again)──> beating
 *      └─(the store says the epoch is dead)──> fenced, the end
 *
 * Times count from when a beat was sent: the store may have seen it no earlier than that.
 */
import { MillraceError } from '../../core/errors.ts';
import type { Beat, Beater } from '../../ports/jobs.ts';
import { carryError } from '../carried-error.ts';
import { type PulseNews, type PulseSettings, readCounter, readReport } from './messages.ts';

/** A new try after a failed beat waits this long at least, and twice as long after each. */
const retryMs = 200;
/** An answer may take so much of the time to live before a new connection is tried. */
const patience = 0.5;
const closeMsMax = 1_000;

export class Pulse {
  readonly #settings: PulseSettings;
  readonly #say: (news: PulseNews) => void;
  #beater: Promise<Beater> | null = null;
  #running: Promise<void> = Promise.resolve();
  #wake: (() => void) | null = null;
  #ended = false;
  #aliveAt = performance.now();
  #expired = false;
  #failures = 0;
  #counter = -1n;
  #movedAt = performance.now();
  #blocked = false;

  constructor(settings: PulseSettings, say: (news: PulseNews) => void) {
    this.#settings = settings;
    this.#say = say;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Resolves when no beat is under way. */
  async stop(): Promise<void> {
    this.#ended = true;
    this.#wake?.();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { everyMs } = this.#settings;
    while (!this.#ended) {
      this.#watchMain();
      if (!this.#blocked) await this.#beat();
      if (this.#ended) break;
      const delay = this.#failures === 0 ? everyMs : retryMs * 2 ** (this.#failures - 1);
      await this.#sleep(Math.min(delay, everyMs) * (0.9 + Math.random() * 0.2));
    }
    await within(closeMsMax, this.#drop()).catch(() => {});
  }

  /** A hung process must not hold its jobs for ever. It is told when it can listen again. */
  #watchMain(): void {
    const now = performance.now();
    const counter = readCounter(this.#settings.cells);
    const stillMs = now - this.#movedAt;
    if (counter !== this.#counter) {
      this.#counter = counter;
      this.#movedAt = now;
      if (this.#blocked) this.#say({ kind: 'blocked', blockedMs: Math.round(stillMs) });
      this.#blocked = false;
    } else if (stillMs > this.#settings.blockedMsMax) {
      this.#blocked = true;
    }
  }

  async #beat(): Promise<void> {
    const { epoch, timeToLiveMs, cells } = this.#settings;
    const sentAt = performance.now();
    const leftMs = this.#aliveAt + timeToLiveMs - sentAt;
    const limitMs =
      leftMs > 0 ? Math.min(leftMs, timeToLiveMs * patience) : timeToLiveMs * patience;
    try {
      this.#beater ??= this.#open();
      const answer = this.#beater.then((beater) => beater.beat(epoch, readReport(cells)));
      // Heard even when it comes too late to be waited for.
      await within(
        limitMs,
        answer.then((beat) => this.#hear(beat, sentAt)),
      );
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      void this.#drop();
      if (!this.#ended) this.#say({ kind: 'error', error: carryError(error) });
      this.#checkExpiry();
    }
  }

  #hear({ alive, cancelled }: Beat, sentAt: number): void {
    if (this.#ended) return;
    if (!alive) {
      this.#ended = true;
      this.#say({ kind: 'fenced' });
      return;
    }
    this.#aliveAt = Math.max(this.#aliveAt, sentAt);
    if (this.#expired) this.#say({ kind: 'revived' });
    this.#expired = false;
    if (cancelled.length > 0) this.#say({ kind: 'cancelled', jobs: cancelled });
  }

  #checkExpiry(): void {
    const silentMs = performance.now() - this.#aliveAt;
    if (this.#ended || this.#expired || silentMs < this.#settings.timeToLiveMs - 1) return;
    this.#expired = true;
    this.#say({ kind: 'expired', silentMs: Math.round(silentMs) });
  }

  async #open(): Promise<Beater> {
    const { module, options } = this.#settings.beater;
    const loaded = (await import(module)) as { openBeater(options: unknown): Promise<Beater> };
    return loaded.openBeater(options);
  }

  /** The next beat opens a new connection: a half-open one never answers. */
  async #drop(): Promise<void> {
    const beater = this.#beater;
    this.#beater = null;
    await beater?.then((opened) => opened.close()).catch(() => {});
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(done, ms);
      timer.unref();
      this.#wake = done;
      function done() {
        clearTimeout(timer);
        resolve();
      }
    });
  }
}

async function within(limitMs: number, work: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    const message = `No answer to a heartbeat for ${Math.round(limitMs)} ms.`;
    late.reject(new MillraceError('STORE_UNAVAILABLE', message));
  }, limitMs);
  timer.unref();
  try {
    await Promise.race([work, late.promise]);
  } finally {
    clearTimeout(timer);
    work.catch(() => {}); // it may still fail, with nobody waiting
  }
}

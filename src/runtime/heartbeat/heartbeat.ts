/**
 * Says that this worker lives, from a thread that a busy event loop cannot block. `Jobs` starts one
 * per epoch; all of a process share one thread. Where there can be no thread, the beats come from
 * this one's loop. It never keeps the process alive.
 */
import { MillraceError } from '../../core/errors.ts';
import type { JobRef, JobStore, WorkerReport } from '../../ports/jobs.ts';
import { reviveError } from '../carried-error.ts';
import { createCells, type PulseNews, type PulseSettings, writeCells } from './messages.ts';
import { Pulse } from './pulse.ts';
import { beatInThread, type PulseHandle } from './pulse-thread.ts';

export interface HeartbeatOptions {
  readonly beater: JobStore['beater'];
  readonly epoch: number;
  /** Give or take a tenth, so that workers started together do not beat together. */
  readonly everyMs: number;
  /** As registered: silent for longer, and others take the jobs. */
  readonly timeToLiveMs: number;
  /** A blocked event loop is covered for so long; then the jobs are given up. 60,000 by default. */
  readonly blockedMsMax?: number;
  /** Called in this thread, twice per beat. */
  report(): WorkerReport;
  /** Jobs of this epoch were cancelled meanwhile; a job may be named again at later beats. */
  onCancelled(jobs: readonly JobRef[]): void;
  /** The epoch was declared dead: nothing it holds can be settled. Last call; beats have ended. */
  onFenced(): void;
  /** No beat got through for `timeToLiveMs`: others may have the jobs by now. Beats go on. */
  onExpired(): void;
  /** After `onExpired`: a beat got through and the epoch is still alive. */
  onRevived(): void;
  onError(error: unknown): void;
}

export interface Heartbeat {
  /** Resolves when no beat is under way any more; then the epoch can be retired. */
  stop(): Promise<void>;
}

/** The first beat is sent at once. */
export function startHeartbeat(options: HeartbeatOptions): Heartbeat {
  return new RunningHeartbeat(options);
}

/** A thread that did not live for so long is not started again. */
const threadMsMin = 10_000;

class RunningHeartbeat implements Heartbeat {
  readonly #options: HeartbeatOptions;
  readonly #settings: PulseSettings;
  readonly #timer: NodeJS.Timeout;
  #pulse: PulseHandle;
  #threadAt = 0;
  #ended = false;

  constructor(options: HeartbeatOptions) {
    const { beater, epoch, everyMs, timeToLiveMs, blockedMsMax = 60_000 } = options;
    this.#options = options;
    const cells = createCells();
    this.#settings = { beater, epoch, everyMs, timeToLiveMs, blockedMsMax, cells };
    this.#turn();
    this.#timer = setInterval(() => this.#turn(), Math.max(1, everyMs / 2));
    this.#timer.unref();
    this.#pulse = this.#startThread();
  }

  async stop(): Promise<void> {
    this.#end();
    await this.#pulse.stop();
  }

  #end(): void {
    this.#ended = true;
    clearInterval(this.#timer);
  }

  #turn(): void {
    try {
      writeCells(this.#settings.cells, this.#options.report());
    } catch (error) {
      this.#options.onError(error);
    }
  }

  #startThread(): PulseHandle {
    this.#threadAt = performance.now();
    try {
      return beatInThread(this.#settings, {
        onNews: (news) => this.#hear(news),
        onLost: (cause) => this.#onLost(cause),
      });
    } catch (error) {
      return this.#startLoop(error);
    }
  }

  #startLoop(cause: unknown): PulseHandle {
    this.#options.onError(noThread(cause));
    const pulse = new Pulse(this.#settings, (news) => this.#hear(news));
    pulse.start();
    return pulse;
  }

  #onLost(cause: unknown): void {
    if (this.#ended) return;
    const lived = performance.now() - this.#threadAt > threadMsMin;
    this.#pulse = lived ? this.#startThread() : this.#startLoop(cause);
  }

  #hear(news: PulseNews): void {
    if (this.#ended) return;
    const { onCancelled, onFenced, onExpired, onRevived, onError } = this.#options;
    switch (news.kind) {
      case 'cancelled':
        onCancelled(news.jobs);
        break;
      case 'fenced':
        void this.stop();
        onFenced();
        break;
      case 'expired':
        onError(expired(news.silentMs));
        onExpired();
        break;
      case 'revived':
        onRevived();
        break;
      case 'blocked':
        onError(blocked(news.blockedMs, this.#settings.blockedMsMax));
        break;
      case 'error':
        onError(reviveError(news.error));
    }
  }
}

function expired(silentMs: number): MillraceError {
  const message = `No heartbeat got through for ${silentMs} ms: other workers may take the jobs.`;
  return new MillraceError('STORE_UNAVAILABLE', message);
}

function blocked(blockedMs: number, blockedMsMax: number): MillraceError {
  const message = `The event loop was blocked for ${blockedMs} ms, ${blockedMsMax} are covered`;
  return new MillraceError('LEASE_LOST', `${message}: other workers may have taken the jobs.`, {
    fix: 'Run CPU-bound handlers in a sandbox, or let them give way now and then.',
    details: { blockedMs, blockedMsMax },
  });
}

function noThread(cause: unknown): MillraceError {
  const message = `No thread for the heartbeat: ${cause}. It beats in the event loop now.`;
  return new MillraceError('STORE_MISCONFIGURED', message, {
    cause,
    fix: 'Let the process start worker threads; until then, a blocked event loop loses its jobs.',
  });
}

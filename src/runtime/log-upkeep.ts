/**
 * Retention of the log, as a working process looks after it: notes now and then how far the log
 * reaches, and removes what is older than the retention, a bounded piece at a time. Several
 * processes may do it; the shortest retention among them counts.
 */
import { MillraceError } from '../core/errors.ts';
import type { LogHold, RetentionStore } from '../ports/retention.ts';
import { sleep } from './bell.ts';

export interface LogUpkeepOptions {
  readonly store: RetentionStore;
  readonly retentionMs: number;
  onError(error: unknown, where: string): void;
}

/** Of the log, as this process knows it. */
export interface LogHealth {
  /** Null: events are kept for ever. */
  readonly retentionMs: number | null;
  /** Events that this process removed. */
  readonly removed: number;
  /** When it last looked, ISO 8601; null: not yet. */
  readonly sweptAt: string | null;
  /** Who keeps events that are older than the retention. */
  readonly holds: readonly LogHold[];
}

/** Of one transaction: 5,000 events take some 20 ms. */
const batchMax = 5_000;
/** Between two batches, so that a sweep after a long time leaves the server to others. */
const pauseMs = 10;
/** A publisher repeats an append for half a minute, and knows its own events by their ids. */
const leastMs = 60_000;

export const keptForEver: LogHealth = {
  retentionMs: null,
  removed: 0,
  sweptAt: null,
  holds: [],
};

/** @throws MillraceError CONFIG_INVALID */
export function checkLogRetention(retentionMs: number | null | undefined): number | null {
  if (retentionMs === null || retentionMs === undefined) return null;
  if (Number.isFinite(retentionMs) && retentionMs >= leastMs) return retentionMs;
  throw new MillraceError(
    'CONFIG_INVALID',
    `logRetentionMs is ${retentionMs}; it is ${leastMs} (a minute) at least.`,
    { fix: 'Give a longer retention, or null to keep events for ever.' },
  );
}

/** Null where events are kept for ever. */
export function createLogUpkeep(
  wanted: number | null | undefined,
  parts: Omit<LogUpkeepOptions, 'retentionMs'>,
): LogUpkeep | null {
  const retentionMs = checkLogRetention(wanted);
  return retentionMs === null ? null : new LogUpkeep({ ...parts, retentionMs });
}

export class LogUpkeep {
  readonly #options: LogUpkeepOptions;
  readonly #stop = new AbortController();
  readonly #markEveryMs: number;
  #running: Promise<void> = Promise.resolve();
  #removed = 0;
  #sweptAt: string | null = null;
  #holds: readonly LogHold[] = [];

  constructor(options: LogUpkeepOptions) {
    this.#options = options;
    // An event stays up to a hundredth longer than asked for; an hour between marks is enough.
    this.#markEveryMs = Math.min(3_600_000, options.retentionMs / 100);
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  get health(): LogHealth {
    const { retentionMs } = this.#options;
    const [removed, sweptAt, holds] = [this.#removed, this.#sweptAt, this.#holds];
    return { retentionMs, removed, sweptAt, holds };
  }

  get removed(): number {
    return this.#removed;
  }

  /** Marks, and removes all that may go. Answers how many went. */
  async sweep(): Promise<number> {
    const { store, retentionMs } = this.#options;
    const { signal } = this.#stop;
    await store.mark(this.#markEveryMs);
    let removed = 0;
    for (let more = true; more && !signal.aborted; ) {
      const found = await store.trim({ olderThanMs: retentionMs, limit: batchMax });
      removed += found.removed;
      this.#removed += found.removed;
      this.#holds = found.holds;
      more = found.more;
      if (more) await sleep(pauseMs, signal);
    }
    this.#sweptAt = new Date().toISOString();
    return removed;
  }

  async #run(): Promise<void> {
    const { retentionMs, onError } = this.#options;
    const { signal } = this.#stop;
    const everyMs = Math.min(60_000, retentionMs / 10);
    while (!signal.aborted) {
      await sleep(everyMs * (0.5 + Math.random()), signal);
      if (signal.aborted) return;
      await this.sweep().catch((error) => onError(error, 'log retention'));
    }
  }
}

/**
 * A process's right to work on jobs: its epoch, the heartbeat that keeps it, and looking after the
 * epochs of others that fell silent. When the epoch is declared dead everything it holds is given
 * up and a new one begins; what was settled too late is refused by the store.
 */
import { hostname } from 'node:os';
import { isMillraceError, MillraceError } from '../core/errors.ts';
import type { JobRef, JobStore, Recovery } from '../ports/jobs.ts';
import { Bell, sleep } from '../runtime/bell.ts';
import { type Heartbeat, startHeartbeat } from '../runtime/heartbeat/heartbeat.ts';

export interface SessionOptions {
  readonly store: JobStore;
  readonly workerId: string;
  readonly heartbeatMs: number;
  readonly timeToLiveMs: number;
  /** A job that saw so many workers die is quarantined. */
  readonly crashesMax: number;
  queues(): readonly string[];
  load(): { readonly running: number; readonly concurrency: number };
  onBegun(): void;
  /** Nothing held may be settled any more. */
  onLost(cause: MillraceError, epoch: number): void;
  onCancelled(jobs: readonly JobRef[]): void;
  onRecovered(recovery: Recovery): void;
  onError(error: unknown, where: string): void;
}

export class Session {
  readonly #options: SessionOptions;
  /** Jobs not yet settled by claim, in order of claims; 1 more while the claim is under way. */
  readonly #open = new Map<number, number>();
  readonly #bell = new Bell();
  readonly #stop = new AbortController();
  #epoch: number | null = null;
  #claims = 0;
  #heartbeat: Heartbeat | null = null;
  #running: Promise<void> = Promise.resolve();
  /** When the store was last away, or this process too slow to reach it; of performance.now(). */
  #troubledAt = Number.NEGATIVE_INFINITY;
  /** Live workers at the last look, this one included. */
  workers = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /** Null while there is none: before the start, after the end, between two. */
  get epoch(): number | null {
    return this.#epoch;
  }

  async start(): Promise<void> {
    await this.#begin();
    this.#running = this.#run();
  }

  /** Ends the heartbeat and hands back what is still held. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#bell.ring();
    await this.#running;
    const epoch = this.#epoch;
    this.#epoch = null;
    await this.#heartbeat?.stop();
    if (epoch === null) return;
    try {
      await this.#options.store.retire(epoch);
    } catch (error) {
      this.#options.onError(error, 'retire'); // it runs out by itself
    }
  }

  /** A number for a claim that is about to be made. */
  openClaim(): number {
    this.#claims += 1;
    this.#open.set(this.#claims, 1);
    return this.#claims;
  }

  hold(claimNo: number, jobs: number): void {
    const open = this.#open.get(claimNo);
    if (open !== undefined) this.#open.set(claimNo, open + jobs);
  }

  letGo(claimNo: number, jobs: number): void {
    const open = this.#open.get(claimNo);
    if (open === undefined) return; // of an epoch before this one
    if (open <= jobs) this.#open.delete(claimNo);
    else this.#open.set(claimNo, open - jobs);
  }

  /** The store refused this epoch, or its time is over: start again under a new one. */
  lose(epoch: number, cause: MillraceError): void {
    if (this.#epoch !== epoch) return;
    this.#epoch = null;
    this.#open.clear();
    this.#claims = 0;
    this.#options.onLost(cause, epoch);
    this.#bell.ring();
  }

  async #begin(): Promise<void> {
    const { store, workerId, timeToLiveMs, heartbeatMs, queues, load } = this.#options;
    const epoch = await store.register({
      workerId,
      queues: queues(),
      timeToLiveMs,
      host: hostname(),
      pid: process.pid,
    });
    this.#epoch = epoch;
    this.#heartbeat = startHeartbeat({
      beater: store.beater,
      epoch,
      everyMs: heartbeatMs,
      timeToLiveMs,
      report: () => ({ ...load(), oldestClaimNo: this.#oldestClaim() }),
      onCancelled: (jobs) => this.#options.onCancelled(jobs),
      onFenced: () => this.lose(epoch, lost('was declared dead')),
      onExpired: () => {
        this.#troubledAt = performance.now();
        this.lose(epoch, lost('could not say that it lives for too long'));
      },
      onRevived: () => {},
      onError: (error) => {
        this.#troubledAt = performance.now();
        this.#options.onError(error, 'heartbeat');
      },
    });
    this.#options.onBegun();
  }

  /** Everything before this claim is settled; the next one when nothing is open. */
  #oldestClaim(): number {
    for (const claimNo of this.#open.keys()) return claimNo;
    return this.#claims + 1;
  }

  async #run(): Promise<void> {
    const { store, heartbeatMs, onError } = this.#options;
    while (!this.#stop.signal.aborted) {
      // A little jitter, so that workers started together do not look together.
      await this.#bell.wait(heartbeatMs * (0.8 + Math.random() * 0.4));
      if (this.#stop.signal.aborted) return;
      try {
        if (this.#epoch === null) await this.#beginAgain();
        const recovery = await store.recover({ crashesMax: this.#crashesMax() });
        if (recovery.workers > 0 || recovery.jobs.length > 0) {
          this.#options.onRecovered(recovery);
        }
        this.workers = (await store.workers()).filter(({ alive }) => alive).length;
      } catch (error) {
        const isAway = isMillraceError(error) && error.code === 'STORE_UNAVAILABLE';
        if (isAway) this.#troubledAt = performance.now();
        onError(error, 'recovery');
        await sleep(heartbeatMs, this.#stop.signal);
      }
    }
  }

  /**
   * Whoever was cut off from the store itself cannot blame the silence of others on their jobs:
   * three restarts of a database must not quarantine what was running.
   */
  #crashesMax(): number | null {
    const { crashesMax, timeToLiveMs } = this.#options;
    return performance.now() - this.#troubledAt < 2 * timeToLiveMs ? null : crashesMax;
  }

  async #beginAgain(): Promise<void> {
    await this.#heartbeat?.stop();
    this.#heartbeat = null;
    await this.#begin();
  }
}

function lost(what: string): MillraceError {
  return new MillraceError('LEASE_LOST', `This worker's epoch ${what}; its jobs run elsewhere.`);
}

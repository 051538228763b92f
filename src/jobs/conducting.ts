/**
 * How something outside conducts a queue: it hears what the wakers of the process heard, and says
 * when to claim and how much. Claims, handlers and settlements stay those of every other queue.
 */
import type { ClaimedJob } from '../ports/jobs.ts';
import type { WakeSource } from '../runtime/heads.ts';

export interface Conductor {
  /** Lanes got jobs; none named: state rows may be due, or a notice may have been missed. */
  heard(source: WakeSource, lanes: readonly number[]): void;
  claimed(report: ClaimReport): void;
}

/** What a claim was answered with. */
export interface ClaimReport {
  readonly jobs: readonly ClaimedJob[];
  /** The lane that was asked for a number of jobs, and whether it gives no more of them now. */
  readonly ration: { readonly lane: number; readonly over: boolean } | null;
  /** The store was asked for what lanes have, and not only for state rows. */
  readonly looked: boolean;
}

export interface ConductedQueue {
  readonly queue: string;
  /** Handlers at work. */
  readonly running: number;
  /** Claimed and not started. */
  readonly buffered: number;
  readonly concurrency: number;
  /** Claims what these lanes and the state rows have, until they are empty. */
  claim(lanes: readonly number[]): void;
  /** Claims so many jobs of one lane at most; it takes the place of what was asked for before. */
  claimSome(lane: number, most: number): void;
  /** Lanes with jobs to claim, as the store says, most urgent first. */
  readyLanes(): Promise<readonly number[]>;
  /** Claims nothing from now on, and hands back what was not started. */
  hold(): void;
  /** Claims again when it is told to. */
  proceed(): void;
  /** Tells the handlers at work to stop; what fails from then on is handed back. */
  abort(cause: unknown): void;
  /** Leaves the queue to the wakers of the process again. */
  close(): void;
}

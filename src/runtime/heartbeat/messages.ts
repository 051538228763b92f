/**
 * What main and the heartbeat's thread say to each other, and the memory they share. Main writes
 * into the cells and the thread reads: a main that is blocked needs to say nothing.
 */
import type { JobRef, WorkerReport } from '../../ports/jobs.ts';
import type { CarriedError } from '../carried-error.ts';

/** How a pulse is made; goes to the thread as it is, so it holds data only. */
export interface PulseSettings {
  readonly beater: { readonly module: string; readonly options: unknown };
  readonly epoch: number;
  readonly everyMs: number;
  readonly timeToLiveMs: number;
  readonly blockedMsMax: number;
  readonly cells: BigInt64Array<SharedArrayBuffer>;
}

/** What a pulse has to say. */
export type PulseNews =
  | { readonly kind: 'cancelled'; readonly jobs: readonly JobRef[] }
  | { readonly kind: 'fenced' }
  | { readonly kind: 'expired'; readonly silentMs: number }
  | { readonly kind: 'revived' }
  | { readonly kind: 'blocked'; readonly blockedMs: number }
  | { readonly kind: 'error'; readonly error: CarriedError };

export type ToThread =
  | { readonly kind: 'start'; readonly id: number; readonly settings: PulseSettings }
  | { readonly kind: 'stop'; readonly id: number };

export type FromThread =
  | { readonly kind: 'news'; readonly id: number; readonly news: PulseNews }
  | { readonly kind: 'stopped'; readonly id: number };

const counterCell = 0;
const runningCell = 1;
const concurrencyCell = 2;
const oldestCell = 3;

export function createCells(): BigInt64Array<SharedArrayBuffer> {
  return new BigInt64Array(new SharedArrayBuffer(4 * BigInt64Array.BYTES_PER_ELEMENT));
}

/** Main's side: its loop turns, and these are its numbers. */
export function writeCells(cells: BigInt64Array, report: WorkerReport): void {
  Atomics.store(cells, runningCell, BigInt(report.running));
  Atomics.store(cells, concurrencyCell, BigInt(report.concurrency));
  Atomics.store(cells, oldestCell, BigInt(report.oldestClaimNo));
  Atomics.add(cells, counterCell, 1n);
}

export function readReport(cells: BigInt64Array): WorkerReport {
  return {
    running: Number(Atomics.load(cells, runningCell)),
    concurrency: Number(Atomics.load(cells, concurrencyCell)),
    oldestClaimNo: Number(Atomics.load(cells, oldestCell)),
  };
}

/** Changes whenever main's loop has turned. */
export function readCounter(cells: BigInt64Array): bigint {
  return Atomics.load(cells, counterCell);
}

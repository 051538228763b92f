/** What an answer to `why` is made of: reasons, each with the command that clears it. */
import type { JobStatus } from '../core/job.ts';
import type { JobStore, WorkerInfo } from '../ports/jobs.ts';

export type ReasonKind =
  | 'completed'
  | 'dead'
  | 'quarantined'
  | 'cancelled'
  | 'letting-go'
  | 'running'
  | 'worker-silent'
  | 'delayed'
  | 'retrying'
  | 'parent'
  | 'parent-failed'
  | 'parent-gone'
  | 'queue-paused'
  | 'no-worker'
  | 'no-handler'
  | 'workers-busy'
  | 'concurrency-limit'
  | 'key-concurrency-limit'
  | 'rate-limit'
  | 'key-rate-limit'
  | 'suspect'
  | 'line'
  | 'next';

export interface Reason {
  readonly kind: ReasonKind;
  /** A sentence. */
  readonly text: string;
  /** Arguments of `millrace` that clear it or tell more; null where none does. */
  readonly command: string | null;
}

export interface Why {
  readonly id: string;
  readonly status: JobStatus;
  readonly reasons: readonly [Reason, ...Reason[]];
}

export type WhyStore = Pick<JobStore, 'queries' | 'queues' | 'workers'>;

export function reason(kind: ReasonKind, text: string, command: string | null = null): Reason {
  return { kind, text, command };
}

/** `3 workers`, `1 worker`. */
export function count(n: number, noun: string): string {
  return `${n.toLocaleString('en-US')} ${noun}${n === 1 ? '' : 's'}`;
}

export function placeOf({ host, pid }: WorkerInfo): string {
  return `${host}, process ${pid}`;
}

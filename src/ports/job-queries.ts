/**
 * Reading jobs: one by id, pages by filter, counts. Never on the hot path; what a plain job's state
 * is follows from the claims and acknowledgements of its lane.
 */
import type { JobRef, JobStatus } from '../core/job.ts';
import type { JobErrorRecord } from './jobs.ts';

export interface JobSnapshot extends JobRef {
  readonly queue: string;
  readonly tenantId: string;
  readonly key: string;
  readonly priority: number;
  readonly name: string;
  readonly version: number;
  readonly payloadJson: string;
  readonly optionsJson: string | null;
  readonly status: JobStatus;
  readonly failures: number;
  readonly crashes: number;
  /** ISO 8601, as all times here. */
  readonly enqueuedAt: string;
  /** When a delayed or retrying job becomes due. */
  readonly runAt: string | null;
  /** When it was claimed last; for plain jobs the time of its claim. */
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  /** The epoch that holds it. */
  readonly epoch: number | null;
  readonly error: JobErrorRecord | null;
  readonly resultJson: string | null;
  readonly progressJson: string | null;
  readonly uniqueKey: string | null;
  /** Jobs that it waits for and that have not completed. */
  readonly waitsFor: readonly JobRef[];
}

export interface JobFilter {
  readonly queue?: string;
  readonly name?: string;
  readonly tenantId?: string;
  readonly key?: string;
  readonly status?: JobStatus;
  readonly fingerprint?: string;
  /** Enqueued at or after, before; ISO 8601. */
  readonly from?: string;
  readonly to?: string;
}

export interface JobPage {
  readonly jobs: readonly JobSnapshot[];
  /** Give it back for the next page; null at the end. Opaque. */
  readonly next: string | null;
}

export type JobCounts = Readonly<Record<JobStatus, number>>;

export interface JobQueries {
  /** Null for each that is not there, in the order asked. */
  find(jobs: readonly JobRef[]): Promise<readonly (JobSnapshot | null)[]>;
  /** Stable while jobs come and go: a job that matches throughout is on exactly one page. */
  list(filter: JobFilter, page: { limit: number; after: string | null }): Promise<JobPage>;
  /** By queue; queues that are known are all there. */
  counts(queues?: readonly string[]): Promise<ReadonlyMap<string, JobCounts>>;
  /** Results of parents, in the order asked: JSON text, null for none. */
  results(jobs: readonly JobRef[]): Promise<readonly (string | null)[]>;
}

/** What users give to queues and get from them, as types. */
import type { JobLog } from '../core/job-context.ts';
import type { AnyJobDefinition } from '../core/job-definition.ts';
import type { JobOptions } from '../core/job-options.ts';
import type { Tracing } from '../ports/tracing.ts';
import type { DeploymentMode } from '../runtime/heads.ts';
import type { JobMiddleware } from './executor.ts';
import type { JobAttempt } from './lifecycle.ts';
import type { CallerTransaction } from './transaction.ts';

export interface JobsOptions {
  /** Which wakers find jobs; Hybrid by default. */
  readonly mode?: DeploymentMode;
  /** 1,000 ms by default. */
  readonly heartbeatMs?: number;
  /** A worker silent for so long is dead, and its jobs run again; 5,000 ms by default. */
  readonly timeToLiveMs?: number;
  /** A job that saw so many workers die is quarantined; 3 by default. */
  readonly crashesMax?: number;
  /** How long stop() waits for handlers; 30,000 ms by default. */
  readonly graceMs?: number;
  /** How often queues are looked at without and with notices; 50 and 1,000 ms by default. */
  readonly pollMs?: readonly [least: number, most: number];
  /** Jobs of one exchange at most; 2,000 by default. */
  readonly batchMax?: number;
  /** Jobs accepted and not yet durable at most; 20,000 by default. */
  readonly bufferMax?: number;
  /** Finished jobs are kept for so long; 7 days by default, null for ever. */
  readonly retentionMs?: number | null;
  /** False: no connection listens for notices, and jobs are found by looking. */
  readonly notices?: boolean;
  /** Where lines of handlers' own log go; the console by default. */
  readonly log?: (job: JobAttempt) => JobLog;
  /** Jobs enqueued inside a span carry its `traceparent`. */
  readonly tracing?: Tracing;
  /** Told of errors that were survived. */
  readonly onError?: (error: unknown, where: string) => void;
}

export interface EnqueueOptions extends JobOptions {
  /**
   * The caller's own transaction (pg, Kysely, Drizzle, Knex, Prisma): the job exists if and when it
   * commits.
   */
  readonly tx?: CallerTransaction | undefined;
}

/** A job that was enqueued. The type parameter is what `jobs.result(it)` resolves to. */
export interface Enqueued<Result = unknown> {
  readonly id: string;
  /** A unique key led to this job, which was there before. */
  readonly duplicate: boolean;
  /** For the compiler only. */
  readonly result?: Result;
}

export interface WorkOptions {
  /** Handlers at work at the same time, for each queue; 10 by default. */
  readonly concurrency?: number;
  readonly queues?: Readonly<Record<string, { readonly concurrency: number }>>;
  readonly middleware?: readonly JobMiddleware[];
}

/** Of a handler for every job of a queue. */
export interface CatchAllOptions {
  readonly concurrency?: number;
  /** Only jobs of these names; all by default. */
  readonly knows?: (name: string) => boolean;
  /** False: jobs that saw workers die need not run alone; true by default. First call counts. */
  readonly solitary?: boolean;
}

export interface JobsHealth {
  readonly ready: boolean;
  readonly mode: DeploymentMode;
  readonly problems: readonly string[];
  readonly workerId: string;
  readonly epoch: number | null;
  readonly workers: number;
  readonly listening: boolean;
  /** How often the connection for notices was built anew. */
  readonly reconnects: number;
  readonly running: number;
  readonly concurrency: number;
  readonly queues: readonly string[];
  readonly errors: number;
  readonly lastError: string | null;
}

export type EnqueueItem = readonly [
  definition: AnyJobDefinition,
  payload: unknown,
  options?: JobOptions,
];

/**
 * The job port: what the runtime asks of a store that keeps queues. Every method says what happens
 * on success, conflict, crash and retry; `jobs.conformance.ts` proves it for each driver.
 *
 * Words: a lane is the log of one (queue, tenant, priority, key); a plain job is one row of it and
 * has no state of its own. What is exceptional (delayed, unique, dependent, retried, cancelled,
 * dead) has a state row beside it. A claim gives a worker a range of a lane under its epoch.
 *
 * Invariants every driver keeps: an acknowledged enqueue is never lost; a job is held by one epoch
 * at a time; a settlement of an epoch that is not alive is refused as a whole (LEASE_LOST); jobs of
 * a dead epoch run again; order within a lane is the order of its offsets.
 */
import type { JobErrorRecord } from '../core/error-record.ts';
import type { JobRef, NewJob } from '../core/job.ts';
import type { SqlTransaction } from '../core/sql-transaction.ts';
import type { JobQueries } from './job-queries.ts';
import type { NoticeChannel } from './notices.ts';
import type { ScheduleStore } from './schedules.ts';

export interface JobStoreCapabilities {
  /** 'commit': an answer means durable. 'server': as durable as the server is configured to be. */
  readonly durability: 'commit' | 'server';
  /** enqueue inside the caller's transaction, settlement inside the handler's. */
  readonly sqlTransactions: boolean;
  /** Completed jobs can be read until they are pruned. */
  readonly history: boolean;
}

/** How many at a time, and how many in a while (a bucket of `max` tokens). Absent: no limit. */
export interface Limits {
  readonly concurrency?: number;
  readonly rate?: { readonly max: number; readonly perMs: number };
}

export interface QueueSettings {
  readonly queue: string;
  /** For all jobs of the queue, over all workers. `null` removes; absent leaves as it is. */
  readonly limits?: Limits | null;
  /** For each (tenant, key) of the queue by itself. */
  readonly keyLimits?: Limits | null;
  readonly paused?: boolean;
  /** Jobs that wait at most; enqueue is refused with BACKPRESSURE beyond it. */
  readonly lengthMax?: number | null;
}

export interface QueueState extends QueueSettings {
  readonly paused: boolean;
}

/** A job as a worker gets it. */
export interface ClaimedJob extends JobRef {
  readonly queue: string;
  readonly tenantId: string;
  readonly key: string;
  readonly priority: number;
  readonly name: string;
  readonly version: number;
  readonly payloadJson: string;
  readonly optionsJson: string | null;
  /** Milliseconds since 1970. */
  readonly enqueuedAt: number;
  /** Tries that failed before this one. */
  readonly failures: number;
  /** How often a worker died while it had the job. */
  readonly crashes: number;
  /** Number of the claim this job came with; settle by it. */
  readonly claimNo: number;
  /** It has a state row already (retried, delayed, …). */
  readonly exceptional: boolean;
}

export interface JobFailure extends JobRef {
  readonly claimNo: number;
  readonly exceptional: boolean;
  /** 'retrying' runs again after delayMs; 'dead' never; 'cancelled' by the handler's own wish. */
  readonly status: 'retrying' | 'dead' | 'cancelled';
  readonly delayMs: number;
  readonly error: JobErrorRecord | null;
  /** False: the try does not count (a snooze, or a released job). */
  readonly counts: boolean;
}

export interface JobDone extends JobRef {
  readonly claimNo: number;
  readonly exceptional: boolean;
  /** JSON text of what the handler returned; null when it returned nothing. */
  readonly resultJson: string | null;
}

/** What a worker says about jobs that it holds. */
export interface JobSettlement {
  readonly done: readonly JobDone[];
  readonly failed: readonly JobFailure[];
  /** Claimed and not started: they wait again at once, first in line, without a try counted. */
  readonly released: readonly JobRef[];
}

export interface ClaimRequest {
  /** Jobs wanted at most. */
  readonly max: number;
  /**
   * Lanes that may have jobs, as `readyLanes` or enqueue named them; the driver orders them. Those
   * of this exchange's own enqueue count without being named. State rows are always looked at.
   */
  readonly lanes: readonly number[];
  /** False while a suspect (`isSuspect`) is running here: those run one at a time. */
  readonly suspects: boolean;
  /** Counts up by one for each exchange with a claim of this epoch, from 1. */
  readonly claimNo: number;
}

/**
 * One round trip: settle, then enqueue, then claim; one commit. Everything in it happens, or
 * nothing. After STORE_UNAVAILABLE the outcome is unknown: send the very same object again with
 * `again: true`; what happened the first time is then answered and not repeated.
 */
export interface Exchange {
  /** All parts are about this queue. */
  readonly queue: string;
  /** Needed for settle and claim. */
  readonly epoch: number | null;
  readonly settle: JobSettlement | null;
  /** Plain jobs only (`isPlain`), in order. */
  readonly enqueue: readonly NewJob[];
  /** Names this exchange's enqueue; a new UUID for each that is not a repeated one. */
  readonly enqueueId: string;
  readonly claim: ClaimRequest | null;
  readonly again: boolean;
}

export interface ExchangeResult {
  /** Where each job of `enqueue` stands, in order. */
  readonly enqueued: readonly JobRef[];
  /** In the order to run them. Jobs of this very exchange's enqueue may be among them. */
  readonly claimed: readonly ClaimedJob[];
  /** Lanes of the request in which jobs are left, as far as this call looked. */
  readonly lanesLeft: readonly number[];
  /** Waiting or delayed state rows: milliseconds until the next one is due; null for none. */
  readonly nextDueMs: number | null;
  /** A limit held jobs back: look again after so many milliseconds (0: when one is settled). */
  readonly limitedMs: number | null;
  readonly paused: boolean;
  /** Queues in which a job may run now because its parents ended with this settlement. */
  readonly woken: readonly string[];
}

export interface WorkerReport {
  readonly running: number;
  readonly concurrency: number;
  /** Claims below this number are wholly settled. */
  readonly oldestClaimNo: number;
}

export interface WorkerInfo {
  readonly epoch: number;
  readonly workerId: string;
  readonly queues: readonly string[];
  readonly startedAt: string;
  readonly heartbeatAt: string;
  readonly alive: boolean;
  readonly running: number;
  readonly concurrency: number;
  readonly host: string;
  readonly pid: number;
}

/** What recovery did. */
export interface Recovery {
  readonly workers: number;
  readonly jobs: readonly (JobRef & { readonly queue: string; readonly crashes: number })[];
  /** Of these jobs, those that saw too many workers die and will not run again by themselves. */
  readonly quarantined: readonly JobRef[];
}

/** Says that a worker lives. Made again inside a thread, from `JobStore.beater`. */
export interface Beater {
  /**
   * Answers with jobs held by this epoch that were cancelled meanwhile; `alive: false` when the
   * epoch was declared dead: nothing it holds can be settled any more, for good.
   */
  beat(epoch: number, report: WorkerReport): Promise<Beat>;
  close(): Promise<void>;
}

export interface Beat {
  readonly alive: boolean;
  readonly cancelled: readonly JobRef[];
}

/** A handler's own transaction, which settles its job as it commits. */
export interface JobTransaction {
  readonly tx: SqlTransaction;
  /**
   * Settles and commits. LEASE_LOST or a cancelled job: everything is undone and it throws. When
   * the connection is lost meanwhile it resolves or throws once the store says what happened.
   */
  commit(settlement: JobSettlement): Promise<Pick<ExchangeResult, 'woken'>>;
  rollback(): Promise<void>;
}

export interface EnqueueResult extends JobRef {
  /** A unique key led to this job, which was there before. */
  readonly duplicate: boolean;
}

export interface JobStore {
  readonly capabilities: JobStoreCapabilities;
  readonly queries: JobQueries;
  readonly schedules: ScheduleStore;
  /** `jobs <queue> <lane>…`: lanes got jobs; `cancel <lane>-<offset>…`; `done <lane>-<offset>…` */
  readonly notices: NoticeChannel;
  /** How a thread makes a Beater: `(await import(module)).openBeater(options)`. */
  readonly beater: { readonly module: string; readonly options: unknown };

  /** Makes the queues known and changes what is given. Safe to repeat. */
  configure(queues: readonly QueueSettings[]): Promise<void>;
  queues(): Promise<readonly QueueState[]>;

  /** A new epoch, greater than every one before. Its time to live starts now. */
  register(worker: WorkerRegistration): Promise<number>;
  /** Releases what the epoch still holds, without counting a try, and forgets it. */
  retire(epoch: number): Promise<void>;
  workers(): Promise<readonly WorkerInfo[]>;
  /**
   * Declares silent epochs dead and makes their jobs wait again, each once whoever calls.
   * `crashesMax` null: the store was away, so silence says nothing about the jobs; no crash counts.
   */
  recover(options: { crashesMax: number | null }): Promise<Recovery>;

  exchange(exchange: Exchange): Promise<ExchangeResult>;
  /** Lanes of the queue with jobs to claim, most urgent first. */
  readyLanes(queue: string): Promise<readonly number[]>;
  /**
   * Enqueues jobs of any kind, each with a state row; resolves after the commit. With `tx` they are
   * written by the caller's transaction and exist if and when it commits. `enqueueId` as above.
   * @throws JOB_DUPLICATE when a unique key in mode 'reject' is taken; nothing is stored then.
   */
  enqueue(
    jobs: readonly NewJob[],
    options: { enqueueId: string; again: boolean; tx?: SqlTransaction },
  ): Promise<readonly EnqueueResult[]>;
  /** Only where `capabilities.sqlTransactions`. */
  begin(epoch: number, tenantId: string): Promise<JobTransaction>;
  /** Replaces what is shown as a running job's progress. */
  progress(jobs: readonly (JobRef & { readonly progressJson: string })[]): Promise<void>;
  /** Changes jobs by hand; answers with those it changed. The others were in no state for it. */
  change(verb: JobVerb, jobs: readonly JobRef[]): Promise<readonly JobRef[]>;
  /** Removes finished jobs older than that, a bounded number. Returns how many. */
  prune(options: { olderThanMs: number; limit: number }): Promise<number>;
  ping(): Promise<void>;
  close(): Promise<void>;
}

/**
 * cancel: waiting, delayed, blocked or running → cancelled, for good; the notice tells its worker.
 * retry: dead, cancelled or quarantined → waiting, tries counted anew. run: delayed or retrying →
 * waiting now. remove: any that is not running → gone.
 */
export type JobVerb = 'cancel' | 'retry' | 'run' | 'remove';

export interface WorkerRegistration {
  readonly workerId: string;
  readonly queues: readonly string[];
  /** Silent for longer: dead. */
  readonly timeToLiveMs: number;
  readonly host: string;
  readonly pid: number;
}

export type { JobErrorRecord, JobRef, NewJob };

/**
 * Jobs as the faces show them: what is added to a queue, what a processor gets, what is read back.
 * A `type` is the engine's job name, `data` its payload, `delay` is in milliseconds.
 */
import type { BackoffOption } from '../core/backoff.ts';
import type { JobStatus, UniqueMode } from '../core/job.ts';
import type { JobErrorRecord } from '../ports/jobs.ts';

/**
 * A job. Extend it to say what a type of job holds. A class with nothing in it, and not an
 * interface, so that `import { Job }` also works where types are stripped and not compiled.
 * @example
 * interface InvoiceJob extends Job { type: 'invoice.processing'; data: { invoiceId: string } }
 */
export abstract class Job {
  declare readonly id: string;
  declare readonly type: string;
  declare readonly data: unknown;
  /** Smaller runs first; 0 by default. */
  declare readonly priority?: number;
  /** Milliseconds it had to wait before its first try. */
  declare readonly delay?: number;
  /** Tries in all. */
  declare readonly attempts?: number;
  declare readonly queue?: string;
  declare readonly tenantId?: string;
  declare readonly enqueuedAt?: Date;
  declare readonly metadata?: Readonly<Record<string, unknown>>;
  /** 1 for the first try. There while it is processed, as all below. */
  declare readonly attempt?: number;
  /** Aborted when the job is cancelled, takes too long, or this process has to let go of it. */
  declare readonly signal?: AbortSignal;
  /** Shows how far it is, to whoever looks at the job. */
  updateProgress?(value: unknown): void;
}

/** What `JobQueue.add` takes. */
export interface JobRequest<Data = unknown> {
  readonly type: string;
  readonly data: Data;
  /** Smaller runs first; the queue's own, else 0, by default. */
  readonly priority?: number;
  /** Milliseconds until it may run. */
  readonly delay?: number;
  /** Tries in all; those of the worker by default. */
  readonly attempts?: number;
  /** Milliseconds between tries, or a policy of its own; that of the worker by default. */
  readonly backoff?: BackoffOption;
  /** Milliseconds one try may take; 0 for no limit. */
  readonly timeout?: number;
  /**
   * Whose job it is: queues take turns between tenants. `data.tenantId` by default, where that is
   * a name, and else 'default'.
   */
  readonly tenantId?: string | undefined;
  /** At most one job of a key; a text means mode 'keep'. */
  readonly unique?: string | { key: string; mode?: UniqueMode; windowMs?: number };
  /** Ids of jobs that must complete first. */
  readonly dependsOn?: readonly string[];
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/** A job as it stands in the store. */
export interface StoredJob extends Job {
  readonly queue: string;
  readonly tenantId: string;
  readonly priority: number;
  readonly status: JobStatus;
  /** Tries that failed. */
  readonly failures: number;
  readonly enqueuedAt: Date;
  readonly runAt: Date | null;
  readonly startedAt: Date | null;
  readonly finishedAt: Date | null;
  readonly result: unknown;
  readonly progress: unknown;
  /** What its processor last noted by `updateJobStatus`. */
  readonly note: StatusNote | null;
  readonly error: JobErrorRecord | null;
}

export interface StatusNote {
  readonly status: string;
  readonly at: string;
  readonly error?: string;
}

/** What shall become of the try that is under way, whatever its processor throws. */
export interface JobVerdict {
  readonly action: 'retry' | 'fail' | 'ignore';
  readonly delayMs: number;
  /** Tries in all, in place of the job's own; null for those. */
  readonly attempts: number | null;
}

/** Jobs that this process works on → how to say what their try leads to. Null takes it back. */
export const verdicts = new WeakMap<object, (verdict: JobVerdict | null) => void>();

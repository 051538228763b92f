/**
 * The errors of the faces: MillraceErrors, told apart by class. WorkerError is the class of them
 * all, so one `instanceof` catches everything that a face throws; codes, fixes and causes are those
 * of the engine.
 */
import { type ErrorCode, MillraceError, type MillraceErrorOptions } from '../core/errors.ts';

/** Anything that goes wrong in or around a worker. */
export class WorkerError extends MillraceError {
  static {
    named(WorkerError, 'WorkerError');
  }
}

export interface JobErrorOptions extends MillraceErrorOptions {
  readonly jobId?: string | undefined;
  readonly attempts?: number | undefined;
}

/** A job failed, was cancelled or took too long. `cause` is what its processor threw. */
export class JobError extends WorkerError {
  readonly jobId: string | null;
  /** Tries that were made; 0 when that is not known. */
  readonly attempts: number;

  constructor(code: ErrorCode, message: string, options: JobErrorOptions = {}) {
    super(code, message, options);
    this.jobId = options.jobId ?? null;
    this.attempts = options.attempts ?? 0;
  }

  static {
    named(JobError, 'JobError');
  }
}

/** An operation on a queue was refused or did not reach the store. */
export class QueueError extends WorkerError {
  readonly queue: string | null;

  constructor(
    code: ErrorCode,
    message: string,
    options: MillraceErrorOptions & { readonly queue?: string | undefined } = {},
  ) {
    super(code, message, options);
    this.queue = options.queue ?? null;
  }

  static {
    named(QueueError, 'QueueError');
  }
}

/** On the prototype, as MillraceError has it: not printed again as a member. */
function named(errorClass: { readonly prototype: object }, value: string): void {
  Object.defineProperty(errorClass.prototype, 'name', {
    value,
    configurable: true,
    writable: true,
  });
}

/** What the engine said, as an error of the worker. Mistakes in code stay what they are. */
export function asWorkerError(error: unknown): unknown {
  if (!(error instanceof MillraceError) || error instanceof WorkerError) return error;
  const { code, message, fix, retryable, details } = error;
  return new WorkerError(code, message, { fix, retryable, details, cause: error });
}

/** The same, as an error of a queue. */
export function asQueueError(error: unknown, queue?: string): unknown {
  if (!(error instanceof MillraceError) || error instanceof WorkerError) return error;
  const { code, message, fix, retryable, details } = error;
  return new QueueError(code, message, { fix, retryable, details, cause: error, queue });
}

/** For whoever waits for a job: the job's own end is a JobError, all else is the queue's. */
export function asJobError(error: unknown, jobId: string): unknown {
  if (!(error instanceof MillraceError) || !aboutJob.has(error.code)) return asQueueError(error);
  if (error instanceof WorkerError) return error;
  const { code, message, fix, retryable, details } = error;
  return new JobError(code, message, { fix, retryable, details, cause: error, jobId });
}

const aboutJob: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'JOB_FAILED',
  'JOB_CANCELLED',
  'JOB_TIMEOUT',
  'JOB_STATE',
  'RESULT_INVALID',
]);

export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name;
  try {
    return typeof error === 'string' ? error : (JSON.stringify(error) ?? String(error));
  } catch {
    return 'a value that cannot be printed was thrown';
  }
}

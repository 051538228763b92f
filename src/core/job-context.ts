/**
 * What handlers of jobs are called with, as types: definitions infer from them, the worker makes
 * the values.
 */
import type { JsonValue } from './json.ts';
import type { SqlTransaction } from './sql-transaction.ts';

/** What a handler can know about its job beside the payload. */
export interface JobFacts {
  /** `<lane>-<offset>`, as enqueue() answered it. */
  readonly id: string;
  readonly name: string;
  readonly queue: string;
  readonly tenantId: string;
  /** Fairness and limit key beside the tenant; '' for none. */
  readonly key: string;
  /** 1 for the first try. */
  readonly attempt: number;
  readonly priority: number;
  readonly enqueuedAt: Date;
  readonly metadata: Readonly<Record<string, JsonValue>>;
  readonly correlationId: string | null;
  /** W3C Trace Context of whoever enqueued it; null without a trace. */
  readonly traceparent: string | null;
}

/** Lines of a handler's own log; the worker adds the job's id, name and attempt. */
export interface JobLog {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

interface JobTools<Progress> {
  /** Aborted by cancel, timeout, a lost lease, and at the end of a shutdown's grace. */
  readonly signal: AbortSignal;
  readonly log: JobLog;
  /** Replaces what is shown as the job's progress. Written soon, not at once. */
  progress(value: Progress): void;
  /** Results of the jobs it depends on, in the order of `dependsOn`. */
  results(): Promise<unknown[]>;
}

/**
 * Of a handler of single jobs. `tx` is there with `transactional: true`: what is written through it
 * commits together with the completion of the job, or not at all.
 */
export interface JobContext<Progress = unknown, Transactional extends boolean = boolean>
  extends JobFacts,
    JobTools<Progress> {
  readonly tx: Transactional extends true ? SqlTransaction : undefined;
}

/** One job of a batch. Its signal is its own: one cancelled job does not stop its neighbours. */
export interface BatchJob<Payload = unknown, Progress = unknown>
  extends JobFacts,
    JobTools<Progress> {
  readonly payload: Payload;
}

/** Of a handler of batches. */
export interface JobBatchContext {
  readonly name: string;
  readonly queue: string;
  /** Aborted when the whole batch shall stop: timeout, a lost lease, shutdown. */
  readonly signal: AbortSignal;
  readonly log: JobLog;
}

/**
 * What main and a sandbox's thread say to each other, and what a handler in the thread is given.
 * Everything here is copied from one thread to the other, so it is data only.
 */
import type { JobContext, JobFacts, JobLog } from '../../core/job-context.ts';
import type { CarriedError } from '../../runtime/carried-error.ts';

/**
 * Second argument of a sandboxed handler: as in any other handler, but for the transaction. Its
 * signal is obeyed soon or the thread is ended. Of frequent progress some is left out, never the
 * last; of log lines, those beyond the first 1,000.
 * @example export default async (payload: Invoice, ctx: SandboxContext) => render(payload);
 */
export type SandboxContext<Progress = unknown> = Omit<JobContext<Progress, false>, 'tx'>;

export type SandboxHandler = (payload: unknown, context: SandboxContext) => unknown;

/** workerData of a sandbox's thread: it runs this module and no other. */
export interface SandboxData {
  readonly module: string;
}

/** `task` numbers the runs of one thread: what arrives late belongs to no later run. */
export type ToSandbox =
  | {
      readonly kind: 'run';
      readonly task: number;
      readonly payload: unknown;
      readonly job: JobFacts;
    }
  | { readonly kind: 'abort'; readonly task: number; readonly reason: CarriedError }
  | { readonly kind: 'results'; readonly task: number; readonly results: readonly unknown[] }
  | { readonly kind: 'no-results'; readonly task: number; readonly error: CarriedError };

export type LogLevel = keyof JobLog;

export type FromSandbox =
  | { readonly kind: 'log'; readonly task: number; readonly line: LogLine }
  /** The handler wants the results of the jobs it depends on. */
  | { readonly kind: 'ask'; readonly task: number }
  | { readonly kind: 'progress'; readonly task: number; readonly value: unknown }
  | { readonly kind: 'done'; readonly task: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly task: number; readonly error: CarriedError }
  /** The handler is done and its result cannot be copied. */
  | { readonly kind: 'unsent'; readonly task: number; readonly error: CarriedError }
  /** There is no handler to run: the thread is of no use. */
  | { readonly kind: 'unusable'; readonly task: number; readonly error: CarriedError };

export interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>> | undefined;
}

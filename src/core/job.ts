/**
 * What a job is, before any store: its position, its states, and the record that is enqueued.
 * `job-definition.ts` makes these from what users write.
 */
import { MillraceError } from './errors.ts';

/** Where a job stands: (lane, offset). Its public id is `<lane>-<offset>`. */
export interface JobRef {
  readonly lane: number;
  readonly offset: number;
}

/**
 *   blocked ──> waiting ──> running ──> completed
 *               ^    ^         ├──> retrying ──> waiting
 *   delayed ────┘    └─ (verb) ┤──> dead
 *                              └──> cancelled (from any state before the end)
 *   running ──(its worker died too often)──> quarantined ──(verb retry)──> waiting
 */
export const jobStatuses = [
  'blocked',
  'delayed',
  'waiting',
  'running',
  'retrying',
  'completed',
  'dead',
  'cancelled',
  'quarantined',
] as const;
export type JobStatus = (typeof jobStatuses)[number];

export const uniqueModes = ['reject', 'keep', 'replace', 'throttle', 'debounce'] as const;
export type UniqueMode = (typeof uniqueModes)[number];

/**
 * At most one job of a key (per queue and tenant).
 * reject: refused while one is unfinished. keep: the unfinished one stands, the new one is dropped.
 * replace: a waiting or delayed one gets the new payload; beside a running one a new one is stored.
 * throttle: one per window, counted from its enqueue, finished or not. debounce: each enqueue
 * replaces the payload and starts the window anew; it runs when the window ends quietly.
 */
export interface UniqueRule {
  readonly key: string;
  readonly mode: UniqueMode;
  /** For throttle and debounce. */
  readonly windowMs: number;
}

/** What becomes of a job when one that it waits for is dead, cancelled or quarantined. */
export type ParentFailure = 'wait' | 'cancel' | 'run';

/** A job as it is enqueued: checked and printed. */
export interface NewJob {
  readonly queue: string;
  readonly tenantId: string;
  /** Fairness and limit key beside the tenant; '' for none. */
  readonly key: string;
  /** Any int4; smaller runs first. 0 by default. */
  readonly priority: number;
  readonly name: string;
  readonly version: number;
  readonly payloadJson: string;
  /** What differs from its definition; `JobOverrides` as JSON, null for nothing. */
  readonly optionsJson: string | null;
  /** 0: at once. */
  readonly delayMs: number;
  readonly unique: UniqueRule | null;
  readonly dependsOn: readonly JobRef[];
  readonly onParentFailure: ParentFailure;
}

/** Options that travel with one job. */
export interface JobOverrides {
  readonly attempts?: number;
  readonly backoff?: unknown;
  readonly timeoutMs?: number;
  readonly correlationId?: string;
  readonly causationId?: string;
  readonly traceparent?: string;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** Ids of its parents: their results are read in this order. */
  readonly dependsOn?: readonly string[];
}

/** It needs no state of its own: the lane alone says everything. */
export function isPlain(job: NewJob): boolean {
  return job.delayMs === 0 && job.unique === null && job.dependsOn.length === 0;
}

export function formatJobId({ lane, offset }: JobRef): string {
  return `${lane}-${offset}`;
}

/** @throws MillraceError REQUEST_INVALID when it is not `<lane>-<offset>`. */
export function parseJobId(id: string): JobRef {
  const match = /^([1-9]\d{0,9})-([1-9]\d{0,15})$/.exec(id);
  if (match) return { lane: Number(match[1]), offset: Number(match[2]) };
  throw new MillraceError('REQUEST_INVALID', `'${id}' is not a job id.`, {
    fix: 'A job id looks like 17-4242: give it as enqueue() answered it.',
  });
}

/** A job that saw so many workers die may be the cause: it runs apart from others like it. */
export const suspectCrashes = 2;

export function isSuspect({ crashes }: { readonly crashes: number }): boolean {
  return crashes >= suspectCrashes;
}

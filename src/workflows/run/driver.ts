/**
 * Between the engine and what drives a run. The engine holds runs: it loads them, keeps their
 * history, carries messages to them and lets go of them. A driver (`dag/`, `functions/`) decides
 * what happens next, and asks for each change to be stored before it goes on.
 *
 *   drive(run):  do what can be done ──> commit ──> … ──> commit with `end`      → 'ended'
 *                nothing can be done ──> wait ──> message or time: go on
 *                                         └────> 'rest': run.rest(…)             → 'rested'
 *                run.signal aborted: throw or return; what was not stored never was → 'lost'
 */
import type { JobErrorRecord } from '../../core/error-record.ts';
import type { JobLog } from '../../core/job-context.ts';
import type { SqlTransaction } from '../../core/sql-transaction.ts';
import type { RunChange, RunRecord, StepRecord } from '../../core/workflow/run-record.ts';
import type { StepEvents } from '../../events/domain/step-events.ts';
import type { RunCommit, RunInfo, RunRest, StoredMessage } from '../../ports/workflows.ts';
import type { Observers } from './observer.ts';

export type Drive = 'ended' | 'rested' | 'lost';

/** What a driver wants to have stored at once: a change, and what goes with it. */
export type Draft = Omit<RunChange, 'at' | 'by'> &
  Pick<RunCommit, 'starts' | 'messages' | 'jobs' | 'events' | 'waits' | 'unwait' | 'end'> & {
    /** An operator's name, instead of this worker's. */
    readonly by?: string | undefined;
  };

/** A run that this process holds. Made by the engine, one for each holding. */
export interface HeldRun {
  readonly info: RunInfo;
  /** Parsed and frozen. */
  readonly input: unknown;
  /** As stored: a change is applied after its commit. */
  readonly record: RunRecord;
  readonly workerId: string;
  /** Aborted when the run is lost to another holder or this process stops. Begin nothing then. */
  readonly signal: AbortSignal;
  /** Handlers of steps are called through `observeHandler(run.observers, …)` of `observer.ts`. */
  readonly observers?: Observers | undefined;
  /** Domain events of a step, for the draft of its end. Absent: none are published. */
  readonly stepEvents?: Pick<StepEvents, 'prepare'> | undefined;
  log(step: StepRecord | null): JobLog;

  /** Numbers for steps about to be created, in this order: the first of `count`. */
  reserve(count: number): number;
  /**
   * Resolves when the draft is durable and applied. May be called while another is under way:
   * drafts that gather meanwhile become one change, in the order of the calls.
   * @throws MillraceError LEASE_LOST when another holds the run now; `signal` is aborted then.
   */
  commit(draft: Draft): Promise<void>;
  /** A transaction of the run's tenant. Its commit takes its place among the others. */
  begin(): Promise<HeldTransaction>;

  /** Messages beyond `record.read`. Say `read: <the last no>` in the commit they lead to. */
  messages(): Promise<readonly StoredMessage[]>;
  /**
   * Nothing can be done before a message or this time. Resolves with 'go' when there is one (look
   * at messages() and the clock), and with 'rest' when the run shall be let go of.
   * `busy`: steps are under way until it settles. Resolves with 'go' then, at the latest, and never
   * with 'rest' before: messages such as cancel reach a driver whose handlers still run.
   */
  wait(until: number | null, busy?: Promise<unknown>): Promise<'go' | 'rest'>;
  /**
   * Lets go of the run. 'unread': it has messages and does not rest; the draft is stored.
   * Give the draft that leads to `rest.state`.
   */
  rest(rest: RunRest, draft: Draft): Promise<'rested' | 'unread'>;
}

export interface HeldTransaction {
  readonly tx: SqlTransaction;
  commit(draft: Draft): Promise<void>;
  rollback(): Promise<void>;
}

/** What handlers of steps get from the step runner (`steps/step-runner.ts`). */
export interface StepTools {
  readonly runId: string;
  readonly stepName: string;
  /** `<run>:<step>`: the same for every try; give it to services that know idempotency keys. */
  readonly idempotencyKey: string;
  /** 1 for the first try. */
  readonly attempt: number;
  readonly attemptsMax: number;
  /** Aborted by a timeout, by cancel, and when the run is lost. */
  readonly signal: AbortSignal;
  readonly log: JobLog;
  /** Only of a transactional step. Commits with the step's result. */
  readonly tx: SqlTransaction | undefined;
  /** Says that the handler is alive: the timeout begins anew. */
  heartbeat(): void;
  /** Declared domain events; they go out if and when the step's result is stored. */
  publishEvent(name: string, payload: unknown): void;
}

export interface StepCall {
  readonly step: StepRecord;
  readonly attempt: number;
  readonly attemptsMax: number;
  /** 0: no limit. */
  readonly timeoutMs: number;
  readonly transactional: boolean;
  /** Aborted by the driver to end the try: the run was cancelled, or a sibling failed for good. */
  readonly cancel?: AbortSignal | undefined;
  handle(tools: StepTools): unknown;
}

/** What a try came to. Nothing is stored yet: the driver commits, in `transaction` if given. */
export type StepEnding =
  | {
      readonly kind: 'value';
      readonly value: unknown;
      readonly resultJson: string | null;
      readonly events: readonly (readonly [name: string, payload: unknown])[];
      readonly transaction: HeldTransaction | null;
    }
  | {
      readonly kind: 'error';
      readonly thrown: unknown;
      readonly error: JobErrorRecord;
      readonly retryable: boolean;
      /** What the handler asked for (Retry-After); null: by the policy. */
      readonly delayMs: number | null;
      readonly events: readonly (readonly [name: string, payload: unknown])[];
    }
  /** The run was lost or cancelled meanwhile. */
  | { readonly kind: 'aborted' };

/**
 * The workflow port: what the engine asks of a store that keeps runs. Every method says what
 * happens on success, conflict, crash and retry; `workflows.conformance.ts` proves it.
 *
 * Words: a run is one execution; its history is a chain of changes (seq 1, 2, …), one a commit. A
 * run is held by one epoch (of `JobStore.register`): born held by the process that started it, or
 * through a job of its namespace's queue. A run that can only wait rests: nobody holds it. Messages
 * (signals, events, verbs, ends of children and of steps elsewhere) reach a run wherever it is.
 *
 * Invariants every driver keeps: a commit is stored whole or not at all, with the effects of its
 * transaction; link n of a history exists once, so of two holders one is told `fenced`; an epoch
 * that was declared dead commits nothing (LEASE_LOST); a message is delivered once by its id, in
 * the order of its numbers, and never missed by a run that comes to rest meanwhile; a started run
 * is driven until it ends, whatever process dies.
 */
import type { JobErrorRecord } from '../core/error-record.ts';
import type { NewJob } from '../core/job.ts';
import type { SqlTransaction } from '../core/sql-transaction.ts';
import type { EndState, TaskState } from '../core/workflow/states.ts';
import type { RoutedEvent } from './store.ts';
import type { WorkflowQueries } from './workflow-queries.ts';

/** A run as it is started. */
export interface NewRun {
  /** UUIDv7, chosen by the caller. */
  readonly runId: string;
  readonly tenantId: string;
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  /** Of the template that was saved; '' for durable functions. */
  readonly templateHash: string;
  /** At most one run of (tenant, namespace, name) with it, ended or not; null: no matter. */
  readonly identity: string | null;
  /** Fairness and limit key in the queue. */
  readonly key: string;
  readonly priority: number;
  readonly correlationId: string;
  readonly traceparent: string | null;
  /** The step that waits for its end; a message of kind `child` is delivered to it then. */
  readonly parent: { readonly runId: string; readonly step: number } | null;
  readonly inputJson: string;
  /** Tags, requested_by, …: anything that is shown and not read by the engine. */
  readonly metadataJson: string | null;
  /** Where it waits when nobody holds it: `{namespace}_queue`, and the name of its jobs. */
  readonly queue: string;
  readonly jobName: string;
  /** True: the epoch of the call holds it from the start. False: a job is enqueued for it. */
  readonly held: boolean;
  /** Of a run that is not held: when its job becomes due. */
  readonly delayMs: number;
}

export interface RunInfo extends Omit<NewRun, 'held' | 'delayMs'> {
  /** Milliseconds since 1970. */
  readonly startedAt: number;
}

export interface StartResult {
  /** Of the run there is now: the one asked for, or the one that had the identity before. */
  readonly runId: string;
  readonly duplicate: boolean;
}

export type MessageKind = 'signal' | 'event' | 'verb' | 'step' | 'child' | 'approval';

export interface NewMessage {
  readonly runId: string;
  /** The same id again is a duplicate: delivered once. */
  readonly messageId: string;
  readonly kind: MessageKind;
  /** Name of the signal, event type, verb, or number of the step. */
  readonly name: string;
  readonly payloadJson: string;
}

export interface StoredMessage extends NewMessage {
  /** 1, 2, … in each run. */
  readonly no: number;
  readonly sentAt: number;
}

/** `ended`: the run is over, and the message was not stored. */
export type Delivery = 'delivered' | 'duplicate' | 'ended' | 'unknown';

/** An event that a step of a resting or held run waits for. */
export interface EventWait {
  readonly eventType: string;
  /** Null: any key. */
  readonly eventKey: string | null;
  readonly step: number;
}

export interface RunEnd {
  readonly state: EndState;
  readonly resultJson: string | null;
  readonly error: JobErrorRecord | null;
}

export interface RunRest {
  readonly state: TaskState;
  /** Milliseconds since 1970; null: only a message wakes it. */
  readonly wakeAt: number | null;
}

/** One commit of one run. */
export interface RunCommit {
  readonly runId: string;
  readonly tenantId: string;
  /** Of the link that it adds. */
  readonly seq: number;
  /** Of the run afterwards. */
  readonly state: TaskState;
  /** `printChange`. */
  readonly changeJson: string;
  /** Children. Their identity is null. */
  readonly starts?: readonly NewRun[] | undefined;
  /** To other runs. One that has ended or is not known is passed over. */
  readonly messages?: readonly NewMessage[] | undefined;
  /** Steps for other namespaces. */
  readonly jobs?: readonly NewJob[] | undefined;
  /** Appended to the log soon after the commit, by the sequencer. */
  readonly events?: readonly RoutedEvent[] | undefined;
  readonly waits?: readonly EventWait[] | undefined;
  /** Steps that wait for no event any more. */
  readonly unwait?: readonly number[] | undefined;
  /** The run is over. A parent is told in the same commit. */
  readonly end?: RunEnd | undefined;
  /**
   * Nobody holds the run afterwards. With messages beyond `read`, or while somebody delivers one,
   * the change is stored and the run does not rest: the answer is `unread`.
   */
  readonly rest?: (RunRest & { readonly read: number }) | undefined;
}

/** `fenced`: another holder has added this link; nothing of the commit is stored. */
export type CommitOutcome = 'stored' | 'unread' | 'fenced';

export interface CommitRequest {
  readonly epoch: number;
  /** Of different runs, or of one run in the order of seq. Each is stored or fenced by itself. */
  readonly commits: readonly RunCommit[];
  /** The answer to the same request was lost: what is stored already counts as stored by it. */
  readonly again: boolean;
}

export interface CommitResult {
  readonly outcomes: readonly CommitOutcome[];
  /** Queues that got jobs (children, steps elsewhere, runs woken by messages). */
  readonly woken: readonly string[];
}

/** A run as it is stored. */
export interface LoadedRun {
  readonly info: RunInfo;
  /** In the order of seq, from `afterSeq` on. */
  readonly changes: readonly string[];
  /** Beyond the last one that the history has read. */
  readonly messages: readonly StoredMessage[];
  readonly end: (RunEnd & { readonly endedAt: number }) | null;
  readonly rest: RunRest | null;
}

/** A step handler's own transaction, which stores the step's change as it commits. */
export interface RunTransaction {
  readonly tx: SqlTransaction;
  /**
   * Stores and commits. `fenced` and LEASE_LOST: everything is undone. When the connection is lost
   * meanwhile it resolves or throws once the store says what happened.
   */
  commit(commit: RunCommit): Promise<CommitResult>;
  rollback(): Promise<void>;
}

/** An immutable template, by the hash of its text. */
export interface StoredTemplate {
  readonly hash: string;
  readonly namespace: string;
  readonly name: string;
  readonly version: string;
  readonly definitionJson: string;
}

export interface WorkflowStore {
  readonly queries: WorkflowQueries;

  /** Makes templates known; one that is there already is left alone. */
  saveTemplates(templates: readonly StoredTemplate[]): Promise<void>;
  template(hash: string): Promise<StoredTemplate | null>;

  /** The epoch may hold runs from now on: `recover` looks after those it leaves behind. */
  hold(epoch: number): Promise<void>;
  /**
   * Stores runs; resolves after the commit. Runs with `held` need the epoch. A runId or identity
   * that is there already is answered with `duplicate: true` and the run that has it; the rest is
   * stored. With `again` a known runId is the call's own and no duplicate. With `tx` they exist if
   * and when the caller's transaction commits, and none may be held.
   */
  start(
    runs: readonly NewRun[],
    options: { epoch: number | null; again: boolean; tx?: SqlTransaction },
  ): Promise<{ readonly results: readonly StartResult[]; readonly woken: readonly string[] }>;

  /** @throws LEASE_LOST when the epoch was declared dead: nothing is stored. */
  commit(request: CommitRequest): Promise<CommitResult>;
  /** Its statements see one tenant's rows only. */
  begin(epoch: number, tenantId: string): Promise<RunTransaction>;

  load(runId: string, afterSeq?: number): Promise<LoadedRun | null>;
  /** Of a run that is held: messages beyond that number. */
  messages(runId: string, after: number): Promise<readonly StoredMessage[]>;
  /**
   * Stores messages, each for itself, in order. A resting run gets a job and is woken; a held one
   * learns by the notice `run <runId>…` of `Store.notices` and looks (none is sent with `tx`).
   * `verb` messages retry, retry_from, reset and reset_step reopen a run that ended in error or
   * cancelled: its end is taken away and it is woken. What meets a long transaction that delivers
   * to the same run is kept: it counts as delivered, and reaches the run by the next delivery, rest
   * or `wakeDue` after its end.
   */
  deliver(
    messages: readonly NewMessage[],
    options?: { tx?: SqlTransaction },
  ): Promise<{ readonly deliveries: readonly Delivery[]; readonly woken: readonly string[] }>;
  /** Delivers an event to every run that waits for it (tenant, type, key), in the transaction. */
  deliverEvents(
    events: readonly {
      readonly eventId: string;
      readonly tenantId: string;
      readonly eventType: string;
      readonly key: string;
      readonly payloadJson: string;
    }[],
    options: { tx?: SqlTransaction },
  ): Promise<{ readonly delivered: number; readonly woken: readonly string[] }>;

  /**
   * Gives resting runs whose time has come a job each, and delivers messages that were kept. Safe
   * to call from everywhere at once; call it again after `nextDueMs`, and every second or so.
   */
  wakeDue(limit: number): Promise<{
    readonly runs: number;
    readonly nextDueMs: number | null;
    readonly woken: readonly string[];
  }>;
  /** Gives runs held by epochs that are dead a job each, once whoever calls. */
  recover(): Promise<{ readonly runs: number; readonly woken: readonly string[] }>;
  /**
   * Runs that wait in these queues get more urgent by one for each `everyMs` that they have waited,
   * counted from their own priority; a bounded number. Safe to call from everywhere, however often.
   * Returns how many were changed.
   */
  age(options: {
    readonly queues: readonly string[];
    readonly everyMs: number;
    readonly limit: number;
  }): Promise<number>;
  /** Removes ended runs with all that belongs to them, a bounded number. Returns how many. */
  prune(options: { olderThanMs: number; limit: number }): Promise<number>;
}

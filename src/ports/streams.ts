/**
 * Groups, leases and settlements: the part of the store port that lets several workers share the
 * partitions of a stream, each partition of a group with one owner at a time.
 */
import type { StoredEvent } from '../core/event.ts';
import type { FailureRecord } from './failures.ts';
import type { RoutedEvent, SqlTransaction } from './store.ts';

export interface GroupPartition {
  readonly group: string;
  readonly partition: number;
}

/** The newest lease of a partition; `workerId` null when it was handed back. */
export interface Lease extends GroupPartition {
  readonly epoch: number;
  readonly workerId: string | null;
  /** False when the owner has not sent a heartbeat within its time to live. */
  readonly ownerAlive: boolean;
}

/**
 * Where a group stands in a partition, and which keys wait for a retry. A group that has settled
 * nothing stands before the first event that is left of the log.
 */
export interface CursorState {
  readonly seq: number;
  readonly position: number;
  readonly ahead: readonly number[];
  readonly blocked: readonly KeyRef[];
}

export interface KeyRef {
  readonly tenantId: string;
  /** The empty string stands for events without a key: they are ordered per tenant. */
  readonly key: string;
}

/** Everything one batch leads to. Commits as a whole, or not at all. */
export interface Settlement extends GroupPartition {
  readonly epoch: number;
  /** The last seq plus one: link n of the chain can be appended once only. */
  readonly seq: number;
  /** Every offset up to this one is settled. */
  readonly position: number;
  /** Settled offsets beyond `position`, ascending. */
  readonly ahead: readonly number[];
  readonly events: readonly RoutedEvent[];
  readonly failures: readonly FailureRecord[];
  /** Offsets whose retry succeeded. */
  readonly resolved: readonly number[];
}

export interface SettleResult {
  /** The follow-up events as stored, in the order given. */
  readonly appended: readonly StoredEvent[];
  /** Whether each key that the failures or retries touched is blocked now. */
  readonly keys: readonly (KeyRef & { readonly blocked: boolean })[];
}

/** A settlement under way: handlers add effects to it, then it is settled or rolled back. */
export interface SettlementTransaction {
  /** The transaction as a tenant's handler sees it: that tenant's rows only. */
  forTenant(tenantId: string): Promise<SqlTransaction>;
  /** Marks a point to return to, so that one handler's failure leaves its neighbours alone. */
  savepoint(): Promise<{ release(): Promise<void>; rollback(): Promise<void> }>;
  /** Settles and commits. After any error nothing has happened, unless STORE_UNAVAILABLE. */
  settle(settlement: Settlement): Promise<SettleResult>;
  rollback(): Promise<void>;
}

export interface LiveWorker {
  readonly workerId: string;
  readonly groups: readonly string[];
}

export interface StreamStore {
  /** Makes the group known; `from` decides where a new group starts. Safe to repeat. */
  registerGroup(group: GroupRegistration): Promise<void>;
  /** Says that the worker lives and answers with all workers that do. */
  heartbeat(worker: LiveWorker, timeToLiveMs: number): Promise<readonly LiveWorker[]>;
  /** Forgets the worker; its leases become free at once. */
  retire(workerId: string): Promise<void>;
  /** The newest lease of each partition of the groups; partitions never leased are absent. */
  leases(groups: readonly string[], timeToLiveMs: number): Promise<readonly Lease[]>;
  /**
   * Takes a partition with epoch `seenEpoch + 1` (0 when never leased). Answers false when another
   * worker was faster. From the commit on, settlements with an older epoch are refused.
   */
  takeLease(lease: GroupPartition & { seenEpoch: number; workerId: string }): Promise<boolean>;
  /** Hands a partition back, so that another worker need not wait for the time to live. */
  releaseLease(lease: GroupPartition & { epoch: number }): Promise<void>;
  openCursor(at: GroupPartition): Promise<CursorState>;
  /** One transaction for cursor, follow-ups and failures, when handlers added no effects. */
  settle(settlement: Settlement): Promise<SettleResult>;
  /** A transaction for handlers that add effects of their own. */
  begin(): Promise<SettlementTransaction>;
  /** The newest position of each partition of each group. */
  positions(groups: readonly string[]): Promise<readonly (GroupPartition & { position: number })[]>;
  /** Every group that is known, registered or by what it left, in order of names. */
  groups(aliveWithinMs: number): Promise<readonly GroupState[]>;
  /**
   * Forgets a group: registration, positions and failures. Its old leases are void, so what a
   * frozen worker of it brings later is refused. Registered again it is a new group. NOT_FOUND when
   * there is none, GROUP_STATE while a worker of it lives or, without `discardFailures`, while it
   * has failures that are open.
   */
  removeGroup(request: GroupRemoval): Promise<void>;
  /** Removes cursor links and leases that nobody needs, a bounded number. Returns how many. */
  prune(limit: number): Promise<number>;
}

export interface GroupRegistration {
  readonly group: string;
  /** As in `ReadRequest.types`. */
  readonly eventTypes: readonly string[];
  readonly from: 'start' | 'end';
}

/** A group for whoever looks after it. */
export interface GroupState {
  readonly group: string;
  /** Null when it is not registered (any more). */
  readonly eventTypes: readonly string[] | null;
  readonly registeredAt: string | null;
  /** Workers of it that were heard of lately. */
  readonly workers: number;
  /** Failures that are retrying, parked or dead. */
  readonly openFailures: number;
  readonly partitions: readonly {
    readonly partition: number;
    /** Every offset up to this one is settled; 0: it has settled nothing. */
    readonly position: number;
    /** The first offset that it has an open failure of. */
    readonly firstFailure: number | null;
  }[];
}

export interface GroupRemoval {
  readonly group: string;
  /** A worker heard of within so many milliseconds lives. */
  readonly aliveWithinMs: number;
  readonly discardFailures: boolean;
}

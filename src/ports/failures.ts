/**
 * Failures, retries and dead letters of a group: the part of the store port for what is
 * exceptional. An event that failed holds up later events of its key; they wait by reference, in
 * order.
 */
import type { StoredEvent } from '../core/event.ts';
import type { GroupPartition } from './streams.ts';

/** One failed or parked event, as a settlement records it. */
export interface FailureRecord {
  readonly event: StoredEvent;
  readonly status: 'retrying' | 'parked' | 'dead';
  /** Handler calls so far. */
  readonly attempts: number;
  /** Milliseconds until the next attempt; null for parked and dead. */
  readonly delayMs: number | null;
  readonly reason: string | null;
  readonly errorCode: string | null;
  /** The same for failures of the same kind: digits and ids taken out of the reason. */
  readonly fingerprint: string | null;
  readonly detail: string | null;
}

/** An event to handle again: the first of its key, or one that waited behind it. */
export interface Redelivery {
  readonly event: StoredEvent;
  readonly attempts: number;
}

/** The columns of P9-15, and what the verbs need. Times are ISO 8601 UTC. */
export interface DeadLetter {
  readonly eventId: string;
  readonly eventType: string;
  readonly tenantId: string;
  readonly exceptionId: string | null;
  readonly originalTopic: string;
  readonly failureReason: string;
  readonly retryCount: number;
  readonly failedAt: string;
  readonly payload: unknown;
  readonly metadata: unknown;
  readonly group: string;
  readonly partition: number;
  readonly offset: number;
  readonly status: 'pending' | 'retrying' | 'discarded' | 'skipped' | 'succeeded';
  readonly errorCode: string | null;
  readonly fingerprint: string;
  readonly detail: string | null;
  readonly edited: boolean;
  /** Events of the same key that wait behind it. */
  readonly waiting: number;
}

export interface DeadLetterFilter {
  readonly tenantId: string;
  readonly group?: string;
  /** A `*` in it stands for any text. */
  readonly eventType?: string;
  readonly exceptionId?: string;
  readonly fingerprint?: string;
  readonly status?: DeadLetter['status'];
  readonly limit?: number;
  /** Continue after the last letter of the page before; the letter itself will do. */
  readonly after?: Pick<DeadLetter, 'failedAt' | 'eventId' | 'group'>;
}

export interface DeadLetterRef {
  readonly tenantId: string;
  readonly group: string;
  readonly eventId: string;
}

/** What a verb does to a dead letter. */
export type DeadLetterVerb =
  | { readonly verb: 'retry'; readonly payload?: unknown }
  | { readonly verb: 'retry-key' }
  | { readonly verb: 'skip' }
  | { readonly verb: 'discard' };

export interface VerbResult {
  /** Dead letters changed, and parked events that went with them. */
  readonly changed: number;
  readonly partition: number;
}

export interface FailureStore {
  /** Keys whose first event is due now, each with what waits behind it, in order. */
  due(at: GroupPartition, limits: { keys: number; perKey: number }): Promise<readonly Redelivery[]>;
  /** When the next retry is due, in milliseconds from now; null when there is none. */
  nextDueMs(at: GroupPartition): Promise<number | null>;
  list(filter: DeadLetterFilter): Promise<readonly DeadLetter[]>;
  find(ref: DeadLetterRef): Promise<DeadLetter | null>;
  /** Pending dead letters by fingerprint, most frequent first, each with one example. */
  fingerprints(tenantId: string): Promise<readonly FingerprintCount[]>;
  /** Counts per group and status. */
  counts(tenantId: string): Promise<readonly { group: string; status: string; count: number }[]>;
  /**
   * Applies a verb: under the partition's lock of the group, so that it never races with the owner.
   * NOT_FOUND when there is no such letter, DEAD_LETTER_STATE when its status does not allow it.
   */
  apply(ref: DeadLetterRef, verb: DeadLetterVerb): Promise<VerbResult>;
  /**
   * Removes letters of these groups that failed earlier than that, whatever became of them, at most
   * `limit`. What waits behind one that was still pending goes on. Answers with how many went, and
   * with the partitions whose owners should look for retries now.
   */
  expire(request: ExpireRequest): Promise<{
    readonly removed: number;
    readonly partitions: readonly GroupPartition[];
  }>;
}

export interface ExpireRequest {
  readonly groups: readonly string[];
  readonly olderThanMs: number;
  readonly limit: number;
}

export interface FingerprintCount {
  readonly fingerprint: string;
  readonly group: string;
  readonly eventType: string;
  readonly count: number;
  readonly reason: string;
  readonly exampleEventId: string;
}

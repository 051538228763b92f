/**
 * Reading the log as history: by exception, tenant, type, time and correlation, and as a causal
 * tree (P9-4, P9-21). Every question names its tenant and sees that tenant's rows only.
 */
import type { StoredEvent } from '../core/event.ts';

/** Pages go from old to new, or back with `newestFirst`; `next` continues where a page ended. */
export interface EventFilter {
  readonly tenantId: string;
  /** The exception (key) whose events are wanted. */
  readonly key?: string;
  /** A `*` in one stands for any text. */
  readonly eventTypes?: readonly string[];
  readonly correlationId?: string;
  /** ISO 8601; the time of the event, inclusive. */
  readonly from?: string;
  /** ISO 8601; exclusive. */
  readonly to?: string;
  /** 1 to 1,000; 100 by default. */
  readonly limit?: number;
  readonly after?: string;
  readonly newestFirst?: boolean;
}

export interface EventPage {
  readonly events: readonly StoredEvent[];
  /** Pass as `after` for the next page; null on the last one. */
  readonly next: string | null;
}

/** One event of a causal tree; depth 0 is the root. */
export interface CausalNode {
  readonly event: StoredEvent;
  readonly depth: number;
}

export interface HistoryStore {
  list(filter: EventFilter): Promise<EventPage>;
  find(tenantId: string, eventId: string): Promise<StoredEvent | null>;
  /** The whole tree that an event belongs to, parents before children, from one query. */
  causalTree(tenantId: string, eventId: string): Promise<readonly CausalNode[]>;
}

/** One event on its way through a partition stream, and what became of it. */
import type { StoredEvent } from '../../core/event.ts';
import type { FailureRecord } from '../../ports/failures.ts';
import type { RoutedEvent } from '../../ports/store.ts';

export interface Entry {
  readonly event: StoredEvent;
  /** Handler calls before this one. */
  readonly attempts: number;
  /** True when it comes from the failures, not from reading the log. */
  readonly redelivery: boolean;
  done: boolean;
  followUps: readonly RoutedEvent[];
  failure: FailureRecord | null;
}

export const nothing: readonly RoutedEvent[] = Object.freeze([]);

export function createEntry(event: StoredEvent, attempts: number, redelivery: boolean): Entry {
  return { event, attempts, redelivery, done: false, followUps: nothing, failure: null };
}

/** What must stay in order: the key within its tenant; events without a key share one lane. */
export function laneOf(event: { readonly tenantId: string; readonly key: string | null }): string {
  return `${event.tenantId}\u0000${event.key ?? ''}`;
}

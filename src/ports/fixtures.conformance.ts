/** What the conformance cases are given, and the events they work with. */
import type { TestContext } from 'node:test';
import { defineEvent, type EventInput, prepareEvent, type StoredEvent } from '../core/event.ts';
import { partitionFor } from '../core/partition.ts';
import type { StandardSchemaV1 } from '../core/schema.ts';
import type { FailureRecord } from './failures.ts';
import type { RoutedEvent, Store } from './store.ts';
import type { Settlement } from './streams.ts';

export interface CaseContext {
  /** A store that all cases of the suite share; only the names below belong to the case. */
  readonly store: Store;
  /** Another instance on the same data, as a second process would have it. Closed by the suite. */
  another(): Promise<Store>;
  readonly group: string;
  readonly tenant: string;
  readonly t: TestContext;
}

/** Title → test. The titles are what `skip` names. */
export type Cases = Readonly<Record<string, (context: CaseContext) => Promise<void>>>;

const anything: StandardSchemaV1<unknown, unknown> = {
  '~standard': { version: 1, vendor: 'conformance', validate: (value) => ({ value }) },
};
export const Thing = defineEvent('conformance.Thing', { schema: anything });
export const Other = defineEvent('conformance.Other', { schema: anything });

export function routed(
  store: Store,
  input: EventInput & { partition?: number },
  definition = Thing,
): RoutedEvent {
  const { partition, ...rest } = input;
  const prepared = prepareEvent(definition, rest);
  const { tenantId, key } = prepared.event;
  return { ...prepared, partition: partition ?? partitionFor(tenantId, key, store.partitions) };
}

/** `count` events of one tenant and key, numbered from 0 in the payload. */
export function numbered(store: Store, tenantId: string, key: string, count: number) {
  return Array.from({ length: count }, (_, n) => routed(store, { tenantId, key, payload: { n } }));
}

/** Appends and answers with the events as stored. */
export async function appended(store: Store, events: readonly RoutedEvent[]) {
  const positions = await store.log.append(events, { once: false });
  return events.map(({ event }, i): StoredEvent => {
    const { partition, offset } = positions[i] as { partition: number; offset: number };
    return { ...event, partition, offset };
  });
}

/** Everything of a partition after an offset, read in pages as a stream reads. */
export async function readAll(
  store: Store,
  request: { partition: number; after?: number; limit?: number; types?: readonly string[] | null },
): Promise<StoredEvent[]> {
  const { partition, limit = 100, types = null } = request;
  const events: StoredEvent[] = [];
  for (let after = request.after ?? 0; ; ) {
    const page = await store.log.read({ partition, after, limit, types });
    events.push(...page.events);
    after = page.scannedTo;
    if (page.atHead) return events;
  }
}

/** The next link of the cursor chain, with nothing in it unless said. */
export function settlement(
  at: { group: string; partition: number },
  link: Partial<Settlement> & { seq: number; position: number },
): Settlement {
  return { epoch: 1, ahead: [], events: [], failures: [], resolved: [], ...at, ...link };
}

export function failure(
  event: StoredEvent,
  status: FailureRecord['status'],
  rest: Partial<FailureRecord> = {},
): FailureRecord {
  const parked = status === 'parked';
  return {
    event,
    status,
    attempts: parked ? 0 : 1,
    delayMs: status === 'retrying' ? 0 : null,
    reason: parked ? null : 'it broke',
    errorCode: parked ? null : 'BROKEN',
    fingerprint: parked ? null : 'broken',
    detail: null,
    ...rest,
  };
}

/** A group with an epoch-1 lease on the partition of (tenant, key), and some events there. */
export async function claimed(
  { store, group, tenant }: CaseContext,
  { key = 'k', count = 0, eventTypes = [Thing.type] } = {},
) {
  const partition = partitionFor(tenant, key, store.partitions);
  await store.streams.registerGroup({ group, eventTypes, from: 'start' });
  const taken = await store.streams.takeLease({
    group,
    partition,
    seenEpoch: 0,
    workerId: crypto.randomUUID(),
  });
  if (!taken) throw new Error(`${group}/${partition} is leased already`);
  const events = await appended(store, numbered(store, tenant, key, count));
  return { at: { group, partition }, events };
}

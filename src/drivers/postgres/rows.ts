/**
 * Rows to events. One column list for every statement that reads events, so that the mapping is
 * written once. Times travel as epoch milliseconds: cheaper to print and to parse than text.
 */

import type { StoredEvent } from '../../core/event.ts';
import { type JsonValue, parseStored } from '../../core/json.ts';

/** The select list that `toStoredEvent` expects, in array row mode. */
export const eventColumnList = `e."partition", e."offset", e.event_id, e.event_type, e.version,
  e.tenant_id, e.key, (extract(epoch from e.occurred_at) * 1000)::float8, e.correlation_id,
  e.causation_id, e.payload, e.metadata`;

export type EventRow = [
  partition: number,
  offset: number,
  eventId: string,
  eventType: string,
  version: number,
  tenantId: string,
  key: string | null,
  timeMs: number,
  correlationId: string | null,
  causationId: string | null,
  payload: string,
  metadata: string | null,
];

const noMetadata: Readonly<Record<string, JsonValue>> = Object.freeze({});

export function toStoredEvent(row: EventRow): StoredEvent {
  const [partition, offset, eventId, eventType, version, tenantId, key, timeMs] = row;
  const metadata = row[11];
  return Object.freeze({
    eventId,
    eventType,
    version,
    tenantId,
    key,
    timestamp: new Date(Math.round(timeMs)).toISOString(),
    correlationId: row[8] ?? key ?? eventId,
    causationId: row[9],
    payload: parseStored(row[10]) as StoredEvent['payload'],
    metadata:
      metadata === null
        ? noMetadata
        : (parseStored(metadata) as Readonly<Record<string, JsonValue>>),
    partition,
    offset,
  });
}

/**
 * From a message to the event of the log that it carries: who it is from, whether it may be here,
 * and the event as the log would give it.
 */
import type { ReceivedEvent } from '../core/cloud-event.ts';
import type { StoredEvent } from '../core/event.ts';
import { isUuid } from '../core/ids.ts';
import { parseStored } from '../core/json.ts';
import type { Delivery } from '../ports/broker.ts';
import { checkTenant, type TenantFault } from './tenants.ts';
import type { TopicNames } from './topics.ts';

/** Why a message is not taken. */
export type FaultReason = TenantFault | 'unreadable' | 'place-invalid' | 'event-invalid';

export interface Fault {
  readonly reason: FaultReason;
  /** A sentence for people. */
  readonly message: string;
}

export interface OwnLog {
  readonly logId: string;
  readonly partitions: number;
  readonly topics: TopicNames;
}

export type Judged =
  | { readonly event: ReceivedEvent; readonly offset: number; readonly fault: null }
  | { readonly fault: Fault };

/** Whether a delivery is an event of this log, at its place. */
export function judge(delivery: Delivery, log: OwnLog): Judged {
  const { event } = delivery;
  if (event === null) return refused('unreadable', `It cannot be read: ${delivery.problem}.`);
  const { place } = event;
  if (place === null) return refused('place-invalid', 'It is of no log: it has no logplace.');
  if (place.logId !== log.logId) {
    return refused('place-invalid', `It is of log ${place.logId}; this one is ${log.logId}.`);
  }
  const misplaced = checkTenant(event, delivery, log);
  if (misplaced !== null) return { fault: misplaced };
  if (place.partition !== delivery.partition || place.offset < 1) {
    return refused(
      'place-invalid',
      `Its place is ${place.partition}/${place.offset}, but it lies in ${delivery.partition}.`,
    );
  }
  if (!isUuid(event.id)) return refused('event-invalid', `Its id ${event.id} is no UUID.`);
  return { event, offset: place.offset, fault: null };
}

function refused(reason: FaultReason, message: string): Judged {
  return { fault: { reason, message } };
}

/** Null when its payload is no JSON: then the log has the better copy. */
export function toStored(
  received: ReceivedEvent,
  partition: number,
  offset: number,
): StoredEvent | null {
  const { id, type, version, tenantId, key, timestamp, correlationId, causationId } = received;
  let payload: StoredEvent['payload'];
  try {
    payload = parseStored(received.dataJson) as StoredEvent['payload'];
  } catch {
    return null;
  }
  return Object.freeze({
    eventId: id,
    eventType: type,
    version,
    tenantId: tenantId as string,
    key,
    timestamp,
    correlationId: correlationId ?? key ?? id,
    causationId,
    payload,
    metadata: received.metadata,
    partition,
    offset,
  });
}

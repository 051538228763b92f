/** Events of the log as a member of a group gets them. */
import type { StoredEvent } from '../../../core/event.ts';
import { partitionKey } from '../../../core/partition.ts';
import type { Delivery } from '../../../ports/broker.ts';

export function toDelivery(
  stored: StoredEvent,
  { topic, source, logId }: { topic: string; source: string; logId: string },
): Delivery {
  const { partition, offset } = stored;
  return {
    topic,
    partition,
    position: String(offset),
    event: {
      id: stored.eventId,
      source,
      type: stored.eventType,
      version: stored.version,
      tenantId: stored.tenantId,
      key: stored.key,
      partitionKey: partitionKey(stored.tenantId, stored.key),
      timestamp: stored.timestamp,
      correlationId: stored.correlationId,
      causationId: stored.causationId,
      dataJson: JSON.stringify(stored.payload),
      metadata: stored.metadata,
      place: { logId, partition, offset },
    },
    problem: null,
    raw: null,
    redelivered: false,
  };
}

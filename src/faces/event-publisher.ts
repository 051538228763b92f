/**
 * `EventPublisherService` (P9-2) and `getPartitionKey` (P9-13): publishing by the names of the
 * requirement, thin on `mill.publish`. In the requirement's spelling `publishEvent` is
 * `publish_event(topic, event_data, partition_key=None)`.
 *
 * Invariant: an event is durable in the log before anything reaches a broker, and the promise
 * resolves no sooner. The relay publishes it from there, again and again until it is acknowledged.
 */
import { isTopicName, routesGroup, topicMember, topicRoutes } from '../brokers/routes.ts';
import { type TopicNames, topicNames } from '../brokers/topics.ts';
import { MillraceError } from '../core/errors.ts';
import type { StoredEvent } from '../core/event.ts';
import type { JsonValue } from '../core/json.ts';
import { partitionKey } from '../core/partition.ts';
import type { AnyDefinition } from '../events/stream/subscription.ts';
import type { Millrace } from '../millrace.ts';
import type { RoutedEvent } from '../ports/store.ts';

/**
 * What events are partitioned by: the tenant and the exception, or the tenant alone. Events of one
 * partition key are handled one after the other, in the order in which they became durable; no
 * order holds between different keys. docs/brokers.md says where the limits are.
 */
export function getPartitionKey(tenantId: string, exceptionId?: string | null): string {
  return partitionKey(tenantId, exceptionId ?? null);
}

/** The canonical event of P9-3; each member may also be written as there, such as `event_type`. */
export interface EventData {
  readonly eventType: string;
  readonly tenantId: string;
  readonly payload: unknown;
  readonly exceptionId?: string | null | undefined;
  /** A UUID; the same event published twice is stored once. */
  readonly eventId?: string | undefined;
  readonly timestamp?: string | number | Date | undefined;
  readonly correlationId?: string | undefined;
  readonly metadata?: Readonly<Record<string, JsonValue>> | undefined;
}

export interface SnakeCaseEventData {
  readonly event_type: string;
  readonly tenant_id: string;
  readonly payload: unknown;
  readonly exception_id?: string | null | undefined;
  readonly event_id?: string | undefined;
  readonly timestamp?: string | number | Date | undefined;
  readonly correlation_id?: string | undefined;
  readonly metadata?: Readonly<Record<string, JsonValue>> | undefined;
}

export interface PublishedEvent {
  readonly eventId: string;
  readonly topic: string;
  readonly partitionKey: string;
  /** Where it stands in the log. */
  readonly partition: number;
  readonly offset: number;
  /** It was there before. */
  readonly duplicate: boolean;
}

export interface EventPublisherOptions {
  /** Beside those that the instance knows. */
  readonly events?: readonly AnyDefinition[];
}

/** Where an event with its exception id stands when it is ordered by its tenant alone. */
const exceptionMember = 'exceptionId';

export class EventPublisherService {
  readonly #mill: Millrace;
  readonly #names: TopicNames;
  readonly #definitions: ReadonlyMap<string, AnyDefinition>;

  /**
   * Subscribes a group that brings copies to topics of their own, when there is a broker; it works
   * in processes that were started and have such a service.
   */
  constructor(mill: Millrace, { events = [] }: EventPublisherOptions = {}) {
    this.#mill = mill;
    this.#definitions = new Map(events.map((event) => [event.type, event]));
    const link = mill.broker;
    this.#names = link?.topics ?? topicNames();
    const routed = mill.subscriptions.some(({ name }) => name === routesGroup);
    if (link === null || routed) return;
    const { store } = mill;
    const { broker, topics } = link;
    const { logId, partitions } = store;
    mill.subscribe(topicRoutes({ broker, topics, logId, partitions }));
  }

  /**
   * Stores the event and resolves; the broker gets it afterwards, at least once, in order.
   * @param topic the main topic (`broker.topic`; `millrace.events` by default), or another one that
   * gets a copy beside it.
   * @param key `getPartitionKey(tenantId, exceptionId)`, or of the tenant alone, to have all its
   * events in one order; by default the first where there is an exception id.
   * @throws MillraceError EVENT_INVALID, EVENT_UNKNOWN, EVENT_TOO_LARGE, PAYLOAD_NOT_JSON,
   * STORE_UNAVAILABLE after half a minute of trying
   */
  async publishEvent(
    topic: string,
    eventData: EventData | SnakeCaseEventData,
    key?: string | null,
  ): Promise<PublishedEvent> {
    const [published] = await this.publishEvents(topic, [eventData], key);
    return published as PublishedEvent;
  }

  /** Many at once: all are checked before the first is stored, and stored in order per key. */
  async publishEvents(
    topic: string,
    events: readonly (EventData | SnakeCaseEventData)[],
    key?: string | null,
  ): Promise<readonly PublishedEvent[]> {
    if (!isTopicName(topic)) {
      throw new MillraceError('EVENT_INVALID', `The topic '${topic}' is no name.`, {
        fix: 'Use up to 249 letters, digits, dots, _ or -.',
      });
    }
    this.#mill.broker?.checkRoom();
    const routed = events.map((event) => this.#route(topic, camelCase(event), key ?? null));
    const { publisher } = this.#mill;
    const published = await Promise.all(routed.map((event) => publisher.append(event)));
    return published.map((place, i) => {
      const { tenantId, key: ordered } = (routed[i] as RoutedEvent).event;
      return { ...place, topic, partitionKey: partitionKey(tenantId, ordered) };
    });
  }

  /** What was published of a tenant, or of one exception, newest first: the audit trail. */
  async auditTrail(
    tenantId: string,
    exceptionId?: string,
  ): Promise<readonly (PublishedEvent & { readonly event: StoredEvent })[]> {
    const { events } = await this.#mill.history.list({
      tenantId,
      ...(exceptionId !== undefined && { key: exceptionId }),
      newestFirst: true,
    });
    return events.map((event) => {
      const { eventId, key, partition, offset, metadata } = event;
      const named = metadata[topicMember];
      return {
        ...{ eventId, partition, offset, event, duplicate: false },
        topic: isTopicName(named) ? named : this.#names.topicOf(tenantId),
        partitionKey: partitionKey(tenantId, key),
      };
    });
  }

  #route(topic: string, data: EventData, key: string | null): RoutedEvent {
    const { eventType, tenantId, exceptionId = null, payload, metadata, ...rest } = data;
    const definition = this.#definitions.get(eventType) ?? this.#mill.definitionOf(eventType);
    if (definition === undefined) {
      throw new MillraceError('EVENT_UNKNOWN', `The event type ${eventType} is not defined here.`, {
        details: { eventType },
      });
    }
    const ordered = orderedBy(tenantId, exceptionId, key);
    const ofTenant = exceptionId !== null && ordered === null;
    const main = topic === this.#names.topicOf(tenantId);
    return this.#mill.publisher.route(definition, {
      ...rest,
      tenantId,
      payload,
      ...(ordered !== undefined && { key: ordered }),
      metadata: {
        ...metadata,
        ...(ofTenant && { [exceptionMember]: exceptionId }),
        ...(!main && { [topicMember]: topic }),
      },
    });
  }
}

/** Undefined: the definition finds a key in the payload. */
function orderedBy(
  tenantId: string,
  exceptionId: string | null,
  key: string | null,
): string | null | undefined {
  if (key === null) return exceptionId ?? undefined;
  if (key === partitionKey(tenantId, null)) return null;
  if (exceptionId !== null && key === partitionKey(tenantId, exceptionId)) return exceptionId;
  if (exceptionId === null && key.startsWith(`${tenantId}:`)) return key.slice(tenantId.length + 1);
  throw new MillraceError('EVENT_INVALID', `The partition key '${key}' is not this event's.`, {
    fix: 'Use getPartitionKey(tenantId, exceptionId), getPartitionKey(tenantId), or leave it out.',
  });
}

function camelCase(data: EventData | SnakeCaseEventData): EventData {
  if (!('event_type' in data)) return data;
  const { event_type, tenant_id, exception_id, event_id, correlation_id, ...rest } = data;
  return {
    ...rest,
    eventType: event_type,
    tenantId: tenant_id,
    exceptionId: exception_id,
    eventId: event_id,
    correlationId: correlation_id,
  };
}

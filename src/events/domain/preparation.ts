/**
 * From what somebody publishes to what the log stores and subscribers get, and back. The log's
 * event has the payload as its payload and the metadata of the domain event as its metadata, but
 * for what its own columns say: time and correlation.
 */
import type { Event } from '../../core/event.ts';
import type { DeepReadonly, JsonValue } from '../../core/json.ts';
import type { DomainEvent, DomainEventMetadata } from '../../core/workflow/domain-event.ts';
import type { RoutedEvent } from '../../ports/store.ts';
import type { Publisher } from '../publisher.ts';
import type { DeclaredEvent } from './event-registry.ts';

/** Who publishes, and on whose behalf. */
export interface EventSource {
  readonly tenantId: string;
  /** Events of one tenant and key are handled in order. */
  readonly key: string | null;
  readonly taskUuid: string | null;
  readonly stepUuid: string | null;
  readonly stepName: string | null;
  /** Undefined: the key, else the event's own id. */
  readonly correlationId: string | undefined;
  readonly firedBy: string;
  readonly traceparent: string | null;
  readonly more?: Readonly<Record<string, JsonValue>> | undefined;
  readonly eventId?: string | undefined;
  readonly causationId?: string | undefined;
}

export interface PreparedDomainEvent {
  readonly routed: RoutedEvent;
  readonly event: DomainEvent;
}

/** @throws MillraceError EVENT_INVALID naming the path, EVENT_TOO_LARGE, PAYLOAD_NOT_JSON */
export function prepareDomainEvent(
  publisher: Pick<Publisher, 'route'>,
  declared: DeclaredEvent,
  source: EventSource,
  payload: unknown,
): PreparedDomainEvent {
  const routed = publisher.route(declared.definition, inputOf(declared, source, payload));
  return { routed, event: toDomainEvent(routed.event) };
}

/** What the log is given. */
export function inputOf(declared: DeclaredEvent, source: EventSource, payload: unknown) {
  const { tenantId, key, correlationId, eventId, causationId } = source;
  return {
    tenantId,
    key,
    payload,
    metadata: {
      ...source.more,
      task_uuid: source.taskUuid,
      step_uuid: source.stepUuid,
      step_name: source.stepName,
      namespace: declared.namespace,
      fired_by: source.firedBy,
      event_version: declared.version,
      ...(source.traceparent !== null && { traceparent: source.traceparent }),
    },
    ...(correlationId !== undefined && { correlationId }),
    ...(eventId !== undefined && { eventId }),
    ...(causationId !== undefined && { causationId }),
  };
}

/** An event of the log whose type says that it is a domain event, as subscribers get it. */
export function toDomainEvent(event: Event): DomainEvent {
  const { event_version, traceparent, ...rest } = event.metadata;
  const { task_uuid, step_uuid, step_name, namespace, fired_by, ...more } = rest;
  const text = (value: JsonValue | undefined) => (typeof value === 'string' ? value : null);
  const space = text(namespace) ?? (event.eventType.split('.')[1] as string);
  const metadata: DomainEventMetadata = Object.freeze({
    task_uuid: text(task_uuid),
    step_uuid: text(step_uuid),
    step_name: text(step_name),
    namespace: space,
    correlation_id: event.correlationId,
    fired_at: event.timestamp,
    fired_by: text(fired_by) ?? 'unknown',
    ...withoutOwn(more),
  });
  return Object.freeze({
    name: event.eventType.slice(`domain.${space}.`.length),
    payload: event.payload as DeepReadonly<unknown>,
    metadata,
    event_id: event.eventId,
    event_version: text(event_version) ?? '1.0.0',
    tenant_id: event.tenantId,
    traceparent: text(traceparent),
  });
}

/** What a publisher added cannot replace what every event has. */
function withoutOwn(more: Readonly<Record<string, JsonValue>>): Record<string, JsonValue> {
  const { correlation_id: _, fired_at: __, ...others } = more;
  return others;
}

/** What handlers take in order: the key within its tenant; without one every event by itself. */
export function laneOf({ tenantId, key, eventId }: Event): string {
  return `${tenantId}\u0000${key ?? eventId}`;
}

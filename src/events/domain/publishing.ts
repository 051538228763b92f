/** What a developer says to publish a domain event from outside of steps, and what comes back. */
import type { JsonValue } from '../../core/json.ts';
import type { DeliveryMode, DomainEvent } from '../../core/workflow/domain-event.ts';
import type { DeadLetter, DeadLetterFilter } from '../../ports/failures.ts';
import type { EventFilter } from '../../ports/history.ts';

export interface DomainPublishOptions<Tx> {
  readonly tenantId: string;
  /** The namespace that declares the event; needed when several do. */
  readonly namespace?: string | undefined;
  /** Default: as declared. */
  readonly delivery?: DeliveryMode | undefined;
  /**
   * Events of one tenant and key are handled in order. Default: taskUuid, else correlationId, else
   * none: the event waits for no other.
   */
  readonly key?: string | undefined;
  readonly taskUuid?: string | undefined;
  /** Default: the key, else the event id. */
  readonly correlationId?: string | undefined;
  /** Default: the id of this worker. */
  readonly firedBy?: string | undefined;
  readonly traceparent?: string | undefined;
  /** Beside the metadata that every event has. */
  readonly metadata?: Readonly<Record<string, JsonValue>> | undefined;
  /** A UUID of the caller's own, to publish the same event twice and store it once. */
  readonly eventId?: string | undefined;
  /** A transaction of the caller's: the event goes out through the log if and when it commits. */
  readonly tx?: Tx | undefined;
}

export interface PublishedDomainEvent {
  readonly eventId: string;
  readonly delivery: DeliveryMode;
  /** Its place in the log; null for events that are not there, or not yet. */
  readonly partition: number | null;
  readonly offset: number | null;
}

export interface DomainEventPage {
  readonly events: readonly DomainEvent[];
  /** Pass as `after` for the next page; null on the last one. */
  readonly next: string | null;
}

export interface DomainStream {
  /** `{namespace}_domain_events` */
  readonly name: string;
  /** What was published durably, from old to new unless said. */
  events(filter: Omit<EventFilter, 'eventTypes'>): Promise<DomainEventPage>;
  /** `{namespace}_domain_events_dlq` */
  readonly deadLettersName: string;
  /** Newest first. The verbs are those of `mill.deadLetters`. */
  deadLetters(filter: Omit<DeadLetterFilter, 'eventType'>): Promise<readonly DeadLetter[]>;
}

/**
 * The subscriptions of one process: those that hear what is published here, and those that are
 * groups of the log.
 */
import { MillraceError } from '../../core/errors.ts';
import type { StoredEvent } from '../../core/event.ts';
import type { DeliveryMode, DomainEvent } from '../../core/workflow/domain-event.ts';
import type { Publisher } from '../publisher.ts';
import type { HandlerContext } from '../stream/context.ts';
import type { Subscription } from '../stream/subscription.ts';
import { durableSubscription, type FollowUp, type FollowUpRequest } from './durable-delivery.ts';
import type { EventRegistry } from './event-registry.ts';
import { LocalDelivery } from './local-delivery.ts';
import type { DomainEventCounters } from './metrics.ts';
import { isDomainType, type NamePattern } from './name-pattern.ts';
import type { DomainEventSettings } from './options.ts';
import {
  type EventSource,
  inputOf,
  laneOf,
  type PreparedDomainEvent,
  prepareDomainEvent,
  toDomainEvent,
} from './preparation.ts';
import type { CheckedSubscription, DomainSubscription } from './subscribing.ts';

export interface EventSubscriptionsParts {
  readonly settings: DomainEventSettings;
  readonly workerId: string;
  readonly graceMs: number;
  readonly registry: EventRegistry;
  readonly counters: DomainEventCounters;
  readonly publisher: Pick<Publisher, 'route'>;
  /** Adds a group to the streams. Resolves when it works, if the process was started. */
  join(subscription: Subscription): Promise<void>;
  leave(group: string): Promise<void>;
  /** Soon there will be a dead letter that nobody wants to keep. */
  onUnwantedLetter(): void;
  onError(error: unknown, where: string): void;
}

export class EventSubscriptions {
  readonly #parts: EventSubscriptionsParts;
  readonly #local = new Set<LocalDelivery>();
  readonly #durable = new Map<string, NamePattern>();

  constructor(parts: EventSubscriptionsParts) {
    this.#parts = parts;
  }

  /** Groups of the log. */
  get groups(): readonly string[] {
    return [...this.#durable.keys()];
  }

  /** @throws MillraceError DEFINITION_INVALID */
  add(checked: CheckedSubscription): DomainSubscription {
    this.#refuseDeaf(checked);
    if (checked.delivery === 'fire_and_forget') return this.#subscribeHere(checked);
    return this.#subscribeToLog(checked, checked.delivery);
  }

  /** Gives an event to the subscriptions of this process; never rejects. */
  handOut(prepared: PreparedDomainEvent, delivery: DeliveryMode): Promise<void> {
    return this.#offer(prepared.event, laneOf(prepared.routed.event), delivery);
  }

  /** Follow-ups became durable in this process. */
  heard(events: readonly StoredEvent[]): void {
    if (this.#local.size === 0) return;
    for (const stored of events) {
      if (!isDomainType(stored.eventType)) continue;
      const known = this.#parts.registry.findByType(stored.eventType);
      const delivery = known?.declaration.delivery ?? 'durable';
      void this.#offer(toDomainEvent(stored), laneOf(stored), delivery);
    }
  }

  /** Of those in this process: takes nothing more, and lets handlers finish. */
  async stop(): Promise<void> {
    await Promise.all([...this.#local].map((local) => local.stop(this.#parts.graceMs)));
    this.#local.clear();
  }

  async #offer(event: DomainEvent, lane: string, delivery: DeliveryMode): Promise<void> {
    if (this.#local.size === 0) return;
    await Promise.all([...this.#local].map((local) => local.offer(event, lane, delivery)));
  }

  #subscribeHere(checked: CheckedSubscription): DomainSubscription {
    const { pattern, namespace, tenantId, concurrency, timeoutMs, handle } = checked;
    const { bufferSize, overflow, enabled } = this.#parts.settings;
    const { graceMs, onError } = this.#parts;
    const local = new LocalDelivery({
      concurrency,
      bufferSize,
      overflow,
      timeoutMs,
      counters: this.#parts.counters,
      wants: (event) =>
        (tenantId === null || event.tenant_id === tenantId) &&
        (namespace === null || event.metadata.namespace === namespace) &&
        pattern.matches(event.name),
      handle,
      onError: (error) => onError(error, `domain events: subscription to ${pattern.text}`),
    });
    if (enabled) this.#local.add(local);
    return {
      pattern: pattern.text,
      delivery: 'fire_and_forget',
      group: null,
      ready: Promise.resolve(),
      stop: async () => {
        await local.stop(graceMs);
        this.#local.delete(local);
      },
    };
  }

  #subscribeToLog(
    checked: CheckedSubscription,
    delivery: 'durable' | 'acknowledged',
  ): DomainSubscription {
    const { pattern, group } = checked;
    const { dlqEnabled, enabled } = this.#parts.settings;
    const { join, leave, onError } = this.#parts;
    const report = (error: unknown) => onError(error, `domain events: group ${group}`);
    const subscription = durableSubscription({
      ...checked,
      delivery,
      dlqEnabled,
      counters: this.#parts.counters,
      followUp: (cause, context, request) => this.#followUp(cause, context, request),
      onUnwantedLetter: this.#parts.onUnwantedLetter,
      onError: report,
    });
    const ready = enabled ? join(subscription as unknown as Subscription) : Promise.resolve();
    ready.catch(report);
    if (enabled) this.#durable.set(group, pattern);
    return {
      pattern: pattern.text,
      delivery,
      group,
      ready,
      stop: async () => {
        if (!this.#durable.delete(group)) return;
        await ready.catch(() => {});
        await leave(group);
      },
    };
  }

  #followUp(cause: DomainEvent, context: HandlerContext, request: FollowUpRequest): FollowUp {
    const { name, payload, key, metadata } = request;
    const declared = this.#parts.registry.resolve(
      name,
      request.namespace,
      cause.metadata.namespace,
    );
    const { delivery } = declared.declaration;
    const source: EventSource = {
      tenantId: cause.tenant_id,
      key: key === undefined ? context.event.key : key,
      taskUuid: cause.metadata.task_uuid,
      stepUuid: null,
      stepName: null,
      correlationId: cause.metadata.correlation_id,
      firedBy: this.#parts.workerId,
      traceparent: cause.traceparent,
      more: metadata,
    };
    const count = () => this.#parts.counters.add('published', delivery);
    if (delivery !== 'fire_and_forget') {
      const input = inputOf(declared, source, payload);
      return { eventId: context.publish(declared.definition, input), after: count };
    }
    const caused = { ...source, causationId: cause.event_id };
    const prepared = prepareDomainEvent(this.#parts.publisher, declared, caused, payload);
    const after = () => {
      count();
      void this.handOut(prepared, delivery);
    };
    return { eventId: prepared.event.event_id, after };
  }

  /** A subscription through the log would wait for ever for events that never get there. */
  #refuseDeaf({ pattern, delivery, namespace }: CheckedSubscription): void {
    if (delivery === 'fire_and_forget' || !pattern.exact) return;
    const declared = this.#parts.registry.find(pattern.text, namespace);
    if (declared?.declaration.delivery !== 'fire_and_forget') return;
    throw new MillraceError(
      'DEFINITION_INVALID',
      `${pattern.text} is declared fire_and_forget: a ${delivery} subscription never gets it.`,
      { fix: 'Declare the event durable, acknowledged or broadcast, or subscribe in-process.' },
    );
  }
}

/**
 * Domain events for developers: `mill.events`. Declares, publishes and subscribes; what steps
 * publish comes through `steps`, which the drivers of workflows ask as a step ends.
 *
 *   publish ──┬─ durable, acknowledged, broadcast ──> the log ──> groups (durable, acknowledged)
 *             └─ every mode ──> subscribers of this process (fire_and_forget)
 */
import { MillraceError } from '../../core/errors.ts';
import type { EventDefinition, StoredEvent } from '../../core/event.ts';
import { newEventId } from '../../core/ids.ts';
import type { DeliveryMode, StepOutcome } from '../../core/workflow/domain-event.ts';
import type { FailureStore } from '../../ports/failures.ts';
import type { HistoryStore } from '../../ports/history.ts';
import type { SqlTransaction, StagingStore } from '../../ports/store.ts';
import type { DeadLetters } from '../dead-letters.ts';
import type { Publisher } from '../publisher.ts';
import type { Subscription } from '../stream/subscription.ts';
import { type EventPublisher, EventPublishers } from './custom-publisher.ts';
import { DeadLetterSweeper } from './dead-letter-sweeper.ts';
import type { DomainEventOf, PayloadOf } from './event-map.ts';
import {
  type DeclarationInput,
  type DeclaringWorkflow,
  deadLetterName,
  type EventDescription,
  EventRegistry,
  streamName,
} from './event-registry.ts';
import { DomainEventCounters, type DomainEventMetrics, type ReportHandled } from './metrics.ts';
import { type DomainEventSettings, type DomainEventsOptions, readSettings } from './options.ts';
import type { CompileSchema } from './payload-schema.ts';
import {
  type EventSource,
  type PreparedDomainEvent,
  prepareDomainEvent,
  toDomainEvent,
} from './preparation.ts';
import type { DomainPublishOptions, DomainStream, PublishedDomainEvent } from './publishing.ts';
import { type EventOrigin, type PreparedDomainEvents, StepEvents } from './step-events.ts';
import {
  checkSubscription,
  type DomainSubscription,
  type SubscribeOptions,
  type SubscriptionDelivery,
  type SubscriptionHandler,
} from './subscribing.ts';
import { EventSubscriptions } from './subscriptions.ts';

export interface DomainEventsParts<Tx> {
  readonly options: DomainEventsOptions | undefined;
  readonly workerId: string;
  readonly graceMs: number;
  readonly publisher: Publisher;
  readonly staging: StagingStore;
  readonly failures: FailureStore;
  readonly history: HistoryStore;
  readonly deadLetters: () => DeadLetters;
  readonly compile: CompileSchema;
  toTransaction(tx: Tx): SqlTransaction;
  /** Something was staged in a caller's transaction. */
  onStaged(): void;
  /** Adds a group to the streams. Resolves when it works, if the process was started. */
  join(subscription: Subscription): Promise<void>;
  leave(group: string): Promise<void>;
  /** Letters went: the owner of the partition should look. */
  onLettersChanged(group: string, partition: number): void;
  onError(error: unknown, where: string): void;
}

export class DomainEvents<Tx = SqlTransaction> {
  readonly registry: EventRegistry;
  /** What steps publish as they end: for the drivers of workflows. */
  readonly steps: StepEvents;
  readonly #parts: DomainEventsParts<Tx>;
  readonly #settings: DomainEventSettings;
  readonly #publishers = new EventPublishers();
  readonly #counters: DomainEventCounters;
  readonly #sweeper: DeadLetterSweeper;
  readonly #subscriptions: EventSubscriptions;

  constructor(parts: DomainEventsParts<Tx>) {
    this.#parts = parts;
    this.#settings = readSettings(parts.options);
    const { buckets, measures, defaultDelivery, enabled, dlqRetentionMs, dlqEnabled } =
      this.#settings;
    this.#counters = new DomainEventCounters(buckets, measures);
    this.registry = new EventRegistry(parts.compile, defaultDelivery);
    const onError = (error: unknown, where: string) => parts.onError(error, where);
    this.steps = new StepEvents({
      registry: this.registry,
      publishers: this.#publishers,
      counters: this.#counters,
      publisher: parts.publisher,
      enabled,
      defaultDelivery,
      handOut: (prepared, delivery) => this.#subscriptions.handOut(prepared, delivery),
      onError,
    });
    this.#subscriptions = new EventSubscriptions({
      settings: this.#settings,
      workerId: parts.workerId,
      graceMs: parts.graceMs,
      registry: this.registry,
      counters: this.#counters,
      publisher: parts.publisher,
      join: parts.join,
      leave: parts.leave,
      onUnwantedLetter: () => this.#sweeper.sweepSoon(),
      onError,
    });
    this.#sweeper = new DeadLetterSweeper({
      failures: parts.failures,
      retentionMs: dlqEnabled ? dlqRetentionMs : 0,
      groups: () => this.#subscriptions.groups,
      onRemoved: parts.onLettersChanged,
      onError,
    });
  }

  /**
   * Makes events known, all or none; the same ones again change nothing.
   * @param namespace of the workflows that publish them; names their durable stream.
   * @throws MillraceError DEFINITION_INVALID for a bad name or schema, or one that contradicts an
   * earlier declaration.
   */
  declare(
    namespace: string,
    declarations: readonly DeclarationInput[],
    workflow: DeclaringWorkflow | null = null,
  ): void {
    this.registry.declare(namespace, declarations, workflow);
  }

  /** Every event that is declared, by name. */
  list(): readonly EventDescription[] {
    return this.registry.names().flatMap((name) => this.registry.describe(name) ?? []);
  }

  describe(name: string): EventDescription | undefined {
    return this.registry.describe(name);
  }

  /** For declarations that name it. @throws MillraceError DEFINITION_INVALID */
  registerPublisher(publisher: EventPublisher): void {
    this.#publishers.register(publisher);
  }

  /**
   * Publishes from anywhere. Resolves when the event is durable, or has its place in the buffers.
   * With `tx` it is staged: it goes out through the log if and when that transaction commits.
   * @throws MillraceError EVENT_UNKNOWN, EVENT_INVALID naming the path of what is wrong
   */
  async publish<const Name extends string>(
    name: Name,
    payload: PayloadOf<Name>,
    options: DomainPublishOptions<Tx>,
  ): Promise<PublishedDomainEvent> {
    const { delivery, prepared } = this.#prepare(name, payload, options);
    const { eventId } = prepared.routed.event;
    const unplaced = { eventId, delivery, partition: null, offset: null };
    if (!this.#settings.enabled) {
      this.#counters.add('dropped', delivery);
      return unplaced;
    }
    if (options.tx !== undefined) {
      await this.#stage(prepared, delivery, options.tx);
      return unplaced;
    }
    let place: Omit<PublishedDomainEvent, 'eventId' | 'delivery'> = unplaced;
    if (delivery !== 'fire_and_forget') {
      const { partition, offset, duplicate } = await this.#append(prepared, delivery);
      place = { partition, offset };
      if (duplicate) return { eventId, delivery, ...place };
    }
    this.#counters.add('published', delivery);
    await this.#subscriptions.handOut(prepared, delivery);
    return { eventId, delivery, partition: place.partition, offset: place.offset };
  }

  /**
   * Calls the handler with every event that fits. In-process subscriptions hear what this process
   * publishes; durable and acknowledged ones belong to a group that processes share.
   * @param pattern a name; `payment.*.done`, one segment; `payment.*`, all below; `*`, everything.
   * @throws MillraceError DEFINITION_INVALID
   */
  subscribe<const Pattern extends string>(
    pattern: Pattern,
    handler: SubscriptionHandler<DomainEventOf<Pattern>, SubscriptionDelivery>,
  ): DomainSubscription;
  subscribe<
    const Pattern extends string,
    const Delivery extends SubscriptionDelivery = SubscriptionDelivery,
  >(
    pattern: Pattern,
    options: SubscribeOptions<Delivery>,
    handler: SubscriptionHandler<DomainEventOf<Pattern>, Delivery>,
  ): DomainSubscription;
  subscribe(
    pattern: string,
    first: SubscribeOptions | SubscriptionHandler<never, SubscriptionDelivery>,
    second?: SubscriptionHandler<never, SubscriptionDelivery>,
  ): DomainSubscription {
    const [options, handler] = typeof first === 'function' ? [{}, first] : [first, second];
    return this.#subscriptions.add(checkSubscription(pattern, options, handler, this.#settings));
  }

  /** The durable stream of a namespace under its name, and its dead letters under theirs. */
  stream(namespace: string): DomainStream {
    const eventType = `domain.${namespace}.*`;
    return {
      name: streamName(namespace),
      events: async (filter) => {
        const page = await this.#parts.history.list({ ...filter, eventTypes: [eventType] });
        return { events: page.events.map(toDomainEvent), next: page.next };
      },
      deadLettersName: deadLetterName(namespace),
      deadLetters: (filter) => this.#parts.deadLetters().list({ ...filter, eventType }),
    };
  }

  /** One event of a step that went well. */
  prepare(origin: EventOrigin, name: string, payload: unknown): PreparedDomainEvents {
    return this.steps.prepare(origin, succeeded, [[name, payload]]);
  }

  metrics(): DomainEventMetrics {
    return this.#counters.read();
  }

  /** For telemetry, which keeps a histogram of its own; never while metrics are switched off. */
  reportHandled(report: ReportHandled): void {
    this.#counters.reportHandled(report);
  }

  /** Removes dead letters beyond their retention now. Answers how many. */
  sweep(): Promise<number> {
    return this.#sweeper.sweep();
  }

  /** For editing dead letters: what an event type of the log must look like. */
  definitionOf(eventType: string): EventDefinition<unknown> | undefined {
    return this.registry.findByType(eventType)?.definition;
  }

  /** Follow-ups became durable in this process: its own subscribers hear of them. */
  heard(events: readonly StoredEvent[]): void {
    this.#subscriptions.heard(events);
  }

  start(): void {
    if (this.#settings.enabled) this.#sweeper.start();
  }

  /** Takes nothing more, and lets handlers finish. */
  async stop(): Promise<void> {
    await this.#sweeper.stop();
    await this.#subscriptions.stop();
  }

  #prepare(
    name: string,
    payload: unknown,
    options: DomainPublishOptions<Tx>,
  ): { delivery: DeliveryMode; prepared: PreparedDomainEvent } {
    let delivery = options.delivery ?? this.#settings.defaultDelivery;
    try {
      const declared = this.registry.resolve(name, options.namespace);
      delivery = options.delivery ?? declared.declaration.delivery;
      if (options.tx !== undefined && delivery === 'fire_and_forget') throw notInTransaction(name);
      const source = sourceOf(options, this.#parts.workerId);
      return {
        delivery,
        prepared: prepareDomainEvent(this.#parts.publisher, declared, source, payload),
      };
    } catch (error) {
      this.#counters.add('failed', delivery);
      throw error;
    }
  }

  async #append(prepared: PreparedDomainEvent, delivery: DeliveryMode) {
    try {
      return await this.#parts.publisher.append(prepared.routed);
    } catch (error) {
      this.#counters.add('failed', delivery);
      throw error;
    }
  }

  async #stage({ routed }: PreparedDomainEvent, delivery: DeliveryMode, tx: Tx): Promise<void> {
    const { staging, toTransaction, onStaged } = this.#parts;
    try {
      await staging.stage(toTransaction(tx), [routed]);
    } catch (error) {
      this.#counters.add('failed', delivery);
      throw error;
    }
    this.#counters.add('published', delivery);
    onStaged();
  }
}

const succeeded: StepOutcome = Object.freeze({ success: true, retryable: false });

function sourceOf(options: Omit<DomainPublishOptions<never>, 'tx'>, workerId: string): EventSource {
  const { tenantId, taskUuid = null, correlationId, firedBy, traceparent = null } = options;
  return {
    tenantId,
    // Without any the events of a tenant would wait for each other.
    key: options.key ?? taskUuid ?? correlationId ?? options.eventId ?? newEventId(),
    taskUuid,
    stepUuid: null,
    stepName: null,
    correlationId,
    firedBy: firedBy ?? workerId,
    traceparent,
    more: options.metadata,
    eventId: options.eventId,
  };
}

function notInTransaction(name: string): MillraceError {
  return new MillraceError(
    'EVENT_INVALID',
    `${name} is fire_and_forget, and cannot wait for a transaction of the caller.`,
    { fix: 'Publish it after the commit, or declare it durable.' },
  );
}

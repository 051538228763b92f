/**
 * What a step publishes as it ends: the events its handler asked for, as far as their conditions
 * hold, and those that custom publishers send by themselves. Failing to publish never fails a step:
 * it is counted, logged and told to the publisher that was in charge.
 */
import { MillraceError } from '../../core/errors.ts';
import type { JobLog } from '../../core/job-context.ts';
import {
  conditionHolds,
  type DeliveryMode,
  type DomainEventDeclaration,
  type StepOutcome,
} from '../../core/workflow/domain-event.ts';
import type { RoutedEvent } from '../../ports/store.ts';
import type { Publisher } from '../publisher.ts';
import type { EventPublisher, EventPublishers, PublishContext } from './custom-publisher.ts';
import type { DeclaredEvent, DeclaringWorkflow, EventRegistry } from './event-registry.ts';
import type { DomainEventCounters } from './metrics.ts';
import { type EventSource, type PreparedDomainEvent, prepareDomainEvent } from './preparation.ts';

/** The step, or the run, that publishes. */
export interface EventOrigin {
  readonly tenantId: string;
  readonly namespace: string;
  readonly workflow: DeclaringWorkflow;
  /** Of the run; the key of its events, too. */
  readonly taskUuid: string;
  readonly stepUuid: string | null;
  readonly stepName: string | null;
  readonly correlationId: string;
  /** The worker. */
  readonly firedBy: string;
  readonly traceparent: string | null;
  /** Of the step itself: their delivery and condition hold, and their publishers are asked. */
  readonly declarations?: readonly DomainEventDeclaration[] | undefined;
  readonly log?: JobLog | undefined;
}

/** Events of one step, ready for its commit. */
export interface PreparedDomainEvents {
  /** To be stored in the step's own commit. */
  readonly routed: readonly RoutedEvent[];
  /**
   * After that commit: hands them to subscribers in this process. Never rejects. Wait for it where
   * a full buffer shall slow the publisher down (`block`); otherwise it resolves at once.
   */
  dispatch(): Promise<void>;
}

export interface StepEventsParts {
  readonly registry: EventRegistry;
  readonly publishers: EventPublishers;
  readonly counters: DomainEventCounters;
  readonly publisher: Pick<Publisher, 'route'>;
  readonly enabled: boolean;
  readonly defaultDelivery: DeliveryMode;
  handOut(prepared: PreparedDomainEvent, delivery: DeliveryMode): Promise<void>;
  onError(error: unknown, where: string): void;
}

/** One event to come, before it is known to be valid. */
interface Plan {
  readonly name: string;
  readonly declaration: DomainEventDeclaration | null;
  readonly context: PublishContext;
}

interface Ready {
  readonly prepared: PreparedDomainEvent;
  readonly delivery: DeliveryMode;
  readonly custom: EventPublisher | null;
}

const none: PreparedDomainEvents = Object.freeze({
  routed: Object.freeze([]),
  dispatch: () => Promise.resolve(),
});

export class StepEvents {
  readonly #parts: StepEventsParts;

  constructor(parts: StepEventsParts) {
    this.#parts = parts;
  }

  /** All events of a step that ended like this. */
  prepare(
    origin: EventOrigin,
    outcome: StepOutcome,
    published: readonly (readonly [name: string, payload: unknown])[],
  ): PreparedDomainEvents {
    const { declarations = [] } = origin;
    // Nearly every step: nothing was published and nothing is to be.
    if (published.length === 0 && !declarations.some(({ publisher }) => publisher)) return none;
    const plans: Plan[] = [];
    const asked = new Set<string>();
    for (const [name, payload] of published) {
      asked.add(name);
      plans.push(this.#plan(name, payload, origin, outcome));
    }
    for (const { name, publisher } of declarations) {
      if (publisher == null || asked.has(name)) continue;
      const payload = outcome.success ? outcome.result : outcome.error;
      plans.push(this.#plan(name, payload ?? null, origin, outcome));
    }
    const due = plans.filter(
      ({ declaration }) => declaration === null || conditionHolds(declaration.condition, outcome),
    );
    const ready = due.flatMap((plan) => this.#makeReady(plan, origin) ?? []);
    return ready.length === 0 ? none : this.#bundle(ready, origin);
  }

  #plan(name: string, payload: unknown, origin: EventOrigin, outcome: StepOutcome): Plan {
    const { tenantId, namespace, taskUuid, stepName, correlationId } = origin;
    const { registry } = this.#parts;
    const declaration =
      origin.declarations?.find((one) => one.name === name) ??
      registry.findFor(name, namespace, origin.workflow)?.declaration ??
      null;
    const context: PublishContext = {
      name,
      declaration,
      outcome,
      tenantId,
      namespace,
      taskUuid,
      stepName,
      correlationId,
      payload,
    };
    return { name, declaration, context };
  }

  #declared(name: string, origin: EventOrigin): DeclaredEvent | undefined {
    const { namespace, workflow, declarations } = origin;
    if (!this.#parts.registry.declares(name, namespace, workflow)) {
      // A run of a version that is not registered here any more: its stored template says it.
      const own = declarations?.filter((one) => one.name === name) ?? [];
      if (own.length > 0) this.#parts.registry.declare(namespace, own, workflow);
    }
    return this.#parts.registry.findFor(name, namespace, workflow);
  }

  /** Null when the event does not go out, for whatever reason. */
  #makeReady({ name, declaration, context }: Plan, origin: EventOrigin): Ready | null {
    const { counters, defaultDelivery, enabled, publishers, publisher } = this.#parts;
    const delivery = declaration?.delivery ?? defaultDelivery;
    if (!enabled) {
      counters.add('dropped', delivery);
      return null;
    }
    let custom: EventPublisher | null = null;
    try {
      const declared = this.#declared(name, origin);
      if (declared === undefined) throw notDeclared(name, origin);
      if (declaration?.publisher != null) custom = publishers.get(declaration.publisher);
      if (custom?.shouldPublish?.(context) === false) return null;
      const payload = custom?.transformPayload ? custom.transformPayload(context) : context.payload;
      const source = sourceOf(origin, custom?.additionalMetadata?.(context));
      const prepared = prepareDomainEvent(publisher, declared, source, payload);
      custom?.beforePublish?.(prepared.event);
      return { prepared, delivery, custom };
    } catch (error) {
      counters.add('failed', delivery);
      this.#tell(error, name, origin);
      this.#guard(name, origin, () => custom?.onPublishError?.(error, context));
      return null;
    }
  }

  #bundle(ready: readonly Ready[], origin: EventOrigin): PreparedDomainEvents {
    const { counters, handOut } = this.#parts;
    let dispatched = false;
    return {
      routed: ready
        .filter(({ delivery }) => delivery !== 'fire_and_forget')
        .map(({ prepared }) => prepared.routed),
      dispatch: async () => {
        if (dispatched) return;
        dispatched = true;
        const places: Promise<void>[] = [];
        for (const { prepared, delivery, custom } of ready) {
          counters.add('published', delivery);
          places.push(handOut(prepared, delivery));
          const { event } = prepared;
          if (custom) this.#guard(event.name, origin, () => custom.afterPublish?.(event));
        }
        await Promise.all(places);
      },
    };
  }

  /** A developer's function must not take the step down with it. */
  #guard(name: string, origin: EventOrigin, call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#tell(error, name, origin);
    }
  }

  #tell(error: unknown, name: string, { log, taskUuid, stepName }: EventOrigin): void {
    const message = error instanceof Error ? error.message : String(error);
    log?.error(`domain event ${name} was not published: ${message}`, { event: name });
    this.#parts.onError(error, `domain event ${name} of step ${stepName ?? '-'}, run ${taskUuid}`);
  }
}

function sourceOf(origin: EventOrigin, more: EventSource['more']): EventSource {
  const { tenantId, taskUuid, stepUuid, stepName, correlationId, firedBy, traceparent } = origin;
  return {
    tenantId,
    key: taskUuid,
    taskUuid,
    stepUuid,
    stepName,
    correlationId,
    firedBy,
    traceparent,
    more,
  };
}

function notDeclared(name: string, { namespace, stepName }: EventOrigin): MillraceError {
  return new MillraceError(
    'EVENT_UNKNOWN',
    `The domain event ${name} is not declared in namespace ${namespace}.`,
    { fix: `Add it to publishes_events of ${stepName ?? 'the workflow'}, with its schema.` },
  );
}

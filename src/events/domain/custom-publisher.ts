/**
 * Publishers of a developer's own, registered by name and named by declarations (`publisher:`).
 * They decide whether an event goes out when a step ends, and with what in it. Their functions run
 * between the end of a step and its commit, so they answer at once and do no I/O.
 */
import { MillraceError } from '../../core/errors.ts';
import type { JsonValue } from '../../core/json.ts';
import type {
  DomainEvent,
  DomainEventDeclaration,
  StepOutcome,
} from '../../core/workflow/domain-event.ts';

export interface PublishContext {
  readonly name: string;
  /** Null outside of steps. */
  readonly declaration: DomainEventDeclaration | null;
  readonly outcome: StepOutcome;
  readonly tenantId: string;
  readonly namespace: string;
  readonly taskUuid: string | null;
  readonly stepName: string | null;
  readonly correlationId: string | null;
  /** What the handler published under this name; the step's result when it published nothing. */
  readonly payload: unknown;
}

export interface EventPublisher {
  readonly name: string;
  /** False: the event does not go out this time. */
  shouldPublish?(context: PublishContext): boolean;
  /** The payload; `context.payload` by default. */
  transformPayload?(context: PublishContext): unknown;
  /** Beside the metadata that every event has, which it cannot replace. */
  additionalMetadata?(context: PublishContext): Readonly<Record<string, JsonValue>>;
  /** The event is valid and about to be stored with the step, or handed out. */
  beforePublish?(event: DomainEvent): void;
  /** The step is committed and the event on its way. */
  afterPublish?(event: DomainEvent): void;
  /** It could not be published; the step goes on regardless. */
  onPublishError?(error: unknown, context: PublishContext): void;
}

export class EventPublishers {
  readonly #byName = new Map<string, EventPublisher>();

  /** @throws MillraceError DEFINITION_INVALID when another one has the name. */
  register(publisher: EventPublisher): void {
    const { name } = publisher;
    if (typeof name !== 'string' || name.length === 0) {
      throw new MillraceError('DEFINITION_INVALID', 'A publisher of events needs a name.');
    }
    const before = this.#byName.get(name);
    if (before !== undefined && before !== publisher) {
      throw new MillraceError('DEFINITION_INVALID', `There are two publishers named '${name}'.`, {
        fix: 'Register one of them under another name.',
      });
    }
    this.#byName.set(name, publisher);
  }

  /** @throws MillraceError DEFINITION_INVALID when there is none. */
  get(name: string): EventPublisher {
    const publisher = this.#byName.get(name);
    if (publisher) return publisher;
    const known = [...this.#byName.keys()].join(', ') || 'none';
    throw new MillraceError(
      'DEFINITION_INVALID',
      `No publisher named '${name}' is registered. Known: ${known}.`,
      { fix: `Call mill.events.registerPublisher({ name: '${name}', … }) at start.` },
    );
  }
}

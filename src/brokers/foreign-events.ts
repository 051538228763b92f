/**
 * From a CloudEvent of another system to an event of ours: whose it is, which definition it has to
 * fit, and an id that is the same however often it comes. Inlets and the HTTP door call it.
 *
 * Pure but for the clock. What cannot become an event is an answer, never an exception: it comes
 * from outside, and one message must not stop those behind it.
 */
import type { ReceivedEvent } from '../core/cloud-event.ts';
import { isMillraceError } from '../core/errors.ts';
import { defineEvent, type EventDefinition } from '../core/event.ts';
import { isUuid } from '../core/ids.ts';
import { type JsonValue, parseJson } from '../core/json.ts';
import type { StandardSchemaV1 } from '../core/schema.ts';
import type { Publisher } from '../events/publisher.ts';
import type { RoutedEvent } from '../ports/store.ts';
import { nameUuid } from './name-uuid.ts';
import type { RefusalReason } from './refusals.ts';

export interface AdmissionRules {
  /** The definition of a type, as the sender calls it. */
  definition(type: string): EventDefinition | undefined;
  /** `accept` stores events of types that nobody here defines, as they are. */
  readonly unknownTypes: 'refuse' | 'accept';
  /** Checks, masks and routes, as for events that are published here. */
  readonly publisher: Pick<Publisher, 'route'>;
}

export type Admission =
  | { readonly routed: RoutedEvent; readonly refusal: null }
  | {
      readonly routed: null;
      readonly refusal: { readonly reason: RefusalReason; readonly message: string };
      /** What it was refused for, where that is an error of ours. */
      readonly cause: unknown;
    };

/** Where an event keeps what its sender called it, when it is an event of ours. */
const sourceName = 'cloudevents.source';
export const idName = 'cloudevents.id';
export const typeName = 'cloudevents.type';

/** @param tenantId checked already. */
export function admitEvent(
  received: ReceivedEvent,
  tenantId: string,
  rules: AdmissionRules,
): Admission {
  const { type, version } = received;
  try {
    const known = rules.definition(type);
    if (known === undefined && rules.unknownTypes === 'refuse') {
      return refused('type-unknown', `Its type ${quote(type)} is not defined here.`);
    }
    const definition = known ?? anything(type);
    if (known !== undefined && version > known.version) {
      const message = `It is ${type} of version ${version}; ${known.version} is known here.`;
      return refused('version-unsupported', message);
    }
    const payload = parseJson(received.dataJson);
    const routed = rules.publisher.route(definition, {
      ...fieldsOf(received, definition),
      tenantId,
      payload: version < definition.version ? definition.upcast(payload, version) : payload,
    });
    return { routed, refusal: null };
  } catch (error) {
    const tooLarge = isMillraceError(error) && error.code === 'EVENT_TOO_LARGE';
    return refused(tooLarge ? 'event-too-large' : 'event-invalid', reasonOf(error), error);
  }
}

function fieldsOf(received: ReceivedEvent, { type }: EventDefinition) {
  const { id, source, key, timestamp, correlationId, causationId, metadata } = received;
  const origin: Record<string, JsonValue> = { [sourceName]: source };
  if (!isUuid(id)) origin[idName] = id;
  if (type !== received.type) origin[typeName] = received.type;
  return {
    eventId: eventIdOf(source, id),
    timestamp,
    causationId: causationId === null ? null : eventIdOf(source, causationId),
    metadata: { ...metadata, ...origin },
    // Left out, the definition finds the key in the payload, and the correlation is the key.
    ...(key !== null && { key }),
    ...(correlationId !== null && { correlationId }),
  };
}

/** CloudEvents are the same when source and id are; a UUID is enough of a name by itself. */
export function eventIdOf(source: string, id: string): string {
  return isUuid(id) ? id.toLowerCase() : nameUuid([source, id]);
}

const open: StandardSchemaV1 = {
  '~standard': { version: 1, vendor: 'millrace', validate: (value) => ({ value }) },
};
const openDefinitions = new Map<string, EventDefinition>();
const openDefinitionsMax = 1_000;

/** Types come from outside: a stranger must not fill the memory with names. */
function anything(type: string): EventDefinition {
  const known = openDefinitions.get(type);
  if (known !== undefined) return known;
  const definition = defineEvent(type, { schema: open }) as EventDefinition;
  if (openDefinitions.size >= openDefinitionsMax) openDefinitions.clear();
  openDefinitions.set(type, definition);
  return definition;
}

function refused(reason: RefusalReason, message: string, cause: unknown = null): Admission {
  return { routed: null, refusal: { reason, message }, cause };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function quote(text: string): string {
  return `'${text.length > 128 ? `${text.slice(0, 127)}…` : text}'`;
}

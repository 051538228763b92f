/**
 * The event types a process knows, and the decoding of stored events into their present shape.
 * Old events stay in the log as they were written; handlers see the newest version only (P9-3).
 */
import { MillraceError } from './errors.ts';
import type { EventDefinition, StoredEvent } from './event.ts';
import { freezeJson } from './json.ts';

export interface DecodeOptions {
  /** Hand on events of a version above the known one as they are, instead of refusing them. */
  readonly allowFutureVersions?: boolean | undefined;
}

export interface Catalogue {
  get(type: string): EventDefinition | undefined;
  /** In the order they were given. */
  types(): readonly string[];
  /**
   * The event with its payload in the present version's shape; itself when it has it already.
   * @throws MillraceError EVENT_UNKNOWN, EVENT_VERSION_UNSUPPORTED, or EVENT_INVALID when an
   * upcaster throws or gives what is not JSON.
   */
  decode(stored: StoredEvent, options?: DecodeOptions): StoredEvent;
}

/** @throws MillraceError DEFINITION_INVALID when two different definitions have one type. */
export function createCatalogue(definitions: Iterable<EventDefinition>): Catalogue {
  const byType = new Map<string, EventDefinition>();
  for (const definition of definitions) {
    const before = byType.get(definition.type);
    if (before !== undefined && before !== definition) {
      throw new MillraceError(
        'DEFINITION_INVALID',
        `The event type ${definition.type} is defined twice.`,
        { fix: 'Define it once and import it from there, or rename one of the two.' },
      );
    }
    byType.set(definition.type, definition);
  }
  return {
    get: (type) => byType.get(type),
    types: () => [...byType.keys()],
    decode(stored, { allowFutureVersions = false } = {}) {
      const definition = byType.get(stored.eventType);
      if (definition === undefined) throw unknownType(stored.eventType, [...byType.keys()]);
      if (stored.version === definition.version) return stored;
      if (stored.version > definition.version && allowFutureVersions) return stored;
      return Object.freeze({
        ...stored,
        version: definition.version,
        payload: upcast(definition, stored) as StoredEvent['payload'],
      });
    },
  };
}

function upcast(definition: EventDefinition, { payload, version, eventId }: StoredEvent): unknown {
  try {
    return freezeJson(definition.upcast(payload, version));
  } catch (cause) {
    if (cause instanceof MillraceError && cause.code === 'EVENT_VERSION_UNSUPPORTED') throw cause;
    throw new MillraceError(
      'EVENT_INVALID',
      `${definition.type}: event ${eventId} of version ${version} could not be upcast: ` +
        (cause instanceof Error ? cause.message : String(cause)),
      { cause, fix: `Mend the upcasters of ${definition.type}, then retry the event.` },
    );
  }
}

function unknownType(type: string, known: readonly string[]): MillraceError {
  const some = known.slice(0, 10).join(', ') || 'none';
  const more = known.length > 10 ? ` and ${known.length - 10} more` : '';
  return new MillraceError(
    'EVENT_UNKNOWN',
    `The event type ${type} is not defined here. Known: ${some}${more}.`,
    { details: { eventType: type } },
  );
}

/** JSON Schemas for AsyncAPI: of payloads, as far as their schemas can say it, and of headers. */
import type { EventDefinition } from '../core/event.ts';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** The part of Standard JSON Schema that is asked; zod 4, valibot and arktype have it. */
interface JsonSchemaSource {
  readonly input?: (options: { readonly target: string }) => unknown;
}

/** AsyncAPI's own schemas are a superset of this draft. */
const target = 'draft-07';

/** What an event of this definition carries; open where the schema says nothing. */
export function payloadOf(definition: EventDefinition): JsonSchema {
  const { type, schema } = definition;
  const standard = schema['~standard'] as { readonly jsonSchema?: JsonSchemaSource };
  try {
    const found = standard.jsonSchema?.input?.({ target });
    if (typeof found === 'object' && found !== null) return withoutDialect(found as JsonSchema);
  } catch {
    // A transform or a custom check, which JSON Schema has no words for.
  }
  const { vendor } = schema['~standard'];
  return { description: `${type}: its ${vendor} schema has no JSON Schema, so anything is shown.` };
}

function withoutDialect({ $schema: _, ...rest }: JsonSchema): JsonSchema {
  return rest;
}

const text = { type: 'string' } as const;

/** The attributes of CloudEvents as they stand in headers. */
export function headersSchema(prefix: string): JsonSchema {
  const attributes: Readonly<Record<string, JsonSchema>> = {
    specversion: { ...text, enum: ['1.0'] },
    id: { ...text, format: 'uuid', description: 'eventId: the same when the event comes again' },
    source: { ...text, description: 'who published' },
    type: { ...text, description: 'the event type' },
    time: { ...text, format: 'date-time' },
    partitionkey: { ...text, description: 'what is hashed: the tenant, or `tenant:key`' },
    tenantid: { ...text, minLength: 1, maxLength: 128 },
    eventversion: { ...text, pattern: '^[1-9][0-9]*$' },
    correlationid: text,
    subject: { ...text, description: 'the key, such as an exception id' },
    causationid: { ...text, format: 'uuid', description: 'the event that led to this one' },
    traceparent: { ...text, description: 'W3C trace context' },
    metadata: { ...text, contentMediaType: 'application/json' },
    logplace: { ...text, description: 'log id, partition and offset in the log' },
  };
  const required = ['specversion', 'id', 'source', 'type', 'tenantid'];
  return {
    type: 'object',
    properties: Object.fromEntries(
      Object.entries(attributes).map(([name, schema]) => [`${prefix}${name}`, schema]),
    ),
    required: required.map((name) => `${prefix}${name}`),
  };
}

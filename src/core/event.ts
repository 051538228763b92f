/**
 * Events: immutable, versioned facts (P9-3), their definitions, and the one way from what a caller
 * gives to what is appended.
 *
 * Invariant: a PreparedEvent is valid, deep-frozen and equal to what the log gives back;
 * payloadJson is the JSON text of its payload. Publishing and follow-ups both use prepareEvent.
 */
import { describeKind } from './describe.ts';
import { MillraceError } from './errors.ts';
import { checkDefinition, type Upcaster } from './event-definition.ts';
import {
  checkCorrelationId,
  checkKey,
  checkTenantId,
  checkUuid,
  formatTime,
  toTimestamp,
} from './event-fields.ts';
import { redactInput } from './event-redaction.ts';
import { newEventId } from './ids.ts';
import { type DeepReadonly, freezeJson, type JsonLimits, type JsonValue } from './json.ts';
import type { DefinitionRedaction, Redactor } from './redaction.ts';
import { parseRetryPolicy, type RetryPolicy } from './retry.ts';
import {
  describeIssues,
  fieldProblems,
  type Infer,
  type StandardSchemaV1,
  validateWith,
} from './schema.ts';

export interface Event<P = unknown> {
  readonly eventId: string;
  readonly eventType: string;
  readonly version: number;
  readonly tenantId: string;
  /** Events of one tenant and key are handled in order; null: in order of the whole tenant. */
  readonly key: string | null;
  /** ISO 8601, UTC, milliseconds. */
  readonly timestamp: string;
  readonly correlationId: string;
  /** The event whose handler published this one. */
  readonly causationId: string | null;
  readonly payload: DeepReadonly<P>;
  readonly metadata: Readonly<Record<string, JsonValue>>;
}

/** An event with its place in the log. */
export interface StoredEvent<P = unknown> extends Event<P> {
  readonly partition: number;
  readonly offset: number;
}

export interface EventDefinition<P = unknown> {
  readonly type: string;
  readonly version: number;
  readonly schema: StandardSchemaV1<unknown, P>;
  readonly retry?: RetryPolicy | undefined;
  readonly description?: string | undefined;
  readonly redaction?: false | DefinitionRedaction | undefined;
  /** The key of an event with this payload, when the publisher gives none. */
  key(payload: P): string | null;
  /** A payload of an older version in the shape of this one. */
  upcast(payload: unknown, fromVersion: number): unknown;
}

export interface EventDefinitionOptions<Schema extends StandardSchemaV1> {
  /** 1 and up; raise it when stored payloads no longer fit the schema. */
  readonly version?: number | undefined;
  readonly schema: Schema;
  readonly key?: ((payload: Infer<Schema>) => string | null | undefined) | undefined;
  /** `{ 1: … }` turns version 1 into version 2; every version below `version` needs one. */
  readonly upcasters?: Readonly<Record<number, Upcaster>> | undefined;
  /** Members left out have their defaults. */
  readonly retry?: Partial<RetryPolicy> | undefined;
  readonly description?: string | undefined;
  /**
   * Where redaction is on: members that it leaves alone although they look like secrets, or false
   * for a type whose payload must be stored as it is, secrets and all.
   */
  readonly redaction?: false | DefinitionRedaction | undefined;
}

/**
 * Declares an event type.
 * @example
 * const OrderPaid = defineEvent('OrderPaid', {
 *   version: 2,
 *   schema: z.object({ orderId: z.string(), cents: z.int() }),
 *   key: (payload) => payload.orderId,
 *   upcasters: {
 *     1: ({ amount, ...rest }: { amount: number }) => ({ ...rest, cents: amount * 100 }),
 *   },
 * });
 * @throws MillraceError DEFINITION_INVALID, or CONFIG_INVALID for the retry policy.
 */
export function defineEvent<Schema extends StandardSchemaV1>(
  type: string,
  options: EventDefinitionOptions<Schema>,
): EventDefinition<Infer<Schema>> {
  const { version = 1, schema, key, upcasters = {}, retry, description, redaction } = options;
  checkDefinition(type, version, schema, upcasters);
  return Object.freeze({
    type,
    version,
    schema: schema as EventDefinition<Infer<Schema>>['schema'],
    retry: retry === undefined ? undefined : parseRetryPolicy(retry, `${type}.retry`),
    description,
    redaction,
    key: (payload: Infer<Schema>) => key?.(payload) ?? null,
    upcast(payload: unknown, fromVersion: number): unknown {
      if (!Number.isInteger(fromVersion) || fromVersion < 1 || fromVersion > version) {
        throw new MillraceError(
          'EVENT_VERSION_UNSUPPORTED',
          `${type}: version ${fromVersion} was stored; versions 1 to ${version} are known here.`,
          { details: { eventType: type, version: fromVersion, versionMax: version } },
        );
      }
      let current = payload;
      for (let from = fromVersion; from < version; from += 1) {
        current = (upcasters[from] as (payload: unknown) => unknown)(current);
      }
      return current;
    },
  });
}

export interface EventInput<P = unknown> {
  /** 1 to 128 characters. */
  readonly tenantId: string;
  readonly payload: P | DeepReadonly<P>;
  /** Up to 512 characters. Default: the definition's `key(payload)`. */
  readonly key?: string | null | undefined;
  /** ISO 8601 with a zone, epoch milliseconds, or a Date. Default: now. */
  readonly timestamp?: string | number | Date | undefined;
  /** Default: the key, else the event id. */
  readonly correlationId?: string | undefined;
  readonly causationId?: string | null | undefined;
  /** A UUID of the caller's own, to publish the same event twice without storing it twice. */
  readonly eventId?: string | undefined;
  readonly metadata?: Readonly<Record<string, JsonValue>> | undefined;
}

export interface PreparedEvent<P = unknown> {
  readonly event: Event<P>;
  readonly payloadJson: string;
  /** Null when there is no metadata. */
  readonly metadataJson: string | null;
  /** The caller gave the event id, so the event may be in the log already. */
  readonly checkDuplicate: boolean;
}

export interface EventLimits extends JsonLimits {
  /** Of the payload as JSON in UTF-8. Default 1 MiB. */
  readonly payloadBytesMax?: number | undefined;
  /** Of the metadata as JSON in UTF-8. Default 64 KiB. */
  readonly metadataBytesMax?: number | undefined;
}

export interface PrepareOptions {
  readonly nowMs?: number | undefined;
  readonly limits?: EventLimits | undefined;
  /** Masks personal data and secrets, before the payload is validated. */
  readonly redactor?: Redactor | undefined;
}

const payloadBytesMaxDefault = 1_048_576;
const metadataBytesMaxDefault = 65_536;
const noOptions: PrepareOptions = Object.freeze({});
const noMetadata: Readonly<Record<string, JsonValue>> = Object.freeze({});
const utf8 = new TextEncoder();

/**
 * Validates and freezes what a caller publishes. 0.8 µs with a zod schema of 3 members, 1.4 µs
 * with 10, half of it JSON.stringify.
 * @throws MillraceError EVENT_INVALID, EVENT_TOO_LARGE, PAYLOAD_NOT_JSON, or DEFINITION_INVALID for
 * an asynchronous schema.
 */
export function prepareEvent<P>(
  definition: EventDefinition<P>,
  given: EventInput<P>,
  options: PrepareOptions = noOptions,
): PreparedEvent<P> {
  const { nowMs = Date.now(), limits, redactor } = options;
  const { type } = definition;
  if (typeof given !== 'object' || given === null) {
    throw invalidEvent(type, `the event is ${describeKind(given)}, not { tenantId, payload, … }`);
  }
  const input = redactor?.on ? redactInput(definition, given, redactor) : given;
  const result = validateWith(definition.schema, input.payload);
  if (result.issues !== undefined) {
    throw invalidEvent(type, describeIssues(result.issues, 'payload'), {
      issues: fieldProblems(result.issues, 'payload'),
    });
  }
  const payload = freezeJson(result.value, limits) as DeepReadonly<P>;
  const payloadJson = JSON.stringify(payload);
  checkSize(type, 'payload', payloadJson, limits?.payloadBytesMax ?? payloadBytesMaxDefault);
  const { metadata, metadataJson } = prepareMetadata(type, input.metadata, limits);
  const eventId =
    input.eventId === undefined ? newEventId(nowMs) : checkUuid(input.eventId, 'eventId');
  const key = checkKey(input.key === undefined ? keyOf(definition, payload as P) : input.key);
  const event: Event<P> = Object.freeze({
    eventId,
    eventType: type,
    version: definition.version,
    tenantId: checkTenantId(input.tenantId),
    key,
    timestamp: input.timestamp === undefined ? formatTime(nowMs) : toTimestamp(input.timestamp),
    correlationId:
      input.correlationId === undefined
        ? (key ?? eventId)
        : checkCorrelationId(input.correlationId),
    causationId: input.causationId == null ? null : checkUuid(input.causationId, 'causationId'),
    payload,
    metadata,
  });
  return { event, payloadJson, metadataJson, checkDuplicate: input.eventId !== undefined };
}

function keyOf<P>(definition: EventDefinition<P>, payload: P): string | null {
  try {
    return definition.key(payload);
  } catch (cause) {
    throw new MillraceError('EVENT_INVALID', `${definition.type}: its key function threw.`, {
      cause,
      fix: 'Give the key with the event, or mend key() in the definition.',
    });
  }
}

function prepareMetadata(
  type: string,
  given: EventInput['metadata'],
  limits: EventLimits | undefined,
): { metadata: Event['metadata']; metadataJson: string | null } {
  if (given === undefined) return { metadata: noMetadata, metadataJson: null };
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalidEvent(type, `metadata is ${describeKind(given)}, not an object`);
  }
  const metadata = freezeJson(given, { ...limits, root: 'metadata' }) as Event['metadata'];
  const json = JSON.stringify(metadata);
  if (json === '{}') return { metadata: noMetadata, metadataJson: null };
  checkSize(type, 'metadata', json, limits?.metadataBytesMax ?? metadataBytesMaxDefault);
  return { metadata, metadataJson: json };
}

/** UTF-8 takes one to three bytes for a UTF-16 unit, so most texts need no count. */
function checkSize(type: string, field: string, json: string, bytesMax: number): void {
  if (json.length * 3 <= bytesMax) return;
  const bytes = utf8.encode(json).length;
  if (bytes <= bytesMax) return;
  throw new MillraceError(
    'EVENT_TOO_LARGE',
    `${type}: ${field} takes ${bytes} bytes as JSON; ${bytesMax} are allowed.`,
    { details: { eventType: type, field, bytes, bytesMax } },
  );
}

function invalidEvent(
  type: string,
  problem: string,
  details?: Readonly<Record<string, unknown>>,
): MillraceError {
  return new MillraceError('EVENT_INVALID', `${type}: ${problem}.`, {
    details: { eventType: type, ...details },
  });
}

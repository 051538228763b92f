/**
 * CloudEvents 1.0, the form in which events travel outside the log: attributes as text beside the
 * data, in binary mode at brokers and over HTTP (cloudevents/spec v1.0.2, with the Kafka, AMQP and
 * HTTP bindings). Pure: each driver adds its prefix (`ce_`, `cloudEvents:`, `ce-`) and encoding.
 *
 *   id            eventId                     type        eventType
 *   source        who published               time        timestamp
 *   partitionkey  tenant and key, as hashed   subject     the key
 *   tenantid, eventversion, correlationid, causationid    members of the event
 *   traceparent   of the metadata             metadata    the rest of it, as JSON
 *   logplace      `<log id>/<partition>/<offset>`, where the event stands in its log
 *
 * Invariant: what `attributesOf` prints `readCloudEvent` reads back as the same event.
 */
import type { Event } from './event.ts';
import { formatTime, toTimestamp } from './event-fields.ts';
import type { JsonValue } from './json.ts';
import { partitionKey } from './partition.ts';

/** As ports/broker.ts has it. */
interface Place {
  readonly logId: string;
  readonly partition: number;
  readonly offset: number;
}

/** An event as it came, checked for its shape alone: whether we want it, the receiver decides. */
export interface ReceivedEvent {
  /** A UUID for events of ours; any text for others. */
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly version: number;
  /** Null when the sender says nothing of tenants. */
  readonly tenantId: string | null;
  readonly key: string | null;
  /** What was hashed, as the sender says; null when it says nothing. */
  readonly partitionKey: string | null;
  /** ISO 8601 UTC with milliseconds; when it came, if the sender gave none. */
  readonly timestamp: string;
  readonly correlationId: string | null;
  readonly causationId: string | null;
  /** JSON text, not parsed yet: who only filters by type pays nothing for it. */
  readonly dataJson: string;
  readonly metadata: Readonly<Record<string, JsonValue>>;
  readonly place: Place | null;
}

/** Names of attributes and their texts; drivers write them in this order. */
export type CloudEventAttributes = readonly (readonly [name: string, text: string])[];

const noMetadata: ReceivedEvent['metadata'] = Object.freeze({});

/** @param metadataJson null when there is none. */
export function attributesOf(
  event: Event,
  metadataJson: string | null,
  options: { readonly source: string; readonly place: Place | null },
): CloudEventAttributes {
  const { tenantId, key, causationId } = event;
  const attributes: [string, string][] = [
    ['specversion', '1.0'],
    ['id', event.eventId],
    ['source', options.source],
    ['type', event.eventType],
    ['time', event.timestamp],
    ['partitionkey', partitionKey(tenantId, key)],
    ['tenantid', tenantId],
    ['eventversion', String(event.version)],
    ['correlationid', event.correlationId],
  ];
  if (key !== null) attributes.push(['subject', key]);
  if (causationId !== null) attributes.push(['causationid', causationId]);
  if (metadataJson !== null) {
    attributes.push(['metadata', metadataJson]);
    const { traceparent } = event.metadata;
    if (typeof traceparent === 'string') attributes.push(['traceparent', traceparent]);
  }
  const { place } = options;
  if (place !== null) attributes.push(['logplace', printPlace(place)]);
  return attributes;
}

export function printPlace({ logId, partition, offset }: Place): string {
  return `${logId}/${partition}/${offset}`;
}

/** @param get the text of an attribute, undefined when it is absent. */
export function readCloudEvent(
  get: (name: string) => string | undefined,
  dataJson: string,
): ReceivedEvent | { readonly problem: string } {
  const specversion = get('specversion');
  if (specversion === undefined) return { problem: 'it has no CloudEvents specversion' };
  if (!specversion.startsWith('1.'))
    return { problem: `it is CloudEvents ${specversion}, not 1.0` };
  const [id, source, type] = [get('id'), get('source'), get('type')];
  if (!id || !source || !type) {
    const missing = !id ? 'id' : !source ? 'source' : 'type';
    return { problem: `its CloudEvents attribute ${missing} is missing` };
  }
  const content = get('datacontenttype');
  if (content !== undefined && !isJson(content))
    return { problem: `its data is ${content}, not JSON` };
  const version = readVersion(get('eventversion'));
  if (version === null) {
    return { problem: `its eventversion is ${get('eventversion')}, not a whole number from 1` };
  }
  const timestamp = readTime(get('time'));
  if (timestamp === null) return { problem: `its time is ${get('time')}, not RFC 3339` };
  const metadata = readMetadata(get('metadata'), get('traceparent'));
  if (metadata === null) return { problem: 'its metadata is no JSON object' };
  return {
    id,
    source,
    type,
    version,
    tenantId: get('tenantid') ?? null,
    key: get('subject') ?? null,
    partitionKey: get('partitionkey') ?? null,
    timestamp,
    correlationId: get('correlationid') ?? null,
    causationId: get('causationid') ?? null,
    dataJson: dataJson === '' ? 'null' : dataJson,
    metadata,
    place: readPlace(get('logplace')),
  };
}

function isJson(content: string): boolean {
  return (
    content === 'application/json' ||
    /^(?:application|text)\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i.test(content)
  );
}

/** As many as the log keeps: 32 bits. */
const versionMax = 2_147_483_647;

function readVersion(text: string | undefined): number | null {
  if (text === undefined || text === '1') return 1;
  const version = /^[1-9]\d{0,9}$/.test(text) ? Number(text) : versionMax + 1;
  return version <= versionMax ? version : null;
}

/** As we write it ourselves; days beyond the 28th take the longer way. */
const ourDate = /^(?!0000)\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])$/;
const ourTime = /^T(?:[01]\d|2[0-3])(?::[0-5]\d){2}\.\d{3}Z$/;

function readTime(text: string | undefined): string | null {
  if (text === undefined) return formatTime(Date.now());
  // The usual case needs no second look: 0.4 µs saved.
  if (ourDate.test(text.slice(0, 10)) && ourTime.test(text.slice(10))) return text;
  try {
    return toTimestamp(text.toUpperCase()); // RFC 3339 allows `t` and `z`
  } catch {
    return null;
  }
}

/** A `traceparent` that was added on the way, by a proxy for instance, joins what we wrote. */
function readMetadata(
  json: string | undefined,
  traceparent: string | undefined,
): ReceivedEvent['metadata'] | null {
  const given = traceparent === undefined ? null : { traceparent };
  if (json === undefined) return given === null ? noMetadata : Object.freeze(given);
  try {
    const metadata: unknown = JSON.parse(json);
    if (typeof metadata !== 'object' || metadata === null || Array.isArray(metadata)) return null;
    const members = metadata as Record<string, JsonValue>;
    const joins = given !== null && !Object.hasOwn(members, 'traceparent');
    return Object.freeze(joins ? { ...members, ...given } : members);
  } catch {
    return null;
  }
}

const placePattern = /^[^/]+\/\d{1,9}\/\d{1,15}$/;

/** What does not read as a place is none: the event came from elsewhere. */
function readPlace(text: string | undefined): Place | null {
  if (text === undefined || !placePattern.test(text)) return null;
  const first = text.indexOf('/');
  const second = text.indexOf('/', first + 1);
  return {
    logId: text.slice(0, first),
    partition: Number(text.slice(first + 1, second)),
    offset: Number(text.slice(second + 1)),
  };
}

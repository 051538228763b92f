/**
 * CloudEvents as one JSON document, "structured mode" (`application/cloudevents+json`), and many of
 * them as a list (`application/cloudevents-batch+json`): attributes and data side by side. What
 * brokers carry in headers, HTTP callers and files carry like this. Pure.
 *
 * Invariant: what `printStructured` prints `readStructured` reads back as the same event, and
 * nothing that a stranger sends makes reading throw.
 */
import {
  attributesOf,
  type CloudEventAttributes,
  type ReceivedEvent,
  readCloudEvent,
} from './cloud-event.ts';
import { describeKind } from './describe.ts';
import { isMillraceError } from './errors.ts';
import type { Event } from './event.ts';
import { type JsonLimits, type JsonValue, parseJson } from './json.ts';

export const structuredType = 'application/cloudevents+json';
export const batchType = 'application/cloudevents-batch+json';

export interface UnreadableEvent {
  /** What is wrong, for people: `its data is …`. */
  readonly problem: string;
}

export interface PrintableEvent {
  readonly event: Event;
  readonly payloadJson: string;
  /** Null when there is none. */
  readonly metadataJson: string | null;
}

/** Of one document: what an event may have, with its attributes and two levels around it. */
const documentLimits = { depthMax: 66, keysMax: 20_100, root: 'event' } as const;
/** As many members as fit into 1 MiB, near enough: `"a":1,` has six characters. */
const batchLimits = { ...documentLimits, keysMax: 175_000, root: 'batch' } as const;

type PrintOptions = Parameters<typeof attributesOf>[2];

/** One JSON object; every attribute is a text. */
export function printStructured(printable: PrintableEvent, options: PrintOptions): string {
  const { event, payloadJson, metadataJson } = printable;
  const attributes = attributesOf(event, metadataJson, options);
  return `{${printAttributes(attributes)},"data":${payloadJson}}`;
}

export function printBatch(events: readonly PrintableEvent[], options: PrintOptions): string {
  return `[${events.map((event) => printStructured(event, options)).join(',')}]`;
}

function printAttributes(attributes: CloudEventAttributes): string {
  let text = '"datacontenttype":"application/json"';
  for (const [name, value] of attributes) text += `,"${name}":${JSON.stringify(value)}`;
  return text;
}

/** From the text of one document. Numbers that JavaScript would change are a problem, as always. */
export function readStructured(
  text: string,
  limits: JsonLimits = documentLimits,
): ReceivedEvent | UnreadableEvent {
  const document = parse(text, limits);
  return 'problem' in document ? document : readDocument(document.value);
}

/** From the text of a list; each of its events may have a problem of its own. */
export function readBatch(
  text: string,
  limits: JsonLimits = batchLimits,
): readonly (ReceivedEvent | UnreadableEvent)[] | UnreadableEvent {
  const document = parse(text, limits);
  if ('problem' in document) return document;
  const { value } = document;
  if (!Array.isArray(value)) return { problem: `the batch is ${describeKind(value)}, not a list` };
  return value.map((item: JsonValue) => readDocument(item));
}

/** From a document that was parsed before. */
export function readDocument(document: JsonValue | undefined): ReceivedEvent | UnreadableEvent {
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    return { problem: `it is ${describeKind(document)}, not a JSON object` };
  }
  const members = document as Readonly<Record<string, JsonValue>>;
  let odd: string | null = null;
  const get = (name: string): string | undefined => {
    const value = Object.hasOwn(members, name) ? members[name] : null;
    if (value === null) return undefined; // the JSON format allows it for what is not there
    if (typeof value !== 'object') return String(value);
    odd ??= `its ${name} is ${describeKind(value)}, where attributes are texts`;
    return undefined;
  };
  const data = readData(members, get('datacontenttype'));
  if (typeof data !== 'string') return data;
  const event = readCloudEvent(get, data);
  return odd === null ? event : { problem: odd };
}

function readData(
  members: Readonly<Record<string, JsonValue>>,
  content: string | undefined,
): string | UnreadableEvent {
  const base64 = Object.hasOwn(members, 'data_base64') ? members.data_base64 : null;
  const data = Object.hasOwn(members, 'data') ? members.data : undefined;
  if (base64 === null || base64 === undefined) {
    return data === undefined ? '' : JSON.stringify(data);
  }
  if (data !== undefined) return { problem: 'it has both data and data_base64' };
  if (content === undefined) return { problem: 'its data is bytes of no content type' };
  if (typeof base64 !== 'string') return { problem: 'its data_base64 is no text' };
  try {
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return { problem: 'its data_base64 is no UTF-8 text in base64' };
  }
}

function parse(text: string, limits: JsonLimits): { value: JsonValue } | UnreadableEvent {
  try {
    return { value: parseJson(text, limits) };
  } catch (error) {
    return { problem: `it is not JSON that can be kept: ${reasonOf(error)}` };
  }
}

function reasonOf(error: unknown): string {
  return isMillraceError(error) ? error.message : 'it does not parse';
}

/**
 * CloudEvents over HTTP, as the HTTP binding of CloudEvents 1.0 has it: in binary mode attributes
 * are headers `ce-…` beside the data, in structured mode all is one JSON document, and a batch is a
 * list of those. Which one it is, the content type says. Pure.
 */
import {
  attributesOf,
  type CloudEventAttributes,
  type ReceivedEvent,
  readCloudEvent,
} from '../core/cloud-event.ts';
import {
  batchType,
  printStructured,
  readDocument,
  structuredType,
  type UnreadableEvent,
} from '../core/cloud-event-json.ts';
import type { StoredEvent } from '../core/event.ts';
import type { JsonValue } from '../core/json.ts';
import { requestInvalid } from './route.ts';

export type HttpMode = 'binary' | 'structured' | 'batch';
export type Headers = Readonly<Record<string, string | undefined>>;

export interface ReadRequest {
  readonly mode: HttpMode;
  readonly events: readonly (ReceivedEvent | UnreadableEvent)[];
}

/**
 * @param body parsed already; undefined when there was none.
 * @throws MillraceError REQUEST_INVALID for a content type that CloudEvents has no meaning for
 */
export function readRequest(headers: Headers, body: JsonValue | undefined): ReadRequest {
  const type = mediaTypeOf(headers['content-type']);
  if (type === structuredType) return { mode: 'structured', events: [readDocument(body)] };
  if (type === batchType) {
    if (!Array.isArray(body)) throw requestInvalid('The batch is not a JSON list.');
    return { mode: 'batch', events: body.map((item: JsonValue) => readDocument(item)) };
  }
  if (type?.startsWith('application/cloudevents')) {
    throw requestInvalid(
      `Events as ${type} are not read here.`,
      `Send ${structuredType}, ${batchType}, or headers ce-… with JSON data.`,
    );
  }
  const get = (name: string): string | undefined => {
    if (name === 'datacontenttype') return headers['content-type'];
    const value = headers[`ce-${name}`];
    return value === undefined ? undefined : decodeHeader(value);
  };
  const data = body === undefined ? '' : JSON.stringify(body);
  return { mode: 'binary', events: [readCloudEvent(get, data)] };
}

export interface PrintOptions {
  readonly source: string;
  /** Of the database that the event stands in. */
  readonly logId: string;
}

/** True when the caller asks for one JSON document. */
export function wantsStructured({ accept }: Headers): boolean {
  return (accept ?? '').split(',').some((range) => mediaTypeOf(range) === structuredType);
}

export function structuredReply(event: StoredEvent, options: PrintOptions) {
  const { payloadJson, metadataJson } = textsOf(event);
  const document = printStructured({ event, payloadJson, metadataJson }, printed(event, options));
  return { body: `${document}\n`, textType: `${structuredType}; charset=utf-8` };
}

export function binaryReply(event: StoredEvent, options: PrintOptions) {
  const { payloadJson, metadataJson } = textsOf(event);
  const attributes = attributesOf(event, metadataJson, printed(event, options));
  return {
    headers: printHeaders(attributes),
    body: payloadJson,
    textType: 'application/json; charset=utf-8',
  };
}

function printed(event: StoredEvent, { source, logId }: PrintOptions) {
  return { source, place: { logId, partition: event.partition, offset: event.offset } };
}

function textsOf({ payload, metadata }: StoredEvent) {
  const metadataJson = JSON.stringify(metadata);
  return {
    payloadJson: JSON.stringify(payload),
    metadataJson: metadataJson === '{}' ? null : metadataJson,
  };
}

export function printHeaders(attributes: CloudEventAttributes): Record<string, string> {
  return Object.fromEntries(
    attributes.map(([name, text]) => [`ce-${name}`, encodeHeader(text)] as const),
  );
}

const unsafe = /[^\x21\x23\x24\x26-\x7e]/gu;

/** Space, `"`, `%` and all that is not printable ASCII, as percent-encoded UTF-8. */
export function encodeHeader(text: string): string {
  return text
    .toWellFormed()
    .replace(unsafe, (character) =>
      [...Buffer.from(character)].map((byte) => `%${hexOf(byte)}`).join(''),
    );
}

function hexOf(byte: number): string {
  return byte.toString(16).toUpperCase().padStart(2, '0');
}

/** Without its quotes. A `%` that encodes nothing stays, bytes that are no UTF-8 become �. */
export function decodeHeader(value: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/s.exec(value);
  const text = quoted === null ? value : (quoted[1] as string).replace(/\\(.)/gs, '$1');
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) =>
    Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'),
  );
}

function mediaTypeOf(type: string | undefined): string | undefined {
  return type?.split(';')[0]?.trim().toLowerCase();
}

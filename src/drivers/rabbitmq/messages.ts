/**
 * Events as AMQP messages and back: the CloudEvents AMQP binding in binary mode, attributes as
 * headers `cloudEvents:…`, the payload's JSON as body.
 *
 * The body carries a content encoding because the client would parse JSON without one: our own
 * events are parsed once, by who handles them, and their text stays as it was.
 */
import type { AsyncMessage, Channel, Envelope } from 'rabbitmq-client';
import { attributesOf, type ReceivedEvent, readCloudEvent } from '../../core/cloud-event.ts';
import type { OutgoingEvent } from '../../ports/broker.ts';

const encoding = 'utf-8';
/** Of JSON without a content encoding, as `leaveUnparsed` marks it. */
const unparsed = 'identity';
const rawBytesMax = 65_536;

/** 'cloudEvents:id' and the like, put together once. */
const headerNames = new Map<string, HeaderNames>();

interface HeaderNames {
  readonly colon: string;
  readonly underscore: string;
}

function headersOf(name: string): HeaderNames {
  let names = headerNames.get(name);
  if (names === undefined) {
    names = { colon: `cloudEvents:${name}`, underscore: `cloudEvents_${name}` };
    headerNames.set(name, names);
  }
  return names;
}

export interface Encoded {
  readonly envelope: Envelope;
  readonly body: Buffer;
  /** UTF-16 units in headers, names with their lengths and types. */
  readonly headerUnits: number;
}

export function encode(outgoing: OutgoingEvent, source: string): Encoded {
  const { topic, partition, event, payloadJson, metadataJson, place } = outgoing;
  const headers: Record<string, string> = {};
  let headerUnits = 0;
  for (const [name, text] of attributesOf(event, metadataJson, { source, place })) {
    headers[headersOf(name).colon] = text;
    headerUnits += text.length + name.length + 20;
  }
  return {
    envelope: {
      exchange: topic,
      routingKey: String(partition),
      durable: true,
      contentType: 'application/json',
      contentEncoding: encoding,
      headers,
    },
    body: Buffer.from(payloadJson, 'utf8'),
    headerUnits,
  };
}

/** What else stands in the frame of the headers: its own header and the other properties. */
const otherBytes = 200;

/** UTF-8 takes three bytes for a unit at most, so few messages are counted. */
export function headersFit({ envelope, headerUnits }: Encoded, frameBytes: number): boolean {
  if (headerUnits * 3 + otherBytes <= frameBytes) return true;
  let bytes = otherBytes;
  for (const [name, text] of Object.entries(envelope.headers ?? {})) {
    bytes += name.length + 6 + Buffer.byteLength(text);
  }
  return bytes <= frameBytes;
}

export type Decoded =
  | { readonly event: ReceivedEvent; readonly problem: null; readonly raw: null }
  | { readonly event: null; readonly problem: string; readonly raw: Uint8Array };

type Incoming = Pick<AsyncMessage, 'headers' | 'contentType' | 'contentEncoding' | 'body'>;

export function decode(message: Incoming): Decoded {
  const { headers = {}, contentType } = message;
  // The binding has two ways to write names; who sends a message keeps to one.
  const way = headers[headersOf('specversion').colon] === undefined ? 'underscore' : 'colon';
  const get = (name: string): string | undefined => {
    const value = headers[headersOf(name)[way]];
    return typeof value === 'string' ? value : textOf(value);
  };
  const data = dataOf(message);
  if (typeof data !== 'string') return unreadable(message, data.problem);
  const read = readCloudEvent(
    (name) => (name === 'datacontenttype' ? (get(name) ?? contentType) : get(name)),
    data,
  );
  if ('problem' in read) return unreadable(message, read.problem);
  return { event: read, problem: null, raw: null };
}

/** Other clients write numbers, flags and times as such. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') {
    return String(value);
  }
  if (value instanceof Date) return value.toISOString();
  return Buffer.isBuffer(value) ? value.toString('utf8') : undefined;
}

/**
 * The client parses JSON that comes without a content encoding, and digits that a double cannot
 * keep are gone before anybody has seen them. It has no setting for that.
 */
export function leaveUnparsed(channel: Channel): void {
  const own = channel as unknown as { _onHeader?: (frame: HeaderFrame) => void };
  const onHeader = own._onHeader?.bind(channel);
  if (onHeader === undefined) return;
  own._onHeader = (frame) => {
    const { fields } = frame;
    if (fields.contentType === 'application/json') fields.contentEncoding ||= unparsed;
    onHeader(frame);
  };
}

interface HeaderFrame {
  readonly fields: { readonly contentType?: string; contentEncoding?: string };
}

/** The JSON text of the data. Without a content encoding the client may have parsed it. */
function dataOf({ body, contentType, contentEncoding }: Incoming): string | { problem: string } {
  const isUsual = contentEncoding === undefined || contentEncoding === encoding;
  if (!isUsual && !/^(?:utf-?8|identity|)$/i.test(contentEncoding)) {
    return { problem: `its content encoding is ${contentEncoding}, not utf-8` };
  }
  if (!Buffer.isBuffer(body)) {
    return contentType === 'text/plain' ? String(body) : JSON.stringify(body);
  }
  const text = body.toString('utf8');
  if (contentEncoding === encoding || text === '' || isJson(text)) return text;
  return { problem: 'its data is no JSON' };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function unreadable({ body }: Incoming, problem: string): Decoded {
  const bytes = Buffer.isBuffer(body)
    ? body
    : Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
  return { event: null, problem, raw: new Uint8Array(bytes.subarray(0, rawBytesMax)) };
}

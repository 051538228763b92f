/**
 * Postgres arrays in binary form, one per column of a batch of events. Called for every append.
 * Why not text: the server spends 9.0 µs a row with binary arrays, 9.8 µs with text arrays and
 * 12.5 µs with one JSON document, and we spend 0.9 µs instead of 2.7 µs building them (1,000 rows).
 */
import type { RoutedEvent } from '../../ports/store.ts';

const oid = { int4: 23, text: 25, json: 114, timestamptz: 1184, uuid: 2950 } as const;
const postgresEpochMs = Date.UTC(2000, 0, 1);
const hexValue = new Uint8Array(128);
for (const [i, digit] of [...'0123456789abcdef'].entries()) {
  hexValue[digit.charCodeAt(0)] = i;
  hexValue[digit.toUpperCase().charCodeAt(0)] = i;
}

/** A growing buffer with the header of a one-dimensional array in front. */
class ArrayWriter {
  bytes: Buffer;
  at = 0;

  constructor(elementOid: number, count: number, bytesPerElement: number) {
    this.bytes = Buffer.allocUnsafe(20 + count * bytesPerElement);
    this.int(count === 0 ? 0 : 1);
    this.int(1); // there may be nulls
    this.int(elementOid);
    if (count === 0) return;
    this.int(count);
    this.int(1); // lower bound
  }

  reserve(size: number): void {
    if (this.at + size <= this.bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.at + size));
    this.bytes.copy(larger, 0, 0, this.at);
    this.bytes = larger;
  }

  int(value: number): void {
    this.bytes.writeInt32BE(value, this.at);
    this.at += 4;
  }

  text(value: string): void {
    this.reserve(4 + value.length * 3);
    const length = this.bytes.write(value, this.at + 4, 'utf8');
    this.int(length);
    this.at += length;
  }

  uuid(value: string): void {
    this.int(16);
    let to = this.at;
    for (let i = 0; i < 36; i += 2) {
      if (i === 8 || i === 13 || i === 18 || i === 23) i += 1;
      const high = hexValue[value.charCodeAt(i)] as number;
      const low = hexValue[value.charCodeAt(i + 1)] as number;
      this.bytes[to++] = (high << 4) | low;
    }
    this.at = to;
  }

  microseconds(value: number): void {
    this.int(8);
    this.bytes.writeInt32BE(Math.floor(value / 4_294_967_296), this.at);
    this.bytes.writeUInt32BE(
      value - Math.floor(value / 4_294_967_296) * 4_294_967_296,
      this.at + 4,
    );
    this.at += 8;
  }

  done(): Buffer {
    return this.bytes.subarray(0, this.at);
  }
}

type Column = (events: readonly RoutedEvent[]) => Buffer;

function textColumn(
  elementOid: number,
  bytes: number,
  value: (e: RoutedEvent) => string | null,
): Column {
  return (events) => {
    const writer = new ArrayWriter(elementOid, events.length, bytes);
    for (const event of events) {
      const text = value(event);
      if (text === null) {
        writer.reserve(4);
        writer.int(-1);
      } else writer.text(text);
    }
    return writer.done();
  };
}

function uuidColumn(value: (e: RoutedEvent) => string | null): Column {
  return (events) => {
    const writer = new ArrayWriter(oid.uuid, events.length, 20);
    for (const event of events) {
      const id = value(event);
      if (id === null) writer.int(-1);
      else writer.uuid(id);
    }
    return writer.done();
  };
}

/** unnest pads shorter arrays with nulls, so a column of nothing but nulls is sent empty. */
function sparse(column: Column, elementOid: number, isNull: (e: RoutedEvent) => boolean): Column {
  const empty = new ArrayWriter(elementOid, 0, 0).done();
  return (events) => (events.every(isNull) ? empty : column(events));
}

const versions: Column = (events) => {
  const writer = new ArrayWriter(oid.int4, events.length, 8);
  for (const { event } of events) {
    writer.int(4);
    writer.int(event.version);
  }
  return writer.done();
};

const times: Column = (events) => {
  const writer = new ArrayWriter(oid.timestamptz, events.length, 12);
  // Events of one batch share few timestamps: parse each run of equal ones once.
  let last = '';
  let value = 0;
  for (const { event } of events) {
    if (event.timestamp !== last) {
      last = event.timestamp;
      value = (Date.parse(last) - postgresEpochMs) * 1000;
    }
    writer.microseconds(value);
  }
  return writer.done();
};

/** The stored correlation: null when it is the default, which saves 37 bytes a row. */
function storedCorrelation({ event }: RoutedEvent): string | null {
  return event.correlationId === (event.key ?? event.eventId) ? null : event.correlationId;
}

const columns: readonly Column[] = [
  uuidColumn(({ event }) => event.eventId),
  textColumn(oid.text, 32, ({ event }) => event.eventType),
  versions,
  textColumn(oid.text, 24, ({ event }) => event.tenantId),
  textColumn(oid.text, 44, ({ event }) => event.key),
  times,
  sparse(
    textColumn(oid.text, 44, storedCorrelation),
    oid.text,
    (routed) => storedCorrelation(routed) === null,
  ),
  uuidColumn(({ event }) => event.causationId),
  textColumn(oid.json, 400, ({ payloadJson }) => payloadJson),
  sparse(
    textColumn(oid.json, 64, ({ metadataJson }) => metadataJson),
    oid.json,
    ({ metadataJson }) => metadataJson === null,
  ),
];

/**
 * The ten columns of append_events after its partitions and counts, in the order of its
 * parameters: ids, types, versions, tenants, keys, times, correlations, causations, payloads,
 * metadata.
 */
export function eventColumns(events: readonly RoutedEvent[]): Buffer[] {
  return columns.map((column) => column(events));
}

/** An int[] parameter. */
export function intArray(values: readonly number[]): Buffer {
  const writer = new ArrayWriter(oid.int4, values.length, 8);
  for (const value of values) {
    writer.int(4);
    writer.int(value);
  }
  return writer.done();
}

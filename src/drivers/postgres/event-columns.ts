/**
 * The columns of a batch of events as binary arrays. Called for every append: building them takes
 * 0.9 µs an event, one JSON document 2.7 µs (1,000 rows).
 */
import type { RoutedEvent } from '../../ports/store.ts';
import { ArrayWriter, oid, postgresEpochMs } from './array-writer.ts';

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

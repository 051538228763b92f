/**
 * CloudEvents on random input: what is printed is read back, and nothing makes reading throw.
 * `FUZZ_SEED=<seed>` repeats a run, `FUZZ_RUNS` makes it longer.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { attributesOf, type ReceivedEvent, readCloudEvent } from './cloud-event.ts';
import { printBatch, printStructured, readBatch, readStructured } from './cloud-event-json.ts';
import { MillraceError } from './errors.ts';
import { defineEvent, type PreparedEvent, prepareEvent } from './event.ts';
import { partitionKey } from './partition.ts';

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env.FUZZ_RUNS ?? 300);

function property<T extends [unknown, ...unknown[]]>(
  name: string,
  arbitraries: { [K in keyof T]: fc.Arbitrary<T[K]> },
  check: (...values: T) => void,
): void {
  test(name, (t) => {
    t.diagnostic(`FUZZ_SEED=${seed}`);
    fc.assert(fc.property(...arbitraries, check), { seed, numRuns });
  });
}

const Anything = defineEvent('Anything', { schema: z.unknown() });
const text = (maxLength: number) => fc.string({ unit: 'binary', minLength: 1, maxLength });
const metadata = fc.dictionary(fc.string({ unit: 'binary', maxLength: 20 }), fc.jsonValue(), {
  maxKeys: 4,
});

/** Random events as they can be in the log; what cannot be published is not tried. */
const events = fc
  .record({
    tenantId: text(20),
    payload: fc.jsonValue({ maxDepth: 4 }),
    key: fc.option(text(20)),
    timestamp: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
    correlationId: fc.option(text(20), { nil: undefined }),
    causationId: fc.option(fc.uuid()),
    eventId: fc.option(fc.uuid(), { nil: undefined }),
    metadata: fc.option(
      fc.oneof(metadata, fc.record({ traceparent: fc.oneof(text(60), fc.jsonValue()) })),
      { nil: undefined },
    ),
  })
  .map((input) => {
    try {
      return prepareEvent(Anything, input as never) as PreparedEvent;
    } catch (error) {
      assert.ok(error instanceof MillraceError, String(error));
      return null;
    }
  })
  .filter((event) => event !== null);

const places = fc.option(
  fc.record({
    logId: fc.uuid(),
    partition: fc.nat(999_999_999),
    offset: fc.nat(2 ** 31).map((n) => n * 1_000),
  }),
);

function expected({ event, payloadJson }: PreparedEvent, place: unknown): unknown {
  return {
    id: event.eventId,
    source: 'millrace',
    type: event.eventType,
    version: event.version,
    tenantId: event.tenantId,
    key: event.key,
    partitionKey: partitionKey(event.tenantId, event.key),
    timestamp: event.timestamp,
    correlationId: event.correlationId,
    causationId: event.causationId,
    dataJson: payloadJson,
    metadata: event.metadata,
    place,
  };
}

/** By members, not by how objects were made. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

property('attributes and data are read back', [events, places], (prepared, place) => {
  const { event, payloadJson, metadataJson } = prepared;
  const texts = new Map(attributesOf(event, metadataJson, { source: 'millrace', place }));
  const read = readCloudEvent((name) => texts.get(name), payloadJson);
  assert.deepEqual(plain(read), plain(expected(prepared, place)));
});

property('a document is read back', [events, places], (prepared, place) => {
  const options = { source: 'millrace', place };
  const read = readStructured(printStructured(prepared, options)) as ReceivedEvent;
  assert.deepEqual(plain(read), plain(expected(prepared, place)));
});

property('a batch is read back', [fc.array(events, { maxLength: 5 })], (prepared) => {
  const read = readBatch(printBatch(prepared, { source: 'millrace', place: null }));
  assert.deepEqual(plain(read), plain(prepared.map((one) => expected(one, null))));
});

const names = [
  'specversion',
  'id',
  'source',
  'type',
  'time',
  'subject',
  'tenantid',
  'eventversion',
  'datacontenttype',
  'metadata',
  'traceparent',
  'logplace',
  'partitionkey',
  'correlationid',
  'causationid',
  'data',
  'data_base64',
];
const likely = fc.constantFrom('1.0', '1', 'shop', '{}', '{"a":1}', 'application/json', 'MQ==');

/** Undefined, or the texts that an event has. */
function assertReadable(read: unknown): void {
  assert.ok(typeof read === 'object' && read !== null);
  if ('problem' in read) {
    assert.equal(typeof read.problem, 'string');
    return;
  }
  const event = read as ReceivedEvent;
  assert.ok(event.id !== '' && event.source !== '' && event.type !== '');
  assert.match(event.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.ok(Number.isSafeInteger(event.version) && event.version >= 1);
  assert.ok(typeof event.metadata === 'object' && !Array.isArray(event.metadata));
}

property(
  'hostile attributes give an event or a problem',
  [
    fc.dictionary(fc.constantFrom(...names), fc.oneof(likely, text(30), fc.string())),
    fc.oneof(likely, text(30), fc.json()),
  ],
  (attributes, data) => {
    const given: Record<string, string> = { specversion: '1.0', id: '1', source: 's', type: 't' };
    Object.assign(given, attributes);
    assertReadable(
      readCloudEvent((name) => (Object.hasOwn(given, name) ? given[name] : undefined), data),
    );
  },
);

const hostileDocument = fc
  .dictionary(
    fc.oneof(fc.constantFrom(...names), text(10)),
    fc.oneof(likely as fc.Arbitrary<unknown>, fc.jsonValue() as fc.Arbitrary<unknown>),
  )
  .map((members) => ({ specversion: '1.0', id: '1', source: 's', type: 't', ...members }));

property('hostile documents give an event or a problem', [hostileDocument], (document) => {
  assertReadable(readStructured(JSON.stringify(document)));
});

const spoiled = fc.tuple(hostileDocument, fc.nat(), fc.nat(4), fc.string({ maxLength: 3 }));

property('spoiled text gives an event or a problem', [spoiled], ([document, at, cut, insert]) => {
  const whole = JSON.stringify(document);
  const i = at % (whole.length + 1);
  assertReadable(readStructured(whole.slice(0, i) + insert + whole.slice(i + cut)));
  const batch = readBatch(`[${whole.slice(0, i)}${insert}${whole.slice(i + cut)}]`);
  if (Array.isArray(batch)) for (const one of batch) assertReadable(one);
  else assertReadable(batch);
});

property('any text at all gives an event or a problem', [fc.string({ unit: 'binary' })], (any) => {
  assertReadable(readStructured(any));
  const batch = readBatch(any);
  if (Array.isArray(batch)) for (const one of batch) assertReadable(one);
  else assertReadable(batch);
});

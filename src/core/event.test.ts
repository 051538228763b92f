import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { MillraceError } from './errors.ts';
import {
  defineEvent,
  type EventDefinition,
  type EventInput,
  prepareEvent,
  type StoredEvent,
} from './event.ts';
import { eventIdTime, isUuid } from './ids.ts';

const OrderPaid = defineEvent('OrderPaid', {
  schema: z.object({
    orderId: z.string(),
    amount: z.number(),
    lines: z.array(z.object({ sku: z.string() })).optional(),
  }),
  key: ({ orderId }) => orderId,
});
const anything = defineEvent('Anything', { schema: z.unknown() });

const payload = { orderId: 'order-7', amount: 12.5 };
const prepare = (extra: Partial<EventInput<typeof payload>> = {}) =>
  prepareEvent(OrderPaid, { tenantId: 'acme', payload, ...extra });

test('an event gets an id, a time, its key and a correlation of its own', () => {
  const nowMs = Date.parse('2100-01-31T12:00:00.123Z');
  const prepared = prepareEvent(OrderPaid, { tenantId: 'acme', payload }, { nowMs });
  const { eventId, ...rest } = prepared.event;
  assert.ok(isUuid(eventId));
  assert.equal(eventIdTime(eventId), nowMs);
  assert.deepEqual(rest, {
    eventType: 'OrderPaid',
    version: 1,
    tenantId: 'acme',
    key: 'order-7',
    timestamp: '2100-01-31T12:00:00.123Z',
    correlationId: 'order-7',
    causationId: null,
    payload,
    metadata: {},
  });
  assert.equal(prepared.payloadJson, '{"orderId":"order-7","amount":12.5}');
  assert.equal(prepared.metadataJson, null);
  assert.equal(prepared.checkDuplicate, false);
});

test('an event cannot be changed, and its source stays as it was (P9-3)', () => {
  const source = { ...payload, lines: [{ sku: 'a' }] };
  const { event } = prepareEvent(OrderPaid, {
    tenantId: 'acme',
    payload: source,
    metadata: { trace: { id: 1 } },
  });
  for (const part of [event, event.payload, event.payload.lines, event.payload.lines?.[0]]) {
    assert.ok(Object.isFrozen(part));
  }
  assert.ok(Object.isFrozen(event.metadata) && Object.isFrozen(event.metadata.trace));
  assert.ok(!Object.isFrozen(source.lines));
  assert.throws(() => {
    (event as { tenantId: string }).tenantId = 'other';
  }, TypeError);
});

test('what the publisher gives goes before the defaults', () => {
  const { event, checkDuplicate, metadataJson } = prepare({
    eventId: '017F22E2-79B0-7CC3-98C4-DC0C0C07398F',
    key: 'other',
    timestamp: '2025-01-31T13:00:00+01:00',
    correlationId: 'trace-1',
    causationId: '6FA459EA-EE8A-4CA4-894E-DB77E160355E',
    metadata: { source: 'test' },
  });
  assert.equal(event.eventId, '017f22e2-79b0-7cc3-98c4-dc0c0c07398f');
  assert.equal(event.key, 'other');
  assert.equal(event.timestamp, '2025-01-31T12:00:00.000Z');
  assert.equal(event.correlationId, 'trace-1');
  assert.equal(event.causationId, '6fa459ea-ee8a-4ca4-894e-db77e160355e');
  assert.equal(metadataJson, '{"source":"test"}');
  assert.equal(checkDuplicate, true);
});

test('without a key the event id is the correlation', () => {
  for (const { event } of [
    prepare({ key: null }),
    prepareEvent(anything, { tenantId: 'acme', payload: 1 }),
  ]) {
    assert.equal(event.key, null);
    assert.equal(event.correlationId, event.eventId);
  }
});

test('the payload is what the schema gives, not what it was given', () => {
  const Defaulted = defineEvent('Defaulted', {
    schema: z.object({ n: z.number().default(7) }),
  });
  const input = { tenantId: 'acme', payload: { extra: 1 } } as never;
  assert.equal(prepareEvent(Defaulted, input).payloadJson, '{"n":7}');
  assert.equal(prepareEvent(anything, { tenantId: 'a', payload: null }).payloadJson, 'null');
});

test('empty metadata is none', () => {
  const { event, metadataJson } = prepare({ metadata: {} });
  assert.deepEqual(event.metadata, {});
  assert.equal(metadataJson, null);
});

function refusal(run: () => unknown): MillraceError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof MillraceError, String(error));
    return error;
  }
  assert.fail('was accepted');
}

test('a payload that breaks the schema is refused by type and path', () => {
  const wrong = { orderId: 'order-7', amount: 'x', lines: [{ sku: 1 }] } as never;
  const error = refusal(() => prepareEvent(OrderPaid, { tenantId: 'acme', payload: wrong }));
  assert.equal(error.code, 'EVENT_INVALID');
  assert.match(error.message, /^OrderPaid: payload\.amount: .*; payload\.lines\[0\]\.sku: .*\.$/);
  const { eventType, issues } = error.details as { eventType: string; issues: unknown[] };
  assert.equal(eventType, 'OrderPaid');
  assert.equal(issues.length, 2);
});

test('each wrong field is refused by its name', () => {
  const cases: readonly [Record<string, unknown>, string, RegExp][] = [
    [{ tenantId: '' }, 'EVENT_INVALID', /^tenantId /],
    [{ tenantId: undefined }, 'EVENT_INVALID', /^tenantId is undefined/],
    [{ key: '' }, 'EVENT_INVALID', /^key /],
    [{ timestamp: 'now' }, 'EVENT_INVALID', /^timestamp /],
    [{ correlationId: '' }, 'EVENT_INVALID', /^correlationId /],
    [{ causationId: 'x' }, 'EVENT_INVALID', /^causationId /],
    [{ eventId: 'x' }, 'EVENT_INVALID', /^eventId /],
    [{ metadata: [] }, 'EVENT_INVALID', /^OrderPaid: metadata is an array, not an object\.$/],
    [{ metadata: { a: [Number.NaN] } }, 'PAYLOAD_NOT_JSON', /^metadata\.a\[0\] is NaN/],
  ];
  for (const [extra, code, message] of cases) {
    const error = refusal(() => prepare(extra));
    assert.equal(error.code, code);
    assert.match(error.message, message);
  }
  const nothing: unknown = undefined;
  assert.equal(
    refusal(() => prepareEvent(OrderPaid, nothing as never)).message,
    'OrderPaid: the event is undefined, not { tenantId, payload, … }.',
  );
});

test('what the schema lets through must be JSON all the same', () => {
  const error = refusal(() =>
    prepareEvent(anything, { tenantId: 'acme', payload: { at: new Date() } }),
  );
  assert.equal(error.code, 'PAYLOAD_NOT_JSON');
  assert.equal(error.message, 'payload.at is a Date, not a plain object.');
  assert.equal(error.fix, 'Use toISOString().');
});

test('payloads reach up to 1 MiB of UTF-8 and no further', () => {
  const publish = (text: string) => prepareEvent(anything, { tenantId: 'acme', payload: text });
  assert.equal(publish('x'.repeat(1_048_574)).payloadJson.length, 1_048_576);
  assert.equal(publish('ä'.repeat(524_287)).payloadJson.length, 524_289);
  const error = refusal(() => publish('ä'.repeat(524_288)));
  assert.equal(error.code, 'EVENT_TOO_LARGE');
  assert.equal(
    error.message,
    'Anything: payload takes 1048578 bytes as JSON; 1048576 are allowed.',
  );
  const limits = { payloadBytesMax: 10, metadataBytesMax: 10 };
  const small = { tenantId: 'acme', payload: 'x'.repeat(8) };
  prepareEvent(anything, small, { limits });
  assert.match(
    refusal(() => prepareEvent(anything, { ...small, metadata: { a: 12345 } }, { limits })).message,
    /^Anything: metadata takes 11 bytes/,
  );
});

test('a key function that throws or gives no text is named', () => {
  const Broken = defineEvent('Broken', {
    schema: z.unknown(),
    key: () => {
      throw new TypeError('no such member');
    },
  });
  const error = refusal(() => prepareEvent(Broken, { tenantId: 'acme', payload: 1 }));
  assert.equal(error.message, 'Broken: its key function threw.');
  assert.ok(error.cause instanceof TypeError);
  const Numeric = defineEvent('Numeric', { schema: z.unknown(), key: (() => 7) as never });
  const numeric = refusal(() => prepareEvent(Numeric, { tenantId: 'acme', payload: 1 }));
  assert.equal(numeric.message, 'key is a number, not a string.');
});

test('a definition is checked where it is written', () => {
  const schema = z.unknown();
  const cases: readonly [() => unknown, RegExp][] = [
    [() => defineEvent('', { schema }), /^The event type '' is not a name/],
    [() => defineEvent('7Up', { schema }), /is not a name/],
    [() => defineEvent('a'.repeat(129), { schema }), /is not a name/],
    [() => defineEvent('A', { schema, version: 0 }), /^A: version is 0, not a whole number/],
    [() => defineEvent('A', { schema, version: 1.5 }), /^A: version is 1.5/],
    [
      () => defineEvent('A', { schema: {} as never }),
      /^A: schema is an object, which does not implement/,
    ],
    [
      () => defineEvent('A', { schema, version: 3, upcasters: { 1: (p) => p } }),
      /^A: version is 3, but there is no upcaster from version 2\.$/,
    ],
    [
      () => defineEvent('A', { schema, upcasters: { 1: (p) => p } }),
      /^A: there is an upcaster from version 1, but version is 1\.$/,
    ],
  ];
  for (const [define, message] of cases) {
    const error = refusal(define);
    assert.equal(error.code, 'DEFINITION_INVALID');
    assert.match(error.message, message);
  }
  assert.throws(() => defineEvent('A', { schema, retry: { jitter: 9 } }), {
    code: 'CONFIG_INVALID',
    message: 'A.retry.jitter is 9, not from 0 to 1.',
  });
  assert.equal(defineEvent('a.b-c_D9', { schema }).retry, undefined);
  assert.equal(defineEvent('A', { schema, retry: { maxRetries: 9 } }).retry?.maxRetries, 9);
});

test('upcasters run one after the other, from the version stored', () => {
  const Renamed = defineEvent('Renamed', {
    version: 3,
    schema: z.object({ cents: z.int(), currency: z.string() }),
    upcasters: {
      1: ({ amount }: { amount: number }) => ({ cents: Math.round(amount * 100) }),
      2: (old: { cents: number }) => ({ ...old, currency: 'EUR' }),
    },
  });
  assert.deepEqual(Renamed.upcast({ amount: 1.5 }, 1), { cents: 150, currency: 'EUR' });
  assert.deepEqual(Renamed.upcast({ cents: 7 }, 2), { cents: 7, currency: 'EUR' });
  const present = { cents: 7, currency: 'USD' };
  assert.equal(Renamed.upcast(present, 3), present);
  for (const version of [0, 4, 1.5]) {
    assert.throws(() => Renamed.upcast({}, version), {
      code: 'EVENT_VERSION_UNSUPPORTED',
      message: `Renamed: version ${version} was stored; versions 1 to 3 are known here.`,
    });
  }
});

test('the compiler knows payloads: read-only, publishable again, a kind of unknown', () => {
  type Paid = typeof OrderPaid extends EventDefinition<infer P> ? P : never;
  const { event } = prepare();
  const stored: StoredEvent<Paid> = { ...event, partition: 0, offset: 1 };
  const general: StoredEvent = stored;
  const definitions: EventDefinition[] = [OrderPaid, anything];
  assert.equal(
    prepareEvent(OrderPaid, { tenantId: 'acme', payload: stored.payload }).event.key,
    event.key,
  );
  // @ts-expect-error not every event is an OrderPaid
  const back: StoredEvent<Paid> = general;
  assert.throws(() => {
    // @ts-expect-error payloads are read-only
    stored.payload.amount = 0;
  }, TypeError);
  // @ts-expect-error amount is a number
  assert.throws(() => prepare({ payload: { orderId: 'order-7', amount: 'x' } }));
  assert.equal(definitions.length + back.offset, 3);
});

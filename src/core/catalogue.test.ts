import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { createCatalogue } from './catalogue.ts';
import { defineEvent, type StoredEvent } from './event.ts';

const Plain = defineEvent('Plain', { schema: z.unknown() });
const Moved = defineEvent('Moved', {
  version: 2,
  schema: z.object({ to: z.string() }),
  upcasters: { 1: ({ target }: { target: string }) => ({ to: target.toLowerCase() }) },
});
const catalogue = createCatalogue([Plain, Moved]);

const stored = (eventType: string, version: number, payload: unknown): StoredEvent => ({
  eventId: '017f22e2-79b0-7cc3-98c4-dc0c0c07398f',
  eventType,
  version,
  tenantId: 'acme',
  key: null,
  timestamp: '2025-01-31T12:00:00.000Z',
  correlationId: 'c',
  causationId: null,
  payload: payload as StoredEvent['payload'],
  metadata: {},
  partition: 3,
  offset: 9,
});

test('definitions are found by type, in the order given', () => {
  assert.equal(catalogue.get('Moved'), Moved);
  assert.equal(catalogue.get('constructor'), undefined);
  assert.deepEqual(catalogue.types(), ['Plain', 'Moved']);
});

test('one type has one definition', () => {
  createCatalogue([Plain, Plain]);
  const Other = defineEvent('Plain', { schema: z.string() });
  assert.throws(() => createCatalogue([Plain, Other]), {
    code: 'DEFINITION_INVALID',
    message: 'The event type Plain is defined twice.',
  });
});

test('an event of the present version is handed on as it is', () => {
  const event = stored('Moved', 2, { to: 'x' });
  assert.equal(catalogue.decode(event), event);
});

test('an older event comes out in the present shape, frozen', () => {
  const event = catalogue.decode(stored('Moved', 1, Object.freeze({ target: 'X' })));
  assert.deepEqual(event, stored('Moved', 2, { to: 'x' }));
  assert.ok(Object.isFrozen(event) && Object.isFrozen(event.payload));
});

test('a newer event is refused unless future versions are allowed', () => {
  const event = stored('Moved', 3, { to: 'x', by: 'y' });
  assert.throws(() => catalogue.decode(event), {
    code: 'EVENT_VERSION_UNSUPPORTED',
    retryable: false,
  });
  assert.equal(catalogue.decode(event, { allowFutureVersions: true }), event);
});

test('an unknown type is named beside the known ones', () => {
  assert.throws(() => catalogue.decode(stored('Gone', 1, {})), {
    code: 'EVENT_UNKNOWN',
    message: 'The event type Gone is not defined here. Known: Plain, Moved.',
  });
  const many = Array.from({ length: 12 }, (_, i) => defineEvent(`T${i}`, { schema: z.unknown() }));
  assert.throws(() => createCatalogue(many).decode(stored('Gone', 1, {})), {
    message: /Known: T0, .*, T9 and 2 more\.$/,
  });
  assert.throws(() => createCatalogue([]).decode(stored('Gone', 1, {})), {
    message: /Known: none\.$/,
  });
});

test('an upcaster that throws, or gives what is not JSON, is named with the event', () => {
  const said = /^Moved: event 017f22e2-\S+ of version 1 could not be upcast: /;
  assert.throws(() => catalogue.decode(stored('Moved', 1, {})), {
    code: 'EVENT_INVALID',
    message: said,
    fix: 'Mend the upcasters of Moved, then retry the event.',
  });
  const Dated = defineEvent('Dated', {
    version: 2,
    schema: z.unknown(),
    upcasters: { 1: () => ({ at: new Date() }) },
  });
  assert.throws(() => createCatalogue([Dated]).decode(stored('Dated', 1, {})), {
    message: /could not be upcast: payload\.at is a Date, not a plain object\.$/,
  });
});

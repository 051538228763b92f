import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { z } from 'zod';
import {
  attributesOf,
  type CloudEventAttributes,
  printPlace,
  type ReceivedEvent,
  readCloudEvent,
} from './cloud-event.ts';
import { printBatch, printStructured, readBatch, readStructured } from './cloud-event-json.ts';
import { defineEvent, prepareEvent } from './event.ts';

const OrderPaid = defineEvent('OrderPaid', {
  version: 2,
  schema: z.object({ orderId: z.string(), cents: z.int() }),
  upcasters: { 1: (payload: object) => payload },
  key: ({ orderId }) => orderId,
});
const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const prepared = prepareEvent(OrderPaid, {
  tenantId: 'acme',
  payload: { orderId: 'O-1', cents: 100 },
  eventId: '01890a5d-ac96-774b-bcce-b302099a8057',
  timestamp: '2026-01-02T03:04:05.678Z',
  causationId: '01890a5d-ac96-774b-bcce-b302099a8000',
  metadata: { traceparent, source: 'till 4', nested: { a: [1] } },
});
const place = { logId: 'b7c1', partition: 3, offset: 41 };
const options = { source: 'millrace', place };

function reader(attributes: CloudEventAttributes | Readonly<Record<string, string>>) {
  const entries = Array.isArray(attributes) ? attributes : Object.entries(attributes);
  const texts = new Map<string, string>(entries as [string, string][]);
  return (name: string) => texts.get(name);
}

function read(attributes: Readonly<Record<string, string>>, data = ''): ReceivedEvent {
  const event = readCloudEvent(reader(attributes), data);
  assert.ok(!('problem' in event), JSON.stringify(event));
  return event;
}

function problem(event: unknown): string {
  assert.ok(event !== null && typeof event === 'object' && 'problem' in event, String(event));
  return event.problem as string;
}

const least = { specversion: '1.0', id: '1', source: 'shop', type: 'OrderPaid' };

describe('CloudEvents as attributes and data', () => {
  test('an event as attributes', () => {
    assert.deepEqual(
      Object.fromEntries(attributesOf(prepared.event, prepared.metadataJson, options)),
      {
        specversion: '1.0',
        id: '01890a5d-ac96-774b-bcce-b302099a8057',
        source: 'millrace',
        type: 'OrderPaid',
        time: '2026-01-02T03:04:05.678Z',
        partitionkey: 'acme:O-1',
        tenantid: 'acme',
        eventversion: '2',
        correlationid: 'O-1',
        subject: 'O-1',
        causationid: '01890a5d-ac96-774b-bcce-b302099a8000',
        metadata: prepared.metadataJson,
        traceparent,
        logplace: 'b7c1/3/41',
      },
    );
    assert.equal(printPlace(place), 'b7c1/3/41');
  });

  test('names of attributes are those that CloudEvents allows', () => {
    for (const [name] of attributesOf(prepared.event, prepared.metadataJson, options)) {
      assert.match(name, /^[a-z0-9]{1,20}$/);
    }
  });

  test('what another producer leaves out has its default', () => {
    const before = Date.now();
    const event = read(least);
    assert.deepEqual(
      { ...event, timestamp: '' },
      {
        id: '1',
        source: 'shop',
        type: 'OrderPaid',
        version: 1,
        tenantId: null,
        key: null,
        partitionKey: null,
        timestamp: '',
        correlationId: null,
        causationId: null,
        dataJson: 'null',
        metadata: {},
        place: null,
      },
    );
    assert.ok(Date.parse(event.timestamp) >= before);
  });

  test('times with another zone or precision are brought to ours', () => {
    const times = {
      '2026-01-02T04:04:05.678912+01:00': '2026-01-02T03:04:05.678Z',
      '2026-01-02T03:04:05Z': '2026-01-02T03:04:05.000Z',
      '2026-01-02t03:04:05.678z': '2026-01-02T03:04:05.678Z',
      '2024-02-29T23:59:59.999Z': '2024-02-29T23:59:59.999Z',
    };
    for (const [time, ours] of Object.entries(times)) {
      assert.equal(read({ ...least, time }).timestamp, ours);
    }
  });

  test('a trace that joined on the way is kept, ours stays', () => {
    assert.deepEqual(read({ ...least, traceparent }).metadata, { traceparent });
    const metadata = '{"a":1}';
    assert.deepEqual(read({ ...least, metadata, traceparent }).metadata, { a: 1, traceparent });
    const own = '{"traceparent":"mine"}';
    assert.deepEqual(read({ ...least, metadata: own, traceparent }).metadata, {
      traceparent: 'mine',
    });
  });

  test('JSON by any of its names is JSON', () => {
    const names = ['application/json', 'text/json', 'Application/JSON; charset=utf-8'];
    for (const datacontenttype of [...names, 'application/vnd.shop.order+json']) {
      assert.equal(read({ ...least, datacontenttype }, '{"a":1}').dataJson, '{"a":1}');
    }
  });

  const wrong: readonly (readonly [string, Record<string, string>])[] = [
    ['it has no CloudEvents specversion', { specversion: '' }],
    ['it is CloudEvents 0.3, not 1.0', { specversion: '0.3' }],
    ['its CloudEvents attribute id is missing', { id: '' }],
    ['its CloudEvents attribute source is missing', { source: '' }],
    ['its CloudEvents attribute type is missing', { type: '' }],
    ['its data is application/xml, not JSON', { datacontenttype: 'application/xml' }],
    ['its data is application/jsonp, not JSON', { datacontenttype: 'application/jsonp' }],
    ['its eventversion is 0, not', { eventversion: '0' }],
    ['its eventversion is 0x2, not', { eventversion: '0x2' }],
    ['its eventversion is 2147483648, not', { eventversion: '2147483648' }],
    ['its time is yesterday, not RFC 3339', { time: 'yesterday' }],
    ['its time is 2026-02-30T00:00:00Z, not RFC 3339', { time: '2026-02-30T00:00:00Z' }],
    ['its time is 2026-02-30T00:00:00.000Z, not', { time: '2026-02-30T00:00:00.000Z' }],
    ['its time is 0000-01-01T00:00:00.000Z, not', { time: '0000-01-01T00:00:00.000Z' }],
    ['its time is Jan 02 2026 03:04:05.67Z, not', { time: 'Jan 02 2026 03:04:05.67Z' }],
    ['its time is 2026-01-02T03:04:05, not RFC 3339', { time: '2026-01-02T03:04:05' }],
    ['its metadata is no JSON object', { metadata: '[1]' }],
    ['its metadata is no JSON object', { metadata: '{' }],
  ];
  for (const [message, attributes] of wrong) {
    test(message, () => {
      const given = { ...least, ...attributes };
      const texts = Object.fromEntries(Object.entries(given).filter(([, text]) => text !== ''));
      assert.ok(problem(readCloudEvent(reader(texts), '')).startsWith(message));
    });
  }

  test('a place that is none is no place', () => {
    for (const logplace of ['', 'x', 'a/1', 'a/-1/2', 'a/1/2/3', '/1/2', 'a/1/1e3']) {
      assert.equal(read({ ...least, logplace }).place, null);
    }
  });
});

describe('CloudEvents as one JSON document', () => {
  test('an event is one object of texts beside its data', () => {
    const document = JSON.parse(printStructured(prepared, options));
    assert.deepEqual(document.data, { orderId: 'O-1', cents: 100 });
    assert.equal(document.datacontenttype, 'application/json');
    const { data: _, datacontenttype: __, ...attributes } = document;
    const printed = attributesOf(prepared.event, prepared.metadataJson, options);
    assert.deepEqual(attributes, Object.fromEntries(printed));
  });

  test('a batch is a list, and each event stands for itself', () => {
    assert.equal((readBatch(printBatch([prepared, prepared], options)) as unknown[]).length, 2);
    const mixed = readBatch(JSON.stringify([least, { ...least, id: null }, 7])) as unknown[];
    assert.equal((mixed[0] as ReceivedEvent).id, '1');
    assert.match(problem(mixed[1]), /attribute id is missing/);
    assert.match(problem(mixed[2]), /is a number, not a JSON object/);
    assert.deepEqual(readBatch('[]'), []);
    assert.match(problem(readBatch('{}')), /is an object, not a list/);
  });

  const readable: readonly (readonly [string, unknown, string])[] = [
    ['no data', {}, 'null'],
    ['null as data', { data: null }, 'null'],
    ['a text as data', { data: 'a' }, '"a"'],
    ['numbers for attributes', { eventversion: 3, data: [1] }, '[1]'],
    ['null for an attribute', { subject: null, data: 1 }, '1'],
    [
      'JSON as bytes',
      { datacontenttype: 'application/json', data_base64: btoa('{"a":1}') },
      '{"a":1}',
    ],
  ];
  for (const [title, members, dataJson] of readable) {
    test(`reads ${title}`, () => {
      const event = readStructured(JSON.stringify({ ...least, ...(members as object) }));
      assert.ok(!('problem' in event), JSON.stringify(event));
      assert.equal(event.dataJson, dataJson);
    });
  }

  const unreadable: readonly (readonly [RegExp, unknown])[] = [
    [/is an object, where attributes are texts/, { source: {} }],
    [/both data and data_base64/, { data: 1, data_base64: 'MQ==' }],
    [/bytes of no content type/, { data_base64: 'MQ==' }],
    [/no UTF-8 text in base64/, { datacontenttype: 'application/json', data_base64: '!' }],
    [/no UTF-8 text in base64/, { datacontenttype: 'application/json', data_base64: '/w==' }],
    [/is text\/plain, not JSON/, { datacontenttype: 'text/plain', data: 'hello' }],
    [/is image\/png, not JSON/, { datacontenttype: 'image/png', data_base64: 'MQ==' }],
  ];
  for (const [message, members] of unreadable) {
    test(`says that ${message.source}`, () => {
      const event = readStructured(JSON.stringify({ ...least, ...(members as object) }));
      assert.match(problem(event), message);
    });
  }

  test('is refused when it would not come out as it was sent', () => {
    for (const text of ['', '{', '{"id":1,"id":2}', '{"data":9007199254740993}', '[[[', 'null']) {
      problem(readStructured(text));
    }
    problem(readStructured('['.repeat(100_000)));
    // No attribute comes from the prototype of an object.
    assert.match(problem(readStructured('{"specversion":"1.0"}')), /id is missing/);
  });
});

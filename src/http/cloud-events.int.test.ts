import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { z } from 'zod';
import { freshDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { names, openMill } from '../../test/support/mill.ts';
import { defineEvent } from '../core/event.ts';
import { isUuid } from '../core/ids.ts';
import { decodeHeader } from './cloud-event-binding.ts';
import { type CloudEventOptions, cloudEventRoutes } from './cloud-event-routes.ts';
import { eventRoutes } from './event-routes.ts';
import type { ErrorBody } from './failures.ts';
import { createHttpServer } from './server.ts';

const database = await freshDatabase();
const structured = { 'content-type': 'application/cloudevents+json' };
const batch = { 'content-type': 'application/cloudevents-batch+json' };
const json = { 'content-type': 'application/json' };

interface Accepted {
  readonly items: readonly {
    readonly id: string;
    readonly eventId: string;
    readonly tenantId: string;
    readonly duplicate: boolean;
  }[];
}

/** Over a real socket: headers are what these tests are about. */
async function open(t: TestContext, options: CloudEventOptions = {}) {
  const { tenant, group } = names();
  const type = `OrderPaid.${tenant}`;
  const OrderPaid = defineEvent(type, {
    version: 2,
    schema: z.object({ orderId: z.string(), cents: z.int() }),
    key: ({ orderId }) => orderId,
    upcasters: {
      1: ({ orderId, amount }: { orderId: string; amount: number }) => ({
        orderId,
        cents: amount * 100,
      }),
    },
  });
  const mill = await openMill(t, database.url, { events: [OrderPaid] });
  const server = createHttpServer({
    routes: [...cloudEventRoutes(mill, options), ...eventRoutes(mill)],
  });
  t.after(() => server.close());
  const url = await server.listen(0);
  const post = async <T = Accepted>(headers: Record<string, string>, body?: unknown) => {
    const response = await fetch(`${url}/cloudevents`, {
      method: 'POST',
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as T };
  };
  const refused = async (headers: Record<string, string>, body?: unknown) => {
    const answer = await post<ErrorBody>(headers, body);
    return { status: answer.status, ...answer.body.error };
  };
  const stored = async (tenantId = tenant) =>
    (await mill.history.list({ tenantId, eventTypes: [type] })).events;
  const payload = { orderId: 'O-1', cents: 100 };
  const document = {
    specversion: '1.0',
    id: 'order/1',
    source: 'https://shop.example/till 4',
    type,
    eventversion: 2,
    tenantid: tenant,
    time: '2026-01-02T04:04:05+01:00',
    data: payload,
  };
  return { mill, url, post, refused, stored, OrderPaid, tenant, group, type, document, payload };
}

test('an event in structured mode becomes an event of the log, once', async (t) => {
  const { mill, post, stored, OrderPaid, group, tenant, document, payload } = await open(t);
  const handled: unknown[] = [];
  mill.subscribe({
    group,
    events: [OrderPaid],
    handle: (event) => void handled.push(event.payload),
  });
  await mill.start();
  const first = await post(structured, document);
  assert.equal(first.status, 202);
  const [item] = first.body.items;
  assert.ok(item && isUuid(item.eventId));
  assert.deepEqual(item, {
    id: 'order/1',
    eventId: item.eventId,
    tenantId: tenant,
    duplicate: false,
  });
  const again = await post(structured, document);
  assert.deepEqual(again.body.items, [{ ...item, duplicate: true }]);
  await eventually('the handler', () => handled.length === 1);
  const [event, ...more] = await stored();
  assert.equal(more.length, 0);
  assert.equal(event?.eventId, item.eventId);
  assert.equal(event?.key, 'O-1'); // found in the payload by the definition
  assert.equal(event?.timestamp, '2026-01-02T03:04:05.000Z');
  assert.deepEqual(event?.metadata, {
    'cloudevents.source': 'https://shop.example/till 4',
    'cloudevents.id': 'order/1',
  });
  assert.deepEqual(handled, [payload]);
});

test('an event in binary mode has its attributes in headers', async (t) => {
  const { post, stored, tenant, type } = await open(t);
  const id = '01890a5d-ac96-774b-bcce-b302099a8057';
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const headers = {
    ...json,
    'x-tenant-id': tenant,
    'ce-specversion': '1.0',
    'ce-id': id,
    'ce-source': 'shop',
    'ce-type': type,
    'ce-subject': 'Bestellung%20%E2%82%AC%201',
    'ce-traceparent': traceparent,
  };
  // Version 1, so the definition brings it to its present shape.
  const { status, body } = await post(headers, { orderId: 'O-2', amount: 3 });
  assert.equal(status, 202);
  assert.equal(body.items[0]?.eventId, id);
  const [event] = await stored();
  assert.equal(event?.key, 'Bestellung € 1');
  assert.equal(event?.version, 2);
  assert.deepEqual(event?.payload, { orderId: 'O-2', cents: 300 });
  assert.deepEqual(event?.metadata, { traceparent, 'cloudevents.source': 'shop' });
});

test('a batch is stored as a whole or not at all', async (t) => {
  const { post, refused, stored, document } = await open(t);
  const three = [1, 2, 3].map((n) => ({ ...document, id: `b-${n}` }));
  const spoiled = [...three, { ...document, id: 'b-4', data: { orderId: 'O-1', cents: '1' } }];
  const problem = await refused(batch, spoiled);
  assert.equal(problem.status, 400);
  assert.equal(problem.code, 'EVENT_INVALID');
  assert.match(problem.message, /^Event 3 of the batch: .*payload\.cents/);
  assert.equal(problem.details?.index, 3);
  assert.equal((await stored()).length, 0);
  const { status, body } = await post(batch, three);
  assert.equal(status, 202);
  assert.deepEqual(
    body.items.map(({ id }) => id),
    ['b-1', 'b-2', 'b-3'],
  );
  assert.equal((await stored()).length, 3);
  assert.equal((await post(batch, [])).body.items.length, 0);
});

test('the tenant of the header and of the event must be the same', async (t) => {
  const { post, refused, stored, tenant, document } = await open(t);
  const other = await refused({ ...structured, 'x-tenant-id': 'somebody-else' }, document);
  assert.deepEqual([other.status, other.code], [403, 'TENANT_MISMATCH']);
  const { tenantid: _, ...without } = document;
  const nobody = await refused(structured, without);
  assert.deepEqual([nobody.status, nobody.code], [400, 'REQUEST_INVALID']);
  const odd = await refused(structured, { ...document, tenantid: 'x'.repeat(129) });
  assert.deepEqual([odd.status, odd.code], [400, 'REQUEST_INVALID']);
  assert.equal((await stored()).length, 0);
  assert.equal((await post({ ...structured, 'x-tenant-id': tenant }, without)).status, 202);
  assert.equal((await stored()).length, 1);
});

test('what cannot become an event is refused with its reason', async (t) => {
  const { refused, stored, document } = await open(t);
  const wrong: readonly (readonly [number, string, RegExp, object])[] = [
    [400, 'EVENT_UNKNOWN', /'Nobody\.Knows' is not defined/, { type: 'Nobody.Knows' }],
    [400, 'EVENT_VERSION_UNSUPPORTED', /version 3; 2 is known/, { eventversion: 3 }],
    [400, 'EVENT_INVALID', /payload\.cents/, { data: { orderId: 'O-1' } }],
    [400, 'EVENT_INVALID', /payload/, { data: null }],
    [400, 'REQUEST_INVALID', /its time is soon/, { time: 'soon' }],
    [400, 'REQUEST_INVALID', /CloudEvents 0\.3/, { specversion: '0.3' }],
    [400, 'REQUEST_INVALID', /attribute source is missing/, { source: '' }],
    [400, 'REQUEST_INVALID', /not JSON/, { datacontenttype: 'text/xml', data: '<a/>' }],
    [400, 'REQUEST_INVALID', /key has 600/, { subject: 'k'.repeat(600) }],
  ];
  for (const [status, code, message, members] of wrong) {
    const problem = await refused(structured, { ...document, ...members });
    assert.deepEqual([problem.status, problem.code], [status, code], problem.message);
    assert.match(problem.message, message);
  }
  const none = await refused(json, { a: 1 });
  assert.match(none.message, /no CloudEvents specversion/);
  const text = await refused({ 'content-type': 'text/plain', 'ce-specversion': '1.0' }, 'x');
  assert.equal(text.status, 415);
  assert.equal((await stored()).length, 0);
});

test('unknown types are taken where that is configured', async (t) => {
  const { mill, post, tenant, document } = await open(t, { unknownTypes: 'accept' });
  const type = `com.shop.order.${tenant}`;
  const { status } = await post(structured, { ...document, type, data: { any: ['thing'] } });
  assert.equal(status, 202);
  const { events } = await mill.history.list({ tenantId: tenant, eventTypes: [type] });
  assert.deepEqual(events[0]?.payload, { any: ['thing'] });
});

test('an event is shown as a CloudEvent, in either mode, and can be posted back', async (t) => {
  const { mill, url, post, OrderPaid, tenant, payload } = await open(t);
  const { eventId, offset, partition } = await mill.publish(OrderPaid, {
    tenantId: tenant,
    key: 'Kunde 7 €',
    payload,
    metadata: { note: 'ä' },
  });
  const headers = { 'x-tenant-id': tenant };
  const binary = await fetch(`${url}/cloudevents/${eventId}`, { headers });
  assert.equal(binary.headers.get('ce-id'), eventId);
  assert.equal(binary.headers.get('ce-tenantid'), tenant);
  assert.equal(decodeHeader(binary.headers.get('ce-subject') ?? ''), 'Kunde 7 €');
  assert.equal(binary.headers.get('content-type'), 'application/json; charset=utf-8');
  const place = `${mill.store.logId}/${partition}/${offset}`;
  assert.equal(binary.headers.get('ce-logplace'), place);
  assert.deepEqual(await binary.json(), payload);

  const asks = { ...headers, accept: 'application/cloudevents+json' };
  for (const path of ['cloudevents', 'api/events']) {
    const answer = await fetch(`${url}/${path}/${eventId}`, { headers: asks });
    assert.match(answer.headers.get('content-type') ?? '', /^application\/cloudevents\+json/);
    const document = (await answer.json()) as Record<string, unknown>;
    assert.deepEqual(document.data, payload);
    assert.equal(document.subject, 'Kunde 7 €');
    // The same event, sent back, is there already.
    const { body } = await post(structured, document);
    assert.equal(body.items[0]?.duplicate, true);
  }
  const plain = await fetch(`${url}/api/events/${eventId}`, { headers });
  assert.equal(((await plain.json()) as { eventId: string }).eventId, eventId);
  const unknown = await fetch(`${url}/cloudevents/${eventId}`, {
    headers: { 'x-tenant-id': 'somebody-else' },
  });
  assert.equal(unknown.status, 404);
});

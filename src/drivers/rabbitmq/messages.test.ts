import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode, headersFit } from './messages.ts';
import { eventOf } from './test-member.ts';

test('an event comes back the same', () => {
  const outgoing = {
    ...eventOf('orders', { 'n°': [1, null] }, { partition: 3, key: 'Zürich' }),
    metadataJson: '{"a":1}',
    place: { logId: 'log', partition: 3, offset: 9 },
  };
  const { envelope, body } = encode(outgoing, '/shop');
  assert.deepEqual([envelope.exchange, envelope.routingKey], ['orders', '3']);
  assert.ok(envelope.durable);
  const { event, problem } = decode({ ...envelope, body } as never);
  assert.equal(problem, null);
  assert.equal(event?.id, outgoing.event.eventId);
  assert.deepEqual([event?.key, event?.tenantId, event?.source], ['Zürich', 'acme', '/shop']);
  assert.equal(event?.dataJson, outgoing.payloadJson);
  assert.deepEqual(event?.metadata, { a: 1 });
  assert.deepEqual(event?.place, outgoing.place);
});

test('headers fit into a frame by their bytes, not by their characters', () => {
  const withMetadata = (text: string) =>
    encode({ ...eventOf('orders', 1), metadataJson: JSON.stringify({ text }) }, 'millrace');
  assert.ok(headersFit(withMetadata('x'), 8_192));
  assert.ok(headersFit(withMetadata('x'.repeat(7_000)), 8_192));
  assert.ok(!headersFit(withMetadata('x'.repeat(8_000)), 8_192));
  assert.ok(!headersFit(withMetadata('é'.repeat(4_000)), 8_192));
});

test('the JSON of other clients is taken as the client of RabbitMQ gives it', () => {
  const headers = {
    'cloudEvents:specversion': '1.0',
    'cloudEvents:id': Buffer.from('1'),
    'cloudEvents:source': 's',
    'cloudEvents:type': 't',
    'cloudEvents:eventversion': 2,
    'cloudEvents:time': new Date(0),
  };
  const parsed = decode({ headers, contentType: 'application/json', body: { a: [1] } });
  assert.equal(parsed.event?.dataJson, '{"a":[1]}');
  assert.deepEqual([parsed.event?.id, parsed.event?.version], ['1', 2]);
  assert.equal(parsed.event?.timestamp, '1970-01-01T00:00:00.000Z');
  const jms = Object.entries(headers).map(([name, value]) => [name.replace(':', '_'), value]);
  const alike = decode({ ...parsed, headers: Object.fromEntries(jms), body: { a: [1] } } as never);
  assert.deepEqual(alike.event, parsed.event);
  const bare = decode({ body: Buffer.from([0xff, 0x00]) });
  assert.equal(bare.event, null);
  assert.deepEqual([...(bare.raw ?? [])], [0xff, 0x00]);
});

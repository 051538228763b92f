import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { ReceivedEvent } from '../core/cloud-event.ts';
import type { JsonValue } from '../core/json.ts';
import {
  decodeHeader,
  encodeHeader,
  printHeaders,
  readRequest,
  wantsStructured,
} from './cloud-event-binding.ts';

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const least = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': 'shop', 'ce-type': 'Paid' };

describe('CloudEvents in HTTP headers', () => {
  test('texts are percent-encoded as the binding says', () => {
    // The example of the specification, section 3.1.3.2.
    assert.equal(encodeHeader('Euro € 😀'), 'Euro%20%E2%82%AC%20%F0%9F%98%80');
    assert.equal(decodeHeader('Euro%20%E2%82%AC%20%F0%9F%98%80'), 'Euro € 😀');
    assert.equal(encodeHeader('a"b%c\u007f\n~!'), 'a%22b%25c%7F%0A~!');
    assert.deepEqual(printHeaders([['subject', 'ä']]), { 'ce-subject': '%C3%A4' });
  });

  test('decoding takes what other producers send', () => {
    assert.equal(decodeHeader('plain'), 'plain');
    assert.equal(decodeHeader('"in quotes"'), 'in quotes');
    assert.equal(decodeHeader('"say \\"hi\\" \\\\"'), 'say "hi" \\');
    assert.equal(decodeHeader('%41%e2%82%ac'), 'A€');
    assert.equal(decodeHeader('100%'), '100%');
    assert.equal(decodeHeader('%zz%4'), '%zz%4');
    assert.equal(decodeHeader('%ff'), '\ufffd');
    // Once and not again: %2541 is `%41` and not `A`.
    assert.equal(decodeHeader('%2541'), '%41');
  });

  test('any text comes back, in characters that a header may have', (t) => {
    t.diagnostic(`FUZZ_SEED=${seed}`);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const encoded = encodeHeader(text);
        assert.match(encoded, /^[\x21-\x7e]*$/);
        assert.equal(decodeHeader(encoded), text.toWellFormed());
      }),
      { seed, numRuns: 200 },
    );
  });
});

describe('a request is read', () => {
  test('in binary mode from headers and data', () => {
    const headers = { ...least, 'ce-subject': 'E%C3%A9', 'content-type': 'application/json' };
    const { mode, events } = readRequest(headers, { cents: 1 });
    assert.equal(mode, 'binary');
    const [event] = events as readonly ReceivedEvent[];
    assert.equal(event?.key, 'Eé');
    assert.equal(event?.dataJson, '{"cents":1}');
    assert.equal((readRequest(least, undefined).events[0] as ReceivedEvent).dataJson, 'null');
    assert.ok('problem' in (readRequest({}, {}).events[0] as object));
  });

  const document = { specversion: '1.0', id: '1', source: 'shop', type: 'Paid', data: [1] };

  test('in structured mode from the body alone', () => {
    const headers = { 'content-type': 'application/cloudevents+json; charset=UTF-8', ...least };
    const { mode, events } = readRequest({ ...headers, 'ce-id': 'of the header' }, document);
    assert.equal(mode, 'structured');
    assert.equal((events[0] as ReceivedEvent).id, '1');
  });

  test('as a batch', () => {
    const headers = { 'content-type': 'application/cloudevents-batch+json' };
    const { mode, events } = readRequest(headers, [document, { a: 1 }] as unknown as JsonValue);
    assert.equal(mode, 'batch');
    assert.equal(events.length, 2);
    assert.ok('problem' in (events[1] as object));
    assert.throws(() => readRequest(headers, document), { code: 'REQUEST_INVALID' });
  });

  test('but not in formats that nobody here reads', () => {
    const headers = { 'content-type': 'application/cloudevents+xml' };
    assert.throws(() => readRequest(headers, undefined), { code: 'REQUEST_INVALID' });
  });
});

test('a caller that takes CloudEvents as JSON gets them so', () => {
  assert.equal(wantsStructured({ accept: 'application/cloudevents+json' }), true);
  assert.equal(wantsStructured({ accept: 'text/html, Application/CloudEvents+JSON;q=0.9' }), true);
  assert.equal(wantsStructured({ accept: 'application/json' }), false);
  assert.equal(wantsStructured({ accept: '*/*' }), false);
  assert.equal(wantsStructured({}), false);
});

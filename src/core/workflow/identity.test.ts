/** Which requests mean the same run. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, test } from 'node:test';
import { MillraceError } from '../errors.ts';
import { canonicalJson } from './canonical-json.ts';
import { type IdentityStrategy, runIdentity } from './identity.ts';

const hash = (text: string) => createHash('sha256').update(text).digest('hex');
const identify = (strategy: IdentityStrategy, inputJson: string, key?: string) =>
  runIdentity({ namespace: 'shop', name: 'order', strategy, inputJson, key, hash });
const refused = (error: unknown) =>
  error instanceof MillraceError && error.code === 'WORKFLOW_INPUT_INVALID' && error.fix !== '';

describe('strict', () => {
  test('counts input as data: not order, spaces or the spelling of numbers', () => {
    const one = identify('strict', '{"a":1,"b":{"c":[1,2],"d":"é"}}');
    assert.equal(identify('strict', ' {"b": {"d": "\\u00e9", "c": [1.0, 2e0]}, "a": 1}'), one);
    assert.match(one ?? '', /^input:[0-9a-f]{64}$/);
  });

  test('sees every difference', () => {
    const inputs = ['{}', '[]', 'null', '0', '"0"', '{"a":1}', '{"a":"1"}', '{"a":null}', '[1,2]'];
    const all = [...inputs, '[2,1]', '{"a":[]}', '{"a":{}}', '{"":1}', 'false', '""'];
    assert.equal(new Set(all.map((input) => identify('strict', input))).size, all.length);
  });
});

test('caller_provided asks for a key', () => {
  assert.throws(() => identify('caller_provided', '{}'), refused);
  assert.equal(identify('caller_provided', '{}', 'order-7'), 'key:order-7');
});

test('always_unique has none', () => {
  assert.equal(identify('always_unique', '{}'), null);
});

test('a key of the request is more than the strategy, and never looks like a hash', () => {
  for (const strategy of ['strict', 'caller_provided', 'always_unique'] as const) {
    assert.equal(identify(strategy, '{}', 'k'), 'key:k');
  }
  const own = identify('strict', '{}') as string;
  assert.notEqual(identify('strict', '{}', own), own);
});

test('keys that cannot be stored are refused', () => {
  for (const key of ['', 'x'.repeat(256), 'a\0b', '\ud800']) {
    assert.throws(() => identify('strict', '{}', key), refused, JSON.stringify(key));
  }
});

test('canonical JSON is JSON with sorted members', () => {
  const text = canonicalJson({ b: [1, { z: null, a: 'x"' }], a: true, '': -0 });
  assert.equal(text, '{"":0,"a":true,"b":[1,{"a":"x\\"","z":null}]}');
  assert.deepEqual(JSON.parse(text), { b: [1, { z: null, a: 'x"' }], a: true, '': 0 });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import vm from 'node:vm';
import { MillraceError } from './errors.ts';
import {
  checkJson,
  freezeJson,
  type JsonLimits,
  type JsonValue,
  parseJson,
  parseStored,
} from './json.ts';

function refusal(run: () => unknown): MillraceError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof MillraceError, String(error));
    assert.equal(error.code, 'PAYLOAD_NOT_JSON');
    assert.match(error.fix, /^[A-Z].*\.$/s);
    return error;
  }
  assert.fail('was accepted');
}

const refused = (value: unknown, limits?: JsonLimits) =>
  refusal(() => freezeJson(value, limits)).message;

test('freezeJson copies and freezes all the way down', () => {
  const value = { a: [1, { b: 'x' }], c: null, d: true, e: {} };
  const frozen = freezeJson(value) as { a: [number, { b: string }] };
  assert.deepEqual(frozen, value);
  assert.ok(Object.isFrozen(frozen) && Object.isFrozen(frozen.a) && Object.isFrozen(frozen.a[1]));
  assert.ok(!Object.isFrozen(value) && !Object.isFrozen(value.a));
});

test('freezeJson gives what a round trip through text gives', () => {
  const value = {
    gone: undefined,
    minusZero: -0,
    inArray: [-0],
    [Symbol('s')]: 1,
    7: 'number-like',
    nested: { gone: undefined, stays: 1 },
  };
  const frozen = freezeJson(value);
  assert.deepStrictEqual(frozen, JSON.parse(JSON.stringify(value)));
  assert.equal(JSON.stringify(frozen), JSON.stringify(value));
  const symbolOnly = { a: 1, [Symbol('s')]: 2 };
  assert.deepStrictEqual(freezeJson(symbolOnly), { a: 1 });
  for (const scalar of ['', 'ä😀', 0, -1.5, 2 ** 53 - 1, true, false, null]) {
    assert.equal(freezeJson(scalar), scalar);
  }
});

test('freezeJson takes plain objects without a prototype and of other realms', () => {
  const bare = Object.assign(Object.create(null), { a: 1 });
  assert.deepStrictEqual(freezeJson(bare), { a: 1 });
  assert.deepStrictEqual(freezeJson(vm.runInNewContext('({ a: [1] })')), { a: [1] });
});

test('freezeJson calls a getter once and keeps what it gave', () => {
  let calls = 0;
  const value = {
    get a() {
      calls += 1;
      return calls === 1 ? 'good' : Number.NaN;
    },
  };
  assert.deepEqual(freezeJson(value), { a: 'good' });
  assert.equal(calls, 1);
});

test('freezeJson ignores what somebody added to Object.prototype', () => {
  const prototype = Object.prototype as unknown as Record<string, unknown>;
  prototype.polluted = { function: () => {} };
  try {
    assert.deepEqual(Object.keys(freezeJson({ a: { b: 1 } }) as object), ['a']);
  } finally {
    delete prototype.polluted;
  }
});

test('freezeJson names the path and the kind of what is not JSON', () => {
  const item = (amount: unknown) => ({ items: [0, 1, 2, { amount }] });
  const cases: readonly [unknown, string][] = [
    [item(Number.NaN), 'is NaN, which JSON cannot hold'],
    [item(Number.POSITIVE_INFINITY), 'is Infinity, which JSON cannot hold'],
    [item(7n), 'is a BigInt, which JSON cannot hold'],
    [item(() => 1), 'is a function, which JSON cannot hold'],
    [item(Symbol('x')), 'is a symbol, which JSON cannot hold'],
    [item(new Date(0)), 'is a Date, not a plain object'],
    [item(new Map()), 'is a Map, not a plain object'],
    [item(new (class Money {})()), 'is a Money, not a plain object'],
    [item(Object.create({ inherited: 1 })), 'is an object, not a plain object'],
    [item(2 ** 53), 'is an integer beyond 2^53 - 1, which loses digits'],
    [item(-(2 ** 53)), 'is an integer beyond 2^53 - 1, which loses digits'],
    [item('a\0b'), 'holds a NUL character, which Postgres cannot store'],
    [item('\ud83d'), 'holds half of a surrogate pair, so it is not Unicode text'],
  ];
  for (const [value, problem] of cases) {
    assert.equal(refused(value), `payload.items[3].amount ${problem}.`);
  }
  assert.equal(refused(undefined), 'payload is undefined, which JSON cannot hold.');
  assert.equal(refused([1, undefined]), 'payload[1] is undefined, which JSON cannot hold.');
  // biome-ignore lint/suspicious/noSparseArray: holes are what is tested
  assert.equal(refused([1, , 3]), 'payload[1] is undefined, which JSON cannot hold.');
  assert.equal(refused({ 'a b': { c: NaN } }), 'payload["a b"].c is NaN, which JSON cannot hold.');
  assert.equal(
    refused({ a: Number.NaN }, { root: 'metadata' }),
    'metadata.a is NaN, which JSON cannot hold.',
  );
  assert.deepEqual(refusal(() => freezeJson(item(7n))).details, {
    path: 'payload.items[3].amount',
  });
});

test('freezeJson never shows the content of a value', () => {
  const secret = 'secret\0secret';
  assert.doesNotMatch(JSON.stringify(refusal(() => freezeJson({ a: secret }))), /secret/);
});

test('freezeJson refuses names that are not data', () => {
  const dangerous = JSON.parse('{"a": {"__proto__": {"admin": true}}}');
  assert.match(refused(dangerous), /^payload\.a\.__proto__ has the name __proto__/);
  assert.match(refused({ 'a\0': 1 }), /holds a NUL character/);
  assert.match(refused({ '\udc00': 1 }), /holds half of a surrogate pair/);
  const harmless = { constructor: 1, toString: 'x', hasOwnProperty: null };
  assert.deepEqual(freezeJson(harmless), harmless);
});

test('freezeJson names the start of a cycle; the same value twice is none', () => {
  const cyclic: Record<string, unknown> = { name: 'x', list: [{}] };
  (cyclic.list as Record<string, unknown>[])[0] = { back: cyclic.list };
  assert.equal(refused({ a: cyclic }), 'payload.a.list contains itself.');
  const shared = { x: 1 };
  assert.deepEqual(freezeJson([shared, shared]), [{ x: 1 }, { x: 1 }]);
});

const nest = (levels: number): unknown => (levels === 0 ? 1 : [nest(levels - 1)]);

test('freezeJson keeps its limits, at the limit and beyond', () => {
  freezeJson(nest(64));
  assert.match(refused(nest(65)), /^payload(\[0\]){64} is nested more than 64 levels deep\.$/);
  const members = (count: number) =>
    Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]));
  freezeJson(members(10_000));
  assert.equal(refused(members(10_001)), 'payload.k10000 is one object member more than allowed.');
  freezeJson({ list: new Array(3).fill(0) }, { itemsMax: 3 });
  assert.equal(
    refused({ list: [0, 0, 0, 0] }, { itemsMax: 3 }),
    'payload.list brings more array elements than allowed.',
  );
  assert.match(refused(new Array(2 ** 32 - 1)), /more array elements than allowed/);
});

test('freezeJson ends soon on a value that grows when copied', () => {
  let bomb: unknown = [0];
  for (let i = 0; i < 60; i += 1) bomb = [bomb, bomb];
  assert.match(refused(bomb), /more array elements than allowed/);
});

test('checkJson refuses what freezeJson refuses, and leaves the value alone', () => {
  const cyclic: Record<string, unknown> = { list: [1] };
  const value = { a: [1, { b: null, c: undefined }], d: 'x', e: true, f: -0 };
  for (const good of [value, null, 0, '', [], vm.runInNewContext('({ a: [1] })'), cyclic]) {
    assert.equal(checkJson(good), undefined);
  }
  assert.equal(Object.isFrozen(value), false);
  cyclic.list = [1, cyclic];
  const wrong = [
    undefined,
    7n,
    [1, undefined, 2],
    { a: [new Map()] },
    { a: () => 1 },
    cyclic,
    Number.NaN,
  ];
  for (const bad of [...wrong, JSON.parse('{"__proto__":1}'), 'a\0b', { '\ud800': 1 }]) {
    const refused = (run: () => unknown) => {
      try {
        run();
      } catch (error) {
        return error instanceof MillraceError && [error.code, error.message, error.details];
      }
      return 'taken';
    };
    assert.deepEqual(
      refused(() => checkJson(bad)),
      refused(() => freezeJson(bad)),
    );
  }
  assert.throws(() => checkJson([1, 2], { itemsMax: 1, root: 'result' }), /result brings more/);
  assert.throws(() => checkJson({ a: { b: {} } }, { depthMax: 2 }), /payload.a.b is nested more/);
});

test('parseJson reads what JSON.parse reads', () => {
  const texts = [
    ' {"a" : [1, -0.5e+3, 1E2, true, false, null, "x"] } \r\n\t',
    '"\\u00e4\\ud83d\\ude00\\n\\"\\\\\\/"',
    '[]',
    '{}',
    '[[],{}]',
    '0',
    '-0',
    '1.0',
    '1.50',
    '0.1',
    '100000000000000000e-2',
    '9007199254740991',
    '9007199254740991.0',
    '0.30000000000000004',
    '2.2250738585072014e-308',
    '5e-324',
    '{"a\\"b": 1, "": 2, "\\u0061": 3}',
    '"ä😀"',
  ];
  for (const text of texts) assert.deepStrictEqual(parseJson(text), JSON.parse(text), text);
  const wide = `{${Array.from({ length: 40 }, (_, i) => `"k${i}":${i}`).join(',')}}`;
  assert.deepStrictEqual(parseJson(wide), JSON.parse(wide));
});

const rejected = (text: string, limits?: JsonLimits) =>
  refusal(() => parseJson(text, limits)).message;

test('parseJson refuses numbers that would come out as others', () => {
  const beyond = 'is an integer beyond 2^53 - 1, which loses digits';
  const changed = 'is a number that a double cannot keep as written';
  const cases: readonly [string, string][] = [
    ['9007199254740993', beyond],
    ['9007199254740992', beyond],
    ['-12345678901234567890', beyond],
    ['1e30', beyond],
    ['1e400', changed],
    ['-1e400', changed],
    ['1e-400', changed],
    ['0.1000000000000000055', changed],
    ['9007199254740991.1', changed],
    ['1.00000000000000001', changed],
  ];
  for (const [literal, problem] of cases) {
    assert.equal(
      rejected(`{"items": [1, {"amount": ${literal}}]}`),
      `payload.items[1].amount ${problem} (line 1, column 26).`,
    );
  }
});

test('parseJson refuses a member twice, however it is spelled', () => {
  assert.equal(
    rejected('{\n  "a": 1,\n  "\\u0061": 2\n}'),
    'payload.a appears twice in one object (line 3, column 3).',
  );
  const wide = `{${Array.from({ length: 40 }, (_, i) => `"k${i}":0`).join(',')},"k0":1}`;
  assert.match(rejected(wide), /^payload\.k0 appears twice/);
  parseJson('[{"a": 1}, {"a": 2, "b": {"a": 3}}]');
});

test('parseJson refuses what freezeJson refuses', () => {
  assert.match(rejected('{"__proto__": {}}'), /has the name __proto__/);
  assert.match(rejected('{"\\u005f_proto__": {}}'), /has the name __proto__/);
  assert.match(
    rejected('["\\u0000"]'),
    /^payload\[0\] holds a NUL character.* \(line 1, column 2\)/,
  );
  assert.match(rejected('["\\ud83d"]'), /^payload\[0\] holds half of a surrogate pair/);
  assert.match(rejected('["\ud83d"]'), /^payload\[0\] holds half of a surrogate pair/);
  assert.match(rejected(JSON.stringify(nest(65))), /nested more than 64 levels/);
  assert.match(rejected('{"a":1,"b":2}', { keysMax: 1 }), /^payload\.b is one object member more/);
  assert.match(rejected('[1,2]', { itemsMax: 1 }), /^payload\[1\] brings more array elements/);
});

test('parseJson says where the syntax is wrong', () => {
  const cases: readonly [string, string][] = [
    ['', 'payload is not JSON: a value should stand where the text ends (line 1, column 1).'],
    [
      '{"a":1,}',
      "payload is not JSON: a member name should stand where '}' is (line 1, column 8).",
    ],
    ['{"a" 1}', "payload.a is not JSON: ':' should stand where '1' is (line 1, column 6)."],
    ['[1 2]', "payload is not JSON: ',' or ']' should stand where '2' is (line 1, column 4)."],
    ['[01]', "payload is not JSON: ',' or ']' should stand where '1' is (line 1, column 3)."],
    ['[1,\n tru]', "payload[1] is not JSON: a value should stand where 't' is (line 2, column 2)."],
    [
      '{} {}',
      "payload is not JSON: the end of the text should stand where '{' is (line 1, column 4).",
    ],
    ['\ufeff{}', 'payload is not JSON: a value should stand where U+FEFF is (line 1, column 1).'],
    ['"abc', 'payload is a string without an end (line 1, column 1).'],
    ['["a\tb"]', 'payload[0] holds a control character that is not escaped (line 1, column 4).'],
    ['["\x1f"]', 'payload[0] holds a control character that is not escaped (line 1, column 3).'],
    ['["\\x41"]', 'payload[0] holds an escape that JSON does not know (line 1, column 2).'],
    ['["\\u12"]', 'payload[0] holds an escape that JSON does not know (line 1, column 2).'],
  ];
  for (const [text, message] of cases) assert.equal(rejected(text), message);
  const bytes: unknown = new Uint8Array(2);
  assert.equal(
    refusal(() => parseJson(bytes as string)).message,
    'payload is a Uint8Array, not text.',
  );
});

test('parseStored freezes and checks nothing again', () => {
  const stored = parseStored('{"big":9007199254740993,"list":[{"a":"\\u0000"}]}') as {
    list: { a: string }[];
  };
  assert.ok(Object.isFrozen(stored) && Object.isFrozen(stored.list));
  assert.ok(Object.isFrozen(stored.list[0]));
  assert.equal(parseStored('null') satisfies JsonValue, null);
});

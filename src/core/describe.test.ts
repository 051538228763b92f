import assert from 'node:assert/strict';
import { test } from 'node:test';
import { describeKind } from './describe.ts';

test('kinds are named, contents are not', () => {
  const cases: readonly [unknown, string][] = [
    [undefined, 'undefined'],
    [null, 'null'],
    ['secret', 'a string'],
    [7, 'a number'],
    [Number.NaN, 'NaN'],
    [Number.NEGATIVE_INFINITY, '-Infinity'],
    [7n, 'a BigInt'],
    [true, 'a boolean'],
    [Symbol('secret'), 'a symbol'],
    [() => 'secret', 'a function'],
    [['secret'], 'an array'],
    [{ secret: 1 }, 'an object'],
    [Object.create(null), 'an object'],
    [{ constructor: { name: 'secret' } }, 'an object'],
    [new (class {})(), 'an object'],
    [new Date(), 'a Date'],
    [new Error('secret'), 'an Error'],
    [new Map(), 'a Map'],
  ];
  for (const [value, kind] of cases) assert.equal(describeKind(value), kind);
});

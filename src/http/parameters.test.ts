import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as parameters from './parameters.ts';

const refused = (work: () => unknown, message: RegExp) =>
  assert.throws(work, (error: Error & { code?: string }) => {
    assert.equal(error.code, 'REQUEST_INVALID');
    assert.match(error.message, message);
    return true;
  });

test('numbers of a query are whole and in range, or absent', () => {
  const { integerOf } = parameters;
  assert.equal(integerOf({}, 'limit', [1, 10]), undefined);
  assert.equal(integerOf({ limit: '10' }, 'limit', [1, 10]), 10);
  for (const limit of ['0', '11', '1.5', '1e1', ' 1', '', '-1', '0x1']) {
    refused(() => integerOf({ limit }, 'limit', [1, 10]), /limit is .* from 1 to 10/);
  }
});

test('choices, lists and flags name what they can be', () => {
  const { booleanOf, choiceOf, listOf } = parameters;
  assert.equal(choiceOf('a', 'verb', ['a', 'b']), 'a');
  refused(() => choiceOf('c', 'verb', ['a', 'b']), /verb is 'c'; it can be a, b/);
  assert.equal(booleanOf({ x: 'true' }, 'x'), true);
  refused(() => booleanOf({ x: '1' }, 'x'), /true, false/);
  assert.deepEqual(listOf({ type: 'A, B,,C' }, 'type'), ['A', 'B', 'C']);
  assert.equal(listOf({ type: ',' }, 'type'), undefined);
});

test('bodies have the members they should, of the kind they should', () => {
  const { flagOf, membersOf, numberOf, textOf } = parameters;
  assert.deepEqual(membersOf(undefined, ['a']), {});
  refused(() => membersOf([], ['a']), /not a JSON object/);
  refused(() => membersOf(null, ['a']), /not a JSON object/);
  refused(() => membersOf({ b: 1 }, ['a']), /member 'b' that is not known/);
  assert.equal(textOf({ a: 'x' }, 'a'), 'x');
  refused(() => textOf({}, 'a'), /a is missing/);
  refused(() => textOf({ a: '' }, 'a'), /a is ''/);
  refused(() => flagOf({ a: 'true' }, 'a'), /not true or false/);
  refused(() => numberOf({ a: '5' }, 'a', [1, 9]), /not a whole number/);
  refused(() => textOf({ a: ['x'.repeat(200)] }, 'a'), /…, not a text/);
});

/** Payload checks say which member is wrong, and how. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compileJsonSchema } from './json-schema.ts';

const check = compileJsonSchema({
  type: 'object',
  required: ['id'],
  additionalProperties: false,
  properties: {
    id: { type: 'string', minLength: 2, maxLength: 4 },
    count: { type: 'integer', minimum: 1, maximum: 9 },
    kind: { enum: ['a', 2, null] },
    lines: { type: 'array', items: { type: 'object', required: ['sku'] } },
  },
});

describe('the check of a payload', () => {
  it('passes what fits', () => {
    const lines = [{ sku: 'x', other: 1 }];
    assert.equal(check({ id: 'abc', count: 3, kind: null, lines }, 'payload'), null);
    assert.equal(check({ id: 'abc', count: undefined }, 'payload'), null);
  });

  it('names the first thing that does not', () => {
    for (const [value, problem] of [
      [[], 'payload is [], not a value of type object'],
      [null, 'payload is null, not a value of type object'],
      [{}, 'payload.id is required'],
      [{ id: 7 }, 'payload.id is 7, not a value of type string'],
      [{ id: 'a' }, 'payload.id has 1 characters, fewer than 2'],
      [{ id: 'abcde' }, 'payload.id has 5 characters, more than 4'],
      [{ id: 'abc', count: 1.5 }, 'payload.count is 1.5, not a value of type integer'],
      [{ id: 'abc', count: 0 }, 'payload.count is 0, below 1'],
      [{ id: 'abc', count: 10 }, 'payload.count is 10, above 9'],
      [{ id: 'abc', kind: 'b' }, 'payload.kind is "b", not one of "a", 2, null'],
      [{ id: 'abc', lines: [{ sku: 1 }, {}] }, 'payload.lines[1].sku is required'],
      [{ id: 'abc', extra: 1 }, 'payload.extra is not expected'],
    ] as const) {
      assert.equal(check(value, 'payload'), problem);
    }
  });
});

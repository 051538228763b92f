/** JSON Schemas of inputs, results and payloads: what fits, what does not, what is no schema. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MillraceError } from '../../core/errors.ts';
import { checkSchema, compileSchema } from './json-schema.ts';

const payment = {
  type: 'object',
  properties: {
    id: { type: 'string', minLength: 1 },
    amount: { type: ['number', 'null'] },
    mail: { type: 'string', format: 'email' },
    items: { type: 'array', items: { type: 'object', required: ['sku'] } },
    kind: { enum: ['card', 'cash'] },
    'unit price': { type: 'integer' },
  },
  required: ['id'],
  additionalProperties: false,
};

const faults = (schema: object, value: unknown) =>
  compileSchema(schema as Record<string, unknown>, 'payload')
    .check(value)
    .map(({ path, message }) => `${path}: ${message}`);

describe('a value', () => {
  test('that fits has no faults', () => {
    assert.deepEqual(faults(payment, { id: 'p', amount: null, items: [{ sku: 1 }] }), []);
  });

  test('that does not is told by field, never by what it holds', () => {
    const secret = 'DE02-secret';
    const told = faults(payment, {
      amount: secret,
      mail: secret,
      items: [{ sku: 1 }, {}],
      kind: secret,
      'unit price': 0.5,
      amuont: 1,
    });
    assert.deepEqual(told.sort(), [
      'payload.amount: must be number,null, is a string',
      "payload.amuont: is not allowed: Did you mean 'amount'?",
      'payload.id: is required',
      'payload.items[1].sku: is required',
      'payload.kind: must be equal to one of the allowed values: card, cash',
      'payload.mail: must match format "email"',
      'payload["unit price"]: must be integer, is a number',
    ]);
    assert.ok(!told.join().includes(secret));
  });

  test('with very many faults shows ten', () => {
    const list = { type: 'array', items: { type: 'string' } };
    assert.equal(faults(list, Array(500).fill(1)).length, 10);
  });

  test('a member that looks like an index is a member', () => {
    const schema = { type: 'object', additionalProperties: { type: 'string' } };
    assert.deepEqual(faults(schema, { 7: 1, 'a/b~c': 1 }), [
      'payload["7"]: must be string, is a number',
      'payload["a/b~c"]: must be string, is a number',
    ]);
  });
});

describe('a schema', () => {
  const wrong: readonly (readonly [
    schema: object,
    path: string,
    message: RegExp,
    hint?: RegExp,
  ])[] = [
    [{ type: 'strin' }, 'type', /^is 'strin', which is no type of JSON$/, /Did you mean 'string'/],
    [{ properties: { a: { requird: [] } } }, 'properties.a.requird', /no keyword/, /'required'/],
    [
      { properties: { a: { format: 'emial' } } },
      'properties.a.format',
      /no known format/,
      /'email'/,
    ],
    [{ items: [{ type: 'string' }] }, 'items', /only older drafts/, /prefixItems/],
    [{ minLength: -1 }, 'minLength', /^is not JSON Schema: must be >= 0$/],
    [{ required: 'id' }, 'required', /^is not JSON Schema: must be array$/],
    [{ pattern: '(' }, '', /Invalid regular expression/],
    [{ $ref: 'https://example.com/x' }, '', /can't resolve reference/],
    [{ $schema: 'https://example.com/draft' }, '', /no schema with key/],
  ];
  for (const [schema, path, message, hint] of wrong) {
    test(`is refused: ${JSON.stringify(schema)}`, () => {
      const [problem, ...more] = checkSchema(schema as never);
      assert.deepEqual(more, []);
      assert.equal(problem?.path.join('.'), path);
      assert.match(problem?.message ?? '', message);
      if (hint) assert.match(problem?.hint ?? '', hint);
      assert.throws(
        () => compileSchema(schema as never, 'result'),
        (error: MillraceError) =>
          error instanceof MillraceError &&
          error.code === 'DEFINITION_INVALID' &&
          error.message.startsWith('The schema of result'),
      );
    });
  }

  test('of an older draft says so, extensions begin with x-, definitions are local', () => {
    const draft7 = 'http://json-schema.org/draft-07/schema#';
    assert.deepEqual(faults({ $schema: draft7, items: [{ type: 'string' }] }, [1]).length, 1);
    const schema = {
      'x-owner': 'payments',
      $defs: { money: { type: 'integer', example: 5, 'x-unit': 'cent' } },
      $ref: '#/$defs/money',
    };
    assert.deepEqual(faults(schema, 0.5), ['payload: must be integer, is a number']);
  });

  test('may have the id of another one', () => {
    const $id = 'https://example.com/same';
    assert.deepEqual(faults({ $id, type: 'string' }, 1).length, 1);
    assert.deepEqual(faults({ $id, type: 'number' }, 1), []);
    assert.deepEqual(faults({ $id, type: 'string' }, 1).length, 1);
  });

  test('is compiled once, whatever the order of its members', () => {
    const big = (i: number) => ({ type: 'object', properties: { [`f${i}`]: { type: 'string' } } });
    for (let i = 0; i < 50; i += 1) compileSchema(big(i), 'x');
    const began = performance.now();
    for (let i = 0; i < 50; i += 1) {
      const { properties, type } = big(i);
      compileSchema({ properties, type }, 'x');
    }
    assert.ok(performance.now() - began < 1_000);
  });
});

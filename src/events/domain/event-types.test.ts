/** The printer: what it writes, and that the compiler agrees with the validator about it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { compileSchema } from '../../workflows/template/json-schema.ts';
import { printEventTypes, type TypedEvent } from './event-types.ts';

const event = (name: string, schema: TypedEvent['schema'], description: string | null = null) => ({
  name,
  schema,
  description,
});

const address = {
  type: 'object',
  description: 'Where it goes.\nOn two lines */ and on.',
  properties: { street: { type: 'string' }, 'post code': { type: ['string', 'null'] } },
  required: ['street'],
  additionalProperties: false,
};

/** Each with values that fit and values that do not, for validator and compiler alike. */
const cases: readonly {
  readonly name: string;
  readonly schema: Readonly<Record<string, unknown>>;
  readonly good: readonly unknown[];
  readonly bad: readonly unknown[];
}[] = [
  {
    name: 'nested.objects',
    schema: {
      type: 'object',
      properties: { to: { type: 'object', properties: { deep: address }, required: ['deep'] } },
      required: ['to'],
    },
    good: [{ to: { deep: { street: 'x' } } }, { to: { deep: { street: 'x', 'post code': null } } }],
    bad: [{}, { to: {} }, { to: { deep: {} } }, { to: { deep: { street: 1 } } }],
  },
  {
    name: 'enums.and_constants',
    schema: {
      type: 'object',
      properties: {
        state: { enum: ["it's", 'b"c', 3, null, true] },
        kind: { const: 'card' },
      },
      required: ['state', 'kind'],
    },
    good: [
      { state: "it's", kind: 'card' },
      { state: 'b"c', kind: 'card' },
      { state: null, kind: 'card' },
    ],
    bad: [
      { state: 'other', kind: 'card' },
      { state: 3, kind: 'cash' },
      { state: false, kind: 'card' },
    ],
  },
  {
    name: 'arrays.and_tuples',
    schema: {
      type: 'object',
      properties: {
        tags: { type: 'array', items: { enum: ['a', 'b'] } },
        pair: {
          type: 'array',
          prefixItems: [{ type: 'string' }, { type: 'integer' }],
          items: false,
          minItems: 1,
        },
        rows: { type: 'array', items: { type: 'array', items: { type: 'number' } } },
      },
      required: ['tags'],
    },
    good: [
      { tags: ['a', 'b'], pair: ['x', 1], rows: [[1], []] },
      { tags: [], pair: ['x'] },
    ],
    bad: [
      { tags: ['c'] },
      { tags: [], pair: [1] },
      { tags: [], pair: ['x', 1, 2] },
      { tags: [], rows: [1] },
    ],
  },
  {
    name: 'nullable.members',
    schema: {
      type: 'object',
      properties: {
        a: { type: ['string', 'null'] },
        b: { anyOf: [{ type: 'number' }, { type: 'null' }] },
      },
      required: ['a', 'b'],
    },
    good: [
      { a: null, b: null },
      { a: 'x', b: 1 },
    ],
    bad: [{ a: 1, b: 1 }, { a: null }, { a: null, b: 'x' }],
  },
  {
    name: 'additional.members',
    schema: {
      type: 'object',
      properties: {
        named: { type: 'string' },
        counts: { type: 'object', additionalProperties: { type: 'number' } },
      },
      required: ['named'],
      additionalProperties: true,
    },
    good: [{ named: 'x', more: [1], counts: { a: 1 } }],
    bad: [{ named: 1 }, { named: 'x', counts: { a: 'b' } }, { other: 'x' }],
  },
  {
    name: 'refs.and_defs',
    schema: {
      type: 'object',
      properties: {
        ship: { $ref: '#/$defs/address' },
        bill: { $ref: '#/$defs/address' },
        tree: { $ref: '#/$defs/node' },
        first: { $ref: '#/properties/ship' },
      },
      required: ['ship'],
      $defs: {
        address,
        node: {
          type: 'object',
          properties: { children: { type: 'array', items: { $ref: '#/$defs/node' } } },
          required: ['children'],
        },
      },
    },
    good: [
      { ship: { street: 'x' }, tree: { children: [{ children: [] }] }, first: { street: 'y' } },
    ],
    bad: [
      { ship: {} },
      { ship: { street: 'x' }, tree: { children: [{}] } },
      { bill: { street: 'x' } },
    ],
  },
  {
    name: 'one_of.shapes',
    schema: {
      type: 'object',
      properties: { id: { type: 'string' } },
      required: ['id'],
      oneOf: [
        {
          properties: { kind: { const: 'card' }, last4: { type: 'string' } },
          required: ['kind', 'last4'],
        },
        {
          properties: { kind: { const: 'cash' }, amount: { type: 'number' } },
          required: ['kind', 'amount'],
        },
      ],
    },
    good: [
      { id: 'x', kind: 'card', last4: '1' },
      { id: 'x', kind: 'cash', amount: 1 },
    ],
    bad: [
      { id: 'x', kind: 'card' },
      { kind: 'cash', amount: 1 },
      { id: 'x', kind: 'cash', amount: '1' },
    ],
  },
  {
    name: 'all_of.parts',
    schema: {
      allOf: [
        { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] },
        { type: 'object', properties: { b: { type: 'number' } }, required: ['b'] },
      ],
    },
    good: [{ a: 'x', b: 1 }],
    bad: [{ a: 'x' }, { a: 1, b: 1 }],
  },
  {
    name: 'not.objects',
    schema: {
      anyOf: [{ type: 'string' }, { type: 'array', items: { type: ['integer', 'boolean'] } }],
    },
    good: ['x', [1, true]],
    bad: [1, ['x'], {}],
  },
];

describe('types of events', () => {
  it('are printed with names, comments, and the map', () => {
    const schema = {
      type: 'object',
      properties: {
        payment_id: { type: 'string', description: 'Of the provider.' },
        amount: { type: 'number' },
      },
      required: ['payment_id'],
    };
    const text = printEventTypes([
      event('payment.charged', schema, 'When it is charged'),
      event('payment.any', null),
    ]);
    assert.equal(
      text,
      `/**
 * Generated by \`millrace generate events\` from the schemas of domain events. Change the templates
 * and run it again.
 */

export type PaymentAny = unknown;

export type PaymentCharged = {
  /** Of the provider. */
  readonly payment_id: string;
  readonly amount?: number | undefined;
};

declare module 'millrace' {
  interface DomainEventMap {
    'payment.any': PaymentAny;
    /** When it is charged */
    'payment.charged': PaymentCharged;
  }
}
`,
    );
  });

  it('are the same in whatever order the events come', () => {
    const events = cases.map(({ name, schema }) => event(name, schema));
    assert.equal(printEventTypes(events), printEventTypes(events.toReversed()));
  });

  it('get names of their own where two would be alike', () => {
    const text = printEventTypes([
      event('a_b.c', null),
      event('a.b_c', null),
      event('a.b.c', null),
    ]);
    assert.deepEqual(
      [...text.matchAll(/type (\w+)/g)].map(([, name]) => name),
      ['ABC', 'ABC2', 'ABC3'],
    );
  });

  it('say unknown of what cannot be said', () => {
    const odd = {
      type: 'object',
      properties: {
        far: { $ref: 'https://example.com/x' },
        gone: { $ref: '#/$defs/no' },
        odd: { type: 'fancy' },
      },
    };
    const text = printEventTypes([event('odd.things', odd)]);
    assert.equal(text.match(/\?: unknown;/g)?.length, 3);
  });

  it('compile under strict, and accept and refuse what the validator does', () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-types-'));
    try {
      const lines = ["import type { DomainEventMap } from 'millrace';"];
      lines.push("import type {} from './events.ts';", 'export const all = [');
      for (const { name, schema, good, bad } of cases) {
        const validator = compileSchema(schema, 'payload');
        for (const value of good) {
          assert.deepEqual(validator.check(value), [], name);
          lines.push(`(): DomainEventMap['${name}'] => (${JSON.stringify(value)}),`);
        }
        for (const value of bad) {
          assert.notDeepEqual(validator.check(value), [], `${name} ${JSON.stringify(value)}`);
          lines.push(`// @ts-expect-error ${name}`);
          lines.push(`(): DomainEventMap['${name}'] => (${JSON.stringify(value)}),`);
        }
      }
      lines.push('];');
      const events = cases.map(({ name, schema }) => event(name, schema));
      writeFileSync(join(directory, 'events.ts'), printEventTypes(events));
      writeFileSync(join(directory, 'uses.ts'), lines.join('\n'));
      writeFileSync(join(directory, 'millrace.d.ts'), 'export interface DomainEventMap {}\n');
      const compilerOptions = {
        strict: true,
        noEmit: true,
        noUncheckedIndexedAccess: true,
        exactOptionalPropertyTypes: true,
        erasableSyntaxOnly: true,
        verbatimModuleSyntax: true,
        allowImportingTsExtensions: true,
        module: 'NodeNext',
        moduleResolution: 'NodeNext',
        target: 'ES2024',
        types: [],
        paths: { millrace: ['./millrace.d.ts'] },
      };
      writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
      writeFileSync(
        join(directory, 'tsconfig.json'),
        JSON.stringify({ compilerOptions, include: ['*.ts'] }),
      );
      compile(directory);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

function compile(directory: string): void {
  try {
    const program = resolve('node_modules/.bin/tsc');
    execFileSync(program, ['-p', directory], { encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    assert.fail((error as { stdout?: string }).stdout ?? String(error));
  }
}

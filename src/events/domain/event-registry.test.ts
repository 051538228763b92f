import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { compileSchema } from '../../workflows/template/json-schema.ts';
import { compareVersions, EventRegistry } from './event-registry.ts';
import { stepsOf } from './payload-schema.ts';

const schema = { type: 'object', properties: { id: { type: 'string' } }, required: ['id'] };
const other = { type: 'object', properties: { id: { type: 'number' } }, required: ['id'] };
const invalid = (message: RegExp) => ({ code: 'DEFINITION_INVALID', message });

function registry() {
  return new EventRegistry(compileSchema, 'fire_and_forget');
}

describe('the registry of domain events', () => {
  it('knows, lists and describes what was declared', () => {
    const events = registry();
    events.declare('payments', [{ name: 'payment.charged', description: 'Charged', schema }], null);
    events.declare('payments', [{ name: 'payment.charged', description: 'Charged', schema }], null);
    events.declare('audit', [{ name: 'audit.noted', delivery: 'durable', condition: 'always' }], {
      name: 'note',
      version: '2.0.0',
    });
    assert.deepEqual(events.names(), ['audit.noted', 'payment.charged']);
    assert.deepEqual(events.namespaces(), ['audit', 'payments']);
    assert.deepEqual(events.describe('payment.charged'), {
      name: 'payment.charged',
      description: 'Charged',
      schema,
      delivery: 'fire_and_forget',
      declaredBy: [
        {
          namespace: 'payments',
          workflow: null,
          version: '1.0.0',
          delivery: 'fire_and_forget',
          condition: 'success',
          stream: 'payments_domain_events',
          deadLetters: 'payments_domain_events_dlq',
        },
      ],
    });
    assert.equal(events.describe('no.such'), undefined);
    assert.equal(events.findByType('domain.audit.audit.noted')?.name, 'audit.noted');
  });

  it('refuses names, namespaces, schemas and words that are none', () => {
    const events = registry();
    for (const name of [
      'payment',
      'Payment.charged',
      'payment..charged',
      'payment.*',
      '',
      'a.b!',
    ]) {
      assert.throws(() => events.declare('n', [{ name }], null), invalid(/is not a name/), name);
    }
    assert.throws(() => events.declare('a b', [{ name: 'a.b' }], null), invalid(/a namespace/));
    const long = { name: `a.${'b'.repeat(130)}` };
    assert.throws(() => events.declare('n', [long], null), invalid(/characters/));
    const broken = { name: 'a.b', schema: { type: 'strange' } };
    assert.throws(() => events.declare('n', [broken], null), invalid(/a\.b: The schema .*strange/));
    const delivery = { name: 'a.b', delivery: 'fast' as 'durable' };
    assert.throws(() => events.declare('n', [delivery], null), invalid(/delivery is 'fast'/));
    const condition = { name: 'a.b', condition: 'maybe' as 'always' };
    assert.throws(() => events.declare('n', [condition], null), invalid(/condition is 'maybe'/));
    assert.deepEqual(events.names(), []);
  });

  it('refuses two schemas for one name, and takes none of the declarations then', () => {
    const events = registry();
    events.declare('a', [{ name: 'x.y', schema }], null);
    const again = [{ name: 'new.one' }, { name: 'x.y', schema: other }];
    assert.throws(() => events.declare('b', again, null), invalid(/two schemas: by a and by b/));
    assert.deepEqual(events.names(), ['x.y']);
    // The order of members is no difference, and no schema contradicts none.
    const { type, properties, required } = schema;
    events.declare('b', [{ name: 'x.y', schema: { required, properties, type } }], null);
    events.declare('c', [{ name: 'x.y' }], null);
    assert.equal(events.find('x.y')?.declaration.schema?.type, 'object');
  });

  it('lets the versions of one workflow differ, each run with its own', () => {
    const events = registry();
    const [v1, v2] = [
      { name: 'pay', version: '1.9.0' },
      { name: 'pay', version: '1.10.0' },
    ];
    events.declare('a', [{ name: 'x.y', schema }], v1);
    events.declare('a', [{ name: 'x.y', schema: other, delivery: 'durable' }], v2);
    assert.equal(events.findFor('x.y', 'a', v1)?.declaration.schema, schema);
    assert.equal(events.findFor('x.y', 'a', v2)?.declaration.schema, other);
    assert.equal(events.find('x.y')?.version, '1.10.0');
    assert.equal(events.findByType('domain.a.x.y')?.version, '1.10.0');
    const foreign = { name: 'refund', version: '2.0.0' };
    assert.throws(() => events.declare('a', [{ name: 'x.y', schema: { type: 'null' } }], foreign), {
      code: 'DEFINITION_INVALID',
    });
  });

  it('takes what a reloaded workflow says now, and refuses what it contradicts itself in', () => {
    const events = registry();
    const workflow = { name: 'pay', version: '1.0.0' };
    events.declare('a', [{ name: 'x.y', schema }], workflow);
    events.declare('a', [{ name: 'x.y', schema: other }], workflow);
    assert.equal(events.find('x.y')?.declaration.schema, other);
    assert.equal(events.findByType('domain.a.x.y')?.declaration.schema, other);
    assert.equal(events.describe('x.y')?.declaredBy.length, 1);
    const both = [
      { name: 'x.y', schema },
      { name: 'x.y', schema: other },
    ];
    assert.throws(() => events.declare('a', both, workflow), invalid(/two schemas/));
  });

  it('refuses two deliveries within a namespace', () => {
    const events = registry();
    events.declare('a', [{ name: 'x.y', delivery: 'durable' }], null);
    const twice = () => events.declare('a', [{ name: 'x.y', delivery: 'broadcast' }], null);
    assert.throws(twice, invalid(/two deliveries, durable and broadcast/));
    events.declare('b', [{ name: 'x.y', delivery: 'broadcast' }], null);
    assert.throws(() => events.resolve('x.y'), { code: 'EVENT_INVALID', message: /a, b/ });
    assert.equal(events.resolve('x.y', undefined, 'b').namespace, 'b');
    assert.equal(events.resolve('x.y', 'a').namespace, 'a');
  });

  it('compares versions by their numbers, and reads paths back', () => {
    assert.ok(compareVersions('1.10.0', '1.9.9') > 0);
    assert.ok(compareVersions('1.0', '1.0.1') < 0);
    assert.equal(compareVersions('1.0', '1.0.0'), 0);
    assert.ok(compareVersions('2.0.0-beta', '2.0.0-alpha') > 0);
    assert.deepEqual(stepsOf('payload.items[0]["unit \\"price\\""].x'), [
      'items',
      0,
      'unit "price"',
      'x',
    ]);
  });
});

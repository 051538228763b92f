import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { numbered, outgoing } from '../../../ports/broker.fixtures.conformance.ts';
import { createEntryReader, type Entry, fieldsOf, sizeOf } from './fields.ts';

const topic = { topic: 't', partitions: 1, from: 'start' } as const;
const place = { topic: 't', partition: 0 };

/** As the server would answer. */
function entryOf({ shape, values }: { shape: string; values: readonly string[] }): Entry {
  return ['1-0', shape.split(' ').flatMap((name, i) => [name, values[i] as string])];
}

describe('events as fields of entries', () => {
  it('share one shape, and are read again whatever came before', () => {
    const [one, two] = numbered(topic, 'tenant', 'k', { count: 2 }).map((event) =>
      fieldsOf(event, 'us'),
    ) as [ReturnType<typeof fieldsOf>, ReturnType<typeof fieldsOf>];
    assert.equal(one.shape, two.shape);
    const bare = fieldsOf(
      outgoing(topic, { tenantId: 'tenant', key: null, payload: { n: 2 }, metadata: { a: 1 } }),
      'us',
    );
    assert.notEqual(bare.shape, one.shape);
    const reader = createEntryReader();
    for (const [fields, n, key] of [
      [one, 0, 'k'],
      [bare, 2, null],
      [two, 1, 'k'],
    ] as const) {
      const { event, problem } = reader.toDelivery(place, entryOf(fields), false);
      assert.equal(problem, null);
      assert.deepEqual([event?.dataJson, event?.key], [`{"n":${n}}`, key]);
    }
  });

  it('are told from fields of others with the same names', () => {
    const fields = ['specversion', '1.0', 'id', 'x', 'source', 'y', 'type', 'z', 'data', '1'];
    const { event, problem } = createEntryReader().toDelivery(place, ['1-0', fields], true);
    assert.equal(event, null);
    assert.match(problem ?? '', /specversion/);
  });

  it('that were removed are named as such', () => {
    const delivery = createEntryReader().toDelivery(place, ['1-0', null], true);
    assert.match(delivery.problem ?? '', /removed/);
    assert.equal(delivery.raw, null);
    assert.equal(sizeOf(['1-0', null]), 0);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { murmur2, partitionFor, partitionKey } from './partition.ts';

const hash = (text: string) => murmur2(new TextEncoder().encode(text));

test("murmur2 agrees with Kafka's own test vectors (UtilsTest.java)", () => {
  const vectors: readonly [string, number][] = [
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ];
  for (const [text, expected] of vectors) assert.equal(hash(text), expected, text);
});

test('the key is the tenant and the key, or the tenant alone', () => {
  assert.equal(partitionKey('acme', 'order-7'), 'acme:order-7');
  assert.equal(partitionKey('acme', null), 'acme');
});

test('the partition is the positive hash modulo the number of partitions', () => {
  for (const [tenantId, key] of [
    ['acme', 'order-7'],
    ['acme', null],
    ['Ärger', null],
    ['Ärger', '😀'],
    ['t', 'k'.repeat(5000)],
  ] as const) {
    const expected = (hash(partitionKey(tenantId, key)) & 0x7fffffff) % 12;
    assert.equal(partitionFor(tenantId, key, 12), expected);
  }
  assert.equal(partitionFor('foobar', null, 1), 0);
});

test('keys spread evenly', () => {
  const counts = new Array<number>(16).fill(0);
  for (let i = 0; i < 16_000; i += 1) {
    const partition = partitionFor('TENANT_001', `exception-${i}`, 16);
    counts[partition] = (counts[partition] as number) + 1;
  }
  assert.ok(Math.min(...counts) > 850 && Math.max(...counts) < 1150, counts.join(' '));
});

test('a number of partitions that is none is refused', () => {
  for (const partitions of [0, -1, 1.5, Number.NaN]) {
    assert.throws(() => partitionFor('a', null, partitions), {
      code: 'CONFIG_INVALID',
      message: `partitions is ${partitions}, not a whole number from 1.`,
    });
  }
});

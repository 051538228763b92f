/** P9-13, by its acceptance criteria that need no server. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { getPartitionKey, partitionFor } from 'millrace';

describe('P9-13 Event Partitioning and Ordering', () => {
  it('"Event partitioning strategy implemented": by tenant and exception, or by tenant', () => {
    const partitions = 8;
    const ofException = partitionFor('acme', 'EX-1', partitions);
    for (let i = 0; i < 100; i += 1) {
      assert.equal(partitionFor('acme', 'EX-1', partitions), ofException);
    }
    const spread = new Set(
      Array.from({ length: 200 }, (_, i) => partitionFor('acme', `EX-${i}`, partitions)),
    );
    assert.equal(spread.size, partitions);
    const tenants = new Set(
      Array.from({ length: 200 }, (_, i) => partitionFor(`tenant-${i}`, 'EX-1', partitions)),
    );
    assert.equal(tenants.size, partitions);
  });

  it('"Partition key generation functional": get_partition_key(tenant_id, exception_id)', () => {
    assert.equal(getPartitionKey('acme', 'EX-1'), 'acme:EX-1');
    assert.equal(getPartitionKey('acme'), 'acme');
    assert.equal(getPartitionKey('acme', null), 'acme');
  });

  it('"Consistent hashing for partition assignment": the same hash as every Kafka client', () => {
    // From Apache Kafka's own UtilsTest: murmur2 of these keys, made positive, modulo 1,000,000.
    const known = { '21': -973932308, foobar: -790332482, abc: 479470107 } as const;
    for (const [key, hash] of Object.entries(known)) {
      assert.equal(partitionFor(key, null, 1_000_000), (hash & 0x7fff_ffff) % 1_000_000);
    }
    // Evenly: of 80,000 exceptions no partition has 5 % more or less than its share.
    const counts = new Array<number>(8).fill(0);
    for (let i = 0; i < 80_000; i += 1) {
      const key = createHash('md5').update(String(i)).digest('hex');
      counts[partitionFor('acme', key, 8)] = (counts[partitionFor('acme', key, 8)] as number) + 1;
    }
    for (const count of counts) assert.ok(Math.abs(count - 10_000) < 500, String(counts));
  });

  it('"Documentation on ordering guarantees": docs/brokers.md says what holds and what not', () => {
    const file = new URL('../../../docs/brokers.md', import.meta.url);
    assert.ok(existsSync(file));
    const text = readFileSync(file, 'utf8');
    assert.match(text, /## Ordering/);
    assert.match(text, /no order (holds )?between/i);
  });
});

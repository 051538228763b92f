import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { partitionFor } from '../core/partition.ts';
import { checkTenant } from './tenants.ts';
import { topicNames } from './topics.ts';

const partitions = 8;
const shared = { topics: topicNames(), partitions };
const own = { topics: topicNames('millrace.{tenant}.events'), partitions };
const event = { tenantId: 'acme', key: 'E-1', partitionKey: 'acme:E-1' };
const partition = partitionFor('acme', 'E-1', partitions);
const at = { topic: 'millrace.events', partition };
const atOwn = { topic: 'millrace.acme.events', partition };

describe('checkTenant', () => {
  test('finds nothing wrong with what we publish', () => {
    assert.equal(checkTenant(event, at, shared), null);
    assert.equal(checkTenant(event, atOwn, own), null);
    const ofTenant = { tenantId: 'acme', key: null, partitionKey: 'acme' };
    const place = { ...at, partition: partitionFor('acme', null, partitions) };
    assert.equal(checkTenant(ofTenant, place, shared), null);
    assert.equal(checkTenant({ ...event, partitionKey: null }, at, shared), null);
  });

  const wrong = [
    ['tenant-missing', { ...event, tenantId: null }, at, shared],
    ['tenant-invalid', { ...event, tenantId: '' }, at, shared],
    ['tenant-invalid', { ...event, tenantId: 'x'.repeat(129) }, at, shared],
    ['tenant-invalid', { ...event, tenantId: 'a\nb' }, at, shared],
    ['tenant-invalid', { ...event, tenantId: '\ud800' }, atOwn, own],
    ['tenant-mismatch', { ...event, tenantId: 'zenith' }, atOwn, own],
    ['tenant-mismatch', event, { ...atOwn, topic: 'millrace.zenith.events' }, own],
    ['key-invalid', { ...event, key: '' }, at, shared],
    ['key-invalid', { ...event, key: 'k'.repeat(513) }, at, shared],
    ['key-mismatch', { ...event, partitionKey: 'zenith:E-1' }, at, shared],
    ['key-mismatch', { ...event, partitionKey: 'acme' }, at, shared],
    ['partition-mismatch', event, { ...at, partition: (partition + 1) % partitions }, shared],
  ] as const;
  for (const [reason, given, place, rules] of wrong) {
    test(`${reason}: ${JSON.stringify(given).slice(0, 60)} on ${place.topic}`, () => {
      assert.equal(checkTenant(given, place, rules)?.reason, reason);
    });
  }

  test('a tenant whose name became a digest is still its own', () => {
    const tenantId = '漢'.repeat(128);
    const long = { tenantId, key: null, partitionKey: null };
    const place = { topic: own.topics.topicOf(tenantId), partition: 0 };
    const rules = { ...own, partitions: null };
    assert.equal(checkTenant(long, place, rules), null);
    const other = { ...long, tenantId: `${'漢'.repeat(127)}字` };
    assert.equal(checkTenant(other, place, rules)?.reason, 'tenant-mismatch');
  });

  test('does not ask where a foreign event lies', () => {
    const rules = { ...shared, partitions: null };
    assert.equal(checkTenant(event, { topic: 'orders', partition: 99 }, rules), null);
    assert.equal(checkTenant({ ...event, partitionKey: 'x' }, at, rules), null);
  });
});

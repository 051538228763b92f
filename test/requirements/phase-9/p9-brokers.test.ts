/** P9-1 and P9-23, by their acceptance criteria that need no server. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { connectOptions, loadConfiguration, openBroker, topicNames } from 'millrace';
import { checkTenant } from '../../../src/brokers/tenants.ts';
import { partitionFor, partitionKey } from '../../../src/core/partition.ts';

describe('P9-1 Message Broker Abstraction Layer', () => {
  it('"Broker configuration via environment variables"', () => {
    const { configuration } = loadConfiguration({
      variables: {
        MILLRACE_BROKER_URL: 'kafka://one:9092,two:9092',
        MILLRACE_BROKER_TOPIC: 'shop.{tenant}.events',
        MILLRACE_BROKER_GROUP: 'shop-workers',
      },
    });
    const { broker } = connectOptions(configuration);
    assert.ok(typeof broker === 'object');
    assert.equal(broker.url, 'kafka://one:9092,two:9092');
    assert.equal(broker.topic, 'shop.{tenant}.events');
    assert.equal(broker.group, 'shop-workers');
  });

  it('"Message broker abstraction interface created": a broker by its URL', async () => {
    await assert.rejects(openBroker('mqtt://host'), { code: 'CONFIG_INVALID' });
    await assert.rejects(openBroker('no url'), { code: 'CONFIG_INVALID' });
  });
});

describe('P9-23 Tenant Isolation at Message Broker Layer', () => {
  const names = topicNames('millrace.{tenant}.events');
  const tenants = ['acme', 'acme.eu', 'acme_eu', 'acme-eu', 'ACME', 'acme/eu', 'äcme', ' acme'];

  it('"Topic naming strategy enforces isolation": no two tenants share a topic', () => {
    const topics = tenants.map((tenant) => names.topicOf(tenant).replaceAll('.', '_'));
    assert.equal(new Set(topics).size, tenants.length);
    for (const tenant of tenants) assert.equal(names.tenantOf(names.topicOf(tenant)), tenant);
  });

  it('"Cross-tenant event processing prevented": on another tenant\'s topic none is let in', () => {
    for (const tenantId of tenants) {
      for (const owner of tenants) {
        const at = { topic: names.topicOf(owner), partition: partitionFor(tenantId, 'EX-1', 8) };
        const event = { tenantId, key: 'EX-1', partitionKey: partitionKey(tenantId, 'EX-1') };
        const found = checkTenant(event, at, { topics: names, partitions: 8 });
        assert.equal(found?.reason ?? null, owner === tenantId ? null : 'tenant-mismatch');
      }
    }
  });

  it('"Tenant isolation in partitioning enforced": the key must be its tenant\'s', () => {
    const shared = { topics: topicNames(), partitions: 8 };
    const at = { topic: 'millrace.events', partition: partitionFor('acme', 'EX-1', 8) };
    const forged = { tenantId: 'zenith', key: 'EX-1', partitionKey: 'acme:EX-1' };
    assert.equal(checkTenant(forged, at, shared)?.reason, 'key-mismatch');
    const elsewhere = { tenantId: 'acme', key: 'EX-1', partitionKey: 'acme:EX-1' };
    const wrong = { ...at, partition: (at.partition + 1) % 8 };
    assert.equal(checkTenant(elsewhere, wrong, shared)?.reason, 'partition-mismatch');
    const nobody = { tenantId: null, key: null, partitionKey: null };
    assert.equal(checkTenant(nobody, at, shared)?.reason, 'tenant-missing');
  });
});

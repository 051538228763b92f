import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Random, seededRandom } from '../../test/support/random.ts';
import { topicNames } from './topics.ts';

const perTenant = 'millrace.{tenant}.events';

describe('topicNames', () => {
  test('is one shared topic unless the template names the tenant', () => {
    const names = topicNames();
    assert.equal(names.perTenant, false);
    assert.equal(names.topicOf('acme'), 'millrace.events');
    assert.equal(names.topicOf('zenith'), 'millrace.events');
    assert.equal(names.includes('millrace.events'), true);
    assert.equal(names.includes('millrace.acme.events'), false);
    assert.equal(names.tenantOf('millrace.events'), null);
  });

  test('writes a tenant into the name so that it can be read back', () => {
    const names = topicNames(perTenant);
    const topics: Readonly<Record<string, string>> = {
      acme: 'millrace.acme.events',
      'a.b': 'millrace.a_2eb.events',
      a_b: 'millrace.a_5fb.events',
      'A-1': 'millrace.A-1.events',
      'a b/é': 'millrace.a_20b_2f_c3_a9.events',
      '..': 'millrace._2e_2e.events',
    };
    for (const [tenant, topic] of Object.entries(topics)) {
      assert.equal(names.topicOf(tenant), topic);
      assert.equal(names.tenantOf(topic), tenant);
      assert.equal(names.includes(topic), true);
    }
  });

  test('knows what it would not have written', () => {
    const names = topicNames(perTenant);
    const foreign = [
      'millrace.events',
      'millrace..events',
      'millrace.a.b.events',
      'millrace._41.events', // A in another spelling
      'millrace._2E.events',
      'millrace._ff.events', // no UTF-8
      'millrace._c3.events',
      'millrace.a_.events',
      'millrace._-short.events',
      'orders.acme.events',
      'millrace.acme.other',
    ];
    for (const topic of foreign) {
      assert.equal(names.includes(topic), false, topic);
      assert.equal(names.tenantOf(topic), null, topic);
    }
  });

  test('names a tenant by its digest when the name would be too long', () => {
    const names = topicNames(perTenant);
    const tenant = '漢'.repeat(128);
    const topic = names.topicOf(tenant);
    assert.match(topic, /^millrace\._-[\w-]{43}\.events$/);
    assert.equal(names.includes(topic), true);
    assert.equal(names.tenantOf(topic), null);
    assert.notEqual(names.topicOf(`${'漢'.repeat(127)}字`), topic);
    // 128 characters that need no escape fit always.
    assert.equal(names.tenantOf(names.topicOf('t'.repeat(128))), 't'.repeat(128));
  });

  test('refuses a template that cannot be a topic', () => {
    const bad = ['', '.', '..', 'a b', 'über', '{tenant}.{tenant}', 'x'.repeat(250)];
    for (const template of [...bad, `${'x'.repeat(210)}{tenant}`]) {
      assert.throws(() => topicNames(template), { code: 'CONFIG_INVALID' }, template);
    }
    assert.equal(topicNames('{tenant}').topicOf('acme'), 'acme');
    assert.equal(topicNames('x'.repeat(249)).topicOf('acme').length, 249);
  });

  test('any two tenants have names that no broker takes for one', (t) => {
    const random = seededRandom(t);
    for (const template of [perTenant, '{tenant}', 'a_{tenant}', `${'x'.repeat(200)}{tenant}`]) {
      const names = topicNames(template);
      const owners = new Map<string, string>();
      for (let i = 0; i < 3_000; i += 1) {
        const tenant = randomTenant(random);
        const topic = names.topicOf(tenant);
        assert.match(topic, /^[A-Za-z0-9._-]{1,249}$/);
        assert.ok(topic !== '.' && topic !== '..' && !topic.startsWith('__'));
        assert.equal(names.topicOf(tenant), topic);
        assert.equal(names.includes(topic), true);
        const read = names.tenantOf(topic);
        assert.ok(read === tenant || (read === null && topic.includes('_-')), tenant);
        // As Kafka compares names: it calls `a.b` and `a_b` a collision.
        const seen = topic.replaceAll('.', '_');
        assert.equal(owners.get(seen) ?? tenant, tenant);
        owners.set(seen, tenant);
      }
    }
  });
});

const alphabets = ['ab._-', 'AaBb019', '._-/ %{}', 'é漢\u{1f600}_.', '-_0123456789abcdef'];

function randomTenant(random: Random): string {
  const letters = [...random.pick(alphabets)];
  const chars = random.chance(0.1) ? 128 : 1 + random.below(6);
  let tenant = '';
  while (tenant.length < chars) tenant += random.pick(letters);
  return tenant.length > 128 ? tenant.slice(0, 126) : tenant;
}

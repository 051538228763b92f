/** P9-24, "Configurable PII fields per tenant", in the code that a user writes and in packs. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defineEvent, MillraceError, pseudonyms, Redactor } from 'millrace';
import { compilePacks } from 'millrace/exceptions';
import { z } from 'zod';
import { prepareEvent } from '../../../src/core/event.ts';

const Signup = defineEvent('Signup', {
  schema: z.object({ id: z.string(), mail: z.string(), city: z.string(), pin: z.string() }),
  key: ({ id }) => id,
});
const payload = { id: 'u-1', mail: 'ann@example.org', city: 'Bonn', pin: '1234' };

describe('P9-24: configurable PII fields per tenant', () => {
  it('masks the fields of each tenant, and those of all', () => {
    const redactor = new Redactor({
      default: { fields: ['pin'] },
      tenants: { acme: { fields: ['city'] }, bolt: { keep: ['mail'] } },
    });
    const stored = (tenantId: string) =>
      prepareEvent(Signup, { tenantId, payload }, { redactor }).event.payload;
    const [email, field] = ['[redacted:email]', '[redacted:field]'];
    assert.deepEqual(stored('acme'), { id: 'u-1', mail: email, city: field, pin: field });
    assert.deepEqual(stored('bolt'), { ...payload, pin: field });
    assert.deepEqual(stored('other'), { ...payload, mail: email, pin: field });
  });

  it('keeps equal values joinable within a tenant, by a key', () => {
    const pseudonym = pseudonyms('0123456789abcdef-secret');
    const redactor = new Redactor({ pseudonym });
    const mailOf = (tenantId: string, mail: string) =>
      prepareEvent(Signup, { tenantId, payload: { ...payload, mail } }, { redactor }).event.payload
        .mail;
    const first = mailOf('acme', 'ann@example.org');
    assert.match(first, /^\[redacted:email:[0-9a-f]{16}\]$/);
    assert.equal(mailOf('acme', 'Ann@Example.org'), first);
    assert.notEqual(mailOf('acme', 'bob@example.org'), first);
    assert.notEqual(mailOf('bolt', 'ann@example.org'), first);
    const other = pseudonyms('another-key-of-16-bytes');
    assert.notEqual(other('ann@example.org', 'acme'), pseudonym('ann@example.org', 'acme'));
    assert.throws(() => pseudonyms('short'), { code: 'CONFIG_INVALID' });
  });

  it('takes piiFields from the policy pack of a tenant, and says where one is wrong', () => {
    const domain = { file: 'd.yaml', text: 'domainName: ops\nexceptionTypes: { X: {} }\n' };
    const policy = (fields: string) => ({
      file: 't.yaml',
      text: `tenantId: acme\ndomainName: ops\npiiFields: ${fields}\n`,
    });
    const packs = compilePacks([domain], [policy('[badge, person.*.mobile]')]);
    assert.deepEqual(packs.scope('acme', 'ops')?.policy.piiFields, ['badge', 'person.*.mobile']);
    assert.deepEqual(packs.scope('other', 'ops')?.policy.piiFields, []);
    assert.throws(
      () => compilePacks([domain], [policy('[badge, a..b]')]),
      (error) =>
        error instanceof MillraceError &&
        error.code === 'PACK_INVALID' &&
        /t\.yaml:3.*piiFields/.test(error.message) &&
        /'a\.\.b' has an empty step/.test(error.message),
    );
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { z } from 'zod';
import { MillraceError } from './errors.ts';
import { defineEvent, prepareEvent } from './event.ts';
import { type RedactionOptions, Redactor } from './redaction.ts';

const Anything = defineEvent('Anything', { schema: z.unknown() });

function redact(payload: unknown, options: RedactionOptions = {}, tenantId = 'acme') {
  const redactor = new Redactor(options);
  return prepareEvent(Anything, { tenantId, payload, key: null }, { redactor }).event;
}

const notes = (event: ReturnType<typeof redact>) =>
  event.metadata.redaction as unknown as {
    readonly count: number;
    readonly version: number;
    readonly more?: number;
    readonly key?: string;
    readonly fields: readonly { path: string; rule: string; count: number }[];
  };

function refusal(run: () => unknown): MillraceError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof MillraceError, String(error));
    return error;
  }
  return assert.fail('nothing was thrown');
}

test('values are masked in place, deep in objects and arrays, and the keys stay', () => {
  const payload = { a: [{ text: 'ask ann@example.org or +4915112345678' }, 7], ok: 'fine' };
  const event = redact(payload);
  assert.deepEqual(event.payload, {
    a: [{ text: 'ask [redacted:email] or [redacted:phone]' }, 7],
    ok: 'fine',
  });
  assert.deepEqual(notes(event), {
    version: 1,
    count: 2,
    fields: [
      { path: 'a[0].text', rule: 'email', count: 1 },
      { path: 'a[0].text', rule: 'phone', count: 1 },
    ],
  });
  assert.equal(payload.a.length, 2);
  assert.match(JSON.stringify(payload), /ann@example/, 'the payload given is left alone');
});

test('without anything to mask the event is the same as without redaction', () => {
  const payload = { orderId: 'o-1', at: '2026-01-05T14:13:29Z', cents: 1763745600000 };
  assert.deepEqual(redact(payload).metadata, {});
  const redactor = new Redactor({});
  assert.equal(redactor.redact(Anything, 'acme', payload), null);
});

test('fields by whole names and anchored paths, whatever the case', () => {
  const rules = { fields: ['pin', '*_name', 'customer.*.phone', '**.home.street', '$.note'] };
  const event = redact(
    {
      pin: 1234,
      shipping: 'by sea',
      spinning: true,
      PIN: 'x',
      first_name: 'Ann',
      LastName: 'Lee',
      username: 'al',
      customer: { main: { phone: '12' }, phone: '13', deep: { er: { phone: '14' } } },
      other: { customer: { main: { phone: '15' } } },
      a: { b: { home: { street: 'x', city: 'y' } } },
      note: 'one',
      inner: { note: 'two' },
    },
    { default: rules },
  );
  const field = '[redacted:field]';
  assert.deepEqual(event.payload, {
    pin: field,
    shipping: 'by sea',
    spinning: true,
    PIN: field,
    first_name: field,
    LastName: field,
    username: field,
    customer: { main: { phone: field }, phone: '13', deep: { er: { phone: '14' } } },
    other: { customer: { main: { phone: '15' } } },
    a: { b: { home: { street: field, city: 'y' } } },
    note: field,
    inner: { note: 'two' },
  });
  assert.equal(notes(event).fields[0]?.rule, 'field pin');
});

test('a masked object keeps its members, and lists are steps of a path', () => {
  const rules = { fields: ['person', 'lines[*].text'] };
  const payload = { person: { age: 5, tags: ['a', ''], is: true }, lines: [{ text: 'x', n: 1 }] };
  assert.deepEqual(redact(payload, { default: rules }).payload, {
    person: { age: '[redacted:field]', tags: ['[redacted:field]', ''], is: true },
    lines: [{ text: '[redacted:field]', n: 1 }],
  });
});

test('each tenant has the rules of all and its own', () => {
  const options: RedactionOptions = {
    default: { fields: ['name'] },
    tenants: { acme: { fields: ['nick'], values: ['card'] }, toString: { values: [] } },
  };
  const payload = { name: 'Ann', nick: 'A', text: 'ann@example.org 4111111111111111' };
  const field = '[redacted:field]';
  assert.deepEqual(redact(payload, options, 'acme').payload, {
    name: field,
    nick: field,
    text: 'ann@example.org [redacted:card]',
  });
  assert.deepEqual(redact(payload, options, 'other').payload, {
    name: field,
    nick: 'A',
    text: '[redacted:email] [redacted:card]',
  });
  assert.deepEqual(redact(payload, options, 'toString').payload, { ...payload, name: field });
  assert.deepEqual(redact(payload, { default: { keep: ['text', 'name'] } }).payload, payload);
});

test('secrets are masked for every tenant, only a definition may say otherwise', () => {
  const options: RedactionOptions = { default: { values: [], keep: ['*'] } };
  const payload = {
    dbPassword: 'x',
    url: 'amqp://u:p@h',
    token: 'page-2',
    nested: { otp: 123456 },
  };
  assert.deepEqual(redact(payload, options).payload, {
    dbPassword: '[redacted:secret]',
    url: 'amqp://[redacted:secret]@h',
    token: '[redacted:secret]',
    nested: { otp: '[redacted:secret]' },
  });
  const redactor = new Redactor(options);
  const given = { tenantId: 'acme', payload, key: null };
  const Paged = defineEvent('Paged', { schema: z.unknown(), redaction: { keep: ['token'] } });
  const { event } = prepareEvent(Paged, given, { redactor });
  assert.equal((event.payload as typeof payload).token, 'page-2');
  assert.equal((event.payload as typeof payload).dbPassword, '[redacted:secret]');
  const Vault = defineEvent('Vault', { schema: z.unknown(), redaction: false });
  assert.deepEqual(prepareEvent(Vault, given, { redactor }).event.payload, payload);
});

test('pseudonyms keep equal values equal, and are never made of secrets', () => {
  const pseudonym = (value: string, tenantId: string) =>
    (tenantId.length * 1_000 + value.length).toString(16).padStart(16, '0');
  const event = redact(
    { a: 'ann@example.org', b: 'x ann@example.org', password: 'p' },
    { pseudonym },
  );
  const marker = '[redacted:email:0000000000000faf]';
  assert.deepEqual(event.payload, { a: marker, b: `x ${marker}`, password: '[redacted:secret]' });
  const short = refusal(() => redact({ a: 'ann@example.org' }, { pseudonym: () => 'ann' }));
  assert.equal(short.code, 'CONFIG_INVALID');
});

test('redacting twice changes nothing', () => {
  const options = { default: { fields: ['who'] }, pseudonym: () => '0123456789abcdef' };
  const once = redact({ who: 'Ann', text: 'ann@example.org', token: 'x' }, options);
  const twice = redact(once.payload, options);
  assert.deepEqual(twice.payload, once.payload);
  assert.deepEqual(twice.metadata, {});
});

test('names of members stay, or are masked when asked for', () => {
  const payload = { 'ann@example.org': 1, 'bob@example.org': { phone: 'x' }, plain: 2 };
  assert.deepEqual(redact(payload).payload, payload);
  const event = redact(payload, { default: { names: 'mask', fields: ['phone'] } });
  assert.deepEqual(event.payload, {
    '[redacted:email]': 1,
    '[redacted:email]#2': { phone: '[redacted:field]' },
    plain: 2,
  });
  assert.doesNotMatch(JSON.stringify(event.metadata), /example/);
});

test('a masked value that the schema refuses becomes one of a fitting kind', () => {
  const Person = defineEvent('Person', {
    schema: z.object({
      ssn: z.number().positive(),
      mail: z.email(),
      born: z.iso.date(),
      id: z.uuid(),
      card: z.string().regex(/^\d{16}$/),
      either: z.union([z.object({ phone: z.number() }), z.null()]),
    }),
  });
  const redactor = new Redactor({ default: { fields: ['ssn', 'born', 'id', 'phone'] } });
  const payload = {
    ssn: 123456789,
    mail: 'ann@example.org',
    born: '1980-02-03',
    id: 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
    card: '4111111111111111',
    either: { phone: 12 },
  };
  const { event } = prepareEvent(Person, { tenantId: 'acme', payload }, { redactor });
  assert.deepEqual(event.payload, {
    ssn: 1,
    mail: 'redacted@redacted.invalid',
    born: '1970-01-01',
    id: '00000000-0000-0000-0000-000000000000',
    card: '0000000000000000',
    either: { phone: 0 },
  });
  assert.equal(notes(event as never).count, 6);
});

test('where nothing fits the event is refused, without the value', () => {
  const Strict = defineEvent('Strict', { schema: z.object({ mail: z.enum(['ann@example.org']) }) });
  const redactor = new Redactor({});
  const publish = (payload: object) =>
    prepareEvent(Strict, { tenantId: 'acme', payload: payload as never }, { redactor });
  const error = refusal(() => publish({ mail: 'ann@example.org' }));
  assert.equal(error.code, 'EVENT_INVALID');
  assert.match(error.message, /payload\.mail was redacted \(email\)/);
  assert.doesNotMatch(
    JSON.stringify({ ...error, message: error.message.split('schema')[0] }),
    /ann@/,
  );
  // What is wrong for other reasons is told as ever.
  assert.match(refusal(() => publish({ mail: 5 })).message, /^Strict: payload\.mail: Invalid/);
});

test('key, tenant and ids are never touched; a personal key is warned of and noted', () => {
  const Mail = defineEvent('Mail', {
    schema: z.object({ to: z.string() }),
    key: (payload) => payload.to,
  });
  const redactor = new Redactor({});
  const warnings: string[] = [];
  redactor.onWarning = (text) => warnings.push(text);
  const publish = () =>
    prepareEvent(
      Mail,
      {
        tenantId: 'ann@tenant.example',
        payload: { to: 'ann@example.org' },
        correlationId: '+4915112345678',
      },
      { redactor },
    ).event;
  const event = publish();
  publish();
  assert.equal(event.key, 'ann@example.org');
  assert.equal(event.tenantId, 'ann@tenant.example');
  assert.equal(event.correlationId, '+4915112345678');
  assert.deepEqual(event.payload, { to: '[redacted:email]' });
  assert.equal(notes(event as never).key, 'email');
  assert.equal(warnings.length, 1);
  assert.match(warnings[0] ?? '', /^The key of Mail holds personal data \(email\)/);
});

test('metadata is masked too, and what belongs to tracing stays', () => {
  const redactor = new Redactor({});
  const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
  const metadata = { agent: 'curl ann@example.org', traceparent };
  const { event } = prepareEvent(
    Anything,
    { tenantId: 'acme', payload: 1, key: null, metadata },
    { redactor },
  );
  assert.deepEqual(event.metadata, {
    agent: 'curl [redacted:email]',
    traceparent,
    redaction: {
      version: 1,
      count: 1,
      fields: [{ path: 'metadata.agent', rule: 'email', count: 1 }],
    },
  });
  const wrong = { tenantId: 'acme', payload: 'ann@example.org', metadata: 'x' as never };
  assert.match(
    refusal(() => prepareEvent(Anything, wrong, { redactor })).message,
    /metadata is text|metadata is/,
  );
});

test('notes are bounded whatever the payload', () => {
  const payload = Array.from({ length: 5_000 }, (_, i) => `a${i}@example.org`);
  const found = notes(redact(payload));
  assert.equal(found.count, 5_000);
  assert.equal(found.fields.length, 32);
  assert.equal(found.more, 968);
});

test('what cannot be looked through is not stored', () => {
  const loop: Record<string, unknown> = { text: 'ann@example.org' };
  loop.self = loop;
  assert.match(refusal(() => redact(loop)).message, /too large or too deep/);
});

test('text about events is masked by the rules of all', () => {
  const redactor = new Redactor({ default: { values: ['email'] } });
  assert.equal(
    redactor.text('acme', 'no ann@example.org at postgres://u:p@h; 4111111111111111'),
    'no [redacted:email] at postgres://[redacted:secret]@h; 4111111111111111',
  );
  assert.equal(new Redactor().text('acme', 'ann@example.org'), 'ann@example.org');
});

test('rules for some types hold for those alone, beside the general ones', () => {
  const Other = defineEvent('Other', { schema: z.unknown() });
  const redactor = new Redactor();
  assert.equal(redactor.on, false);
  redactor.use(['Other'], { default: { fields: ['name'] } });
  const given = { tenantId: 'acme', key: null, payload: { name: 'Ann', password: 'x' } };
  assert.deepEqual(prepareEvent(Anything, given, { redactor }).event.payload, given.payload);
  assert.deepEqual(prepareEvent(Other, given, { redactor }).event.payload, {
    name: '[redacted:field]',
    password: '[redacted:secret]',
  });
});

test('a wrong rule shows at the start', () => {
  const start = (options: unknown) => refusal(() => new Redactor(options as RedactionOptions));
  assert.match(start({ default: { fields: ['a..b'] } }).message, /'a\.\.b' has an empty step/);
  assert.match(start({ default: { fields: ['a.**'] } }).message, /ends in \*\*/);
  assert.match(start({ tenants: { acme: { keep: [''] } } }).message, /redaction\.keep\[0\]/);
  assert.match(start({ default: { values: ['ssn'] } }).message, /names 'ssn'/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  checkCorrelationId,
  checkKey,
  checkTenantId,
  checkUuid,
  formatTime,
  toTimestamp,
} from './event-fields.ts';

const refuses = (run: () => unknown, message: string) =>
  assert.throws(run, { code: 'EVENT_INVALID', message });

test('tenants have 1 to 128 characters without control characters', () => {
  for (const tenantId of ['a', 'TENANT_001', 'Ärger & Söhne 😀', 'x'.repeat(128)]) {
    assert.equal(checkTenantId(tenantId), tenantId);
  }
  refuses(() => checkTenantId(undefined), 'tenantId is undefined, not a string.');
  refuses(() => checkTenantId(7), 'tenantId is a number, not a string.');
  refuses(() => checkTenantId(''), 'tenantId is the empty string.');
  refuses(() => checkTenantId('x'.repeat(129)), 'tenantId has 129 characters; 128 are allowed.');
  refuses(() => checkTenantId('a\0'), 'tenantId has a control character at index 1.');
  refuses(() => checkTenantId('😀\n'), 'tenantId has a control character at index 2.');
  refuses(() => checkTenantId('a\x7f'), 'tenantId has a control character at index 1.');
  refuses(() => checkTenantId('a\ud83d'), 'tenantId has half of a surrogate pair.');
});

test('keys have up to 512 characters, or there is none', () => {
  assert.equal(checkKey(null), null);
  assert.equal(checkKey(undefined), null);
  assert.equal(checkKey('k'.repeat(512)), 'k'.repeat(512));
  refuses(() => checkKey('k'.repeat(513)), 'key has 513 characters; 512 are allowed.');
  refuses(() => checkKey(7), 'key is a number, not a string.');
  assert.throws(() => checkKey(''), {
    message: 'key is the empty string.',
    fix: 'Use null for no key.',
  });
  refuses(() => checkCorrelationId(null), 'correlationId is null, not a string.');
});

test('UUIDs come out in lower case', () => {
  const id = '017F22E2-79B0-7CC3-98C4-DC0C0C07398F';
  assert.equal(checkUuid(id, 'eventId'), id.toLowerCase());
  refuses(() => checkUuid('order-7', 'eventId'), 'eventId is text that is not a UUID.');
  refuses(() => checkUuid(7, 'causationId'), 'causationId is a number.');
});

test('times of all kinds become ISO 8601 in UTC with milliseconds', () => {
  const cases: readonly [unknown, string][] = [
    ['2025-01-31T12:00:00Z', '2025-01-31T12:00:00.000Z'],
    ['2025-01-31T12:00:00.123456Z', '2025-01-31T12:00:00.123Z'],
    ['2025-01-31T12:00+05:30', '2025-01-31T06:30:00.000Z'],
    ['2024-02-29T23:59:59.999-08:00', '2024-03-01T07:59:59.999Z'],
    [0, '1970-01-01T00:00:00.000Z'],
    [1.9, '1970-01-01T00:00:00.001Z'],
    [new Date(5), '1970-01-01T00:00:00.005Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
    ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
  ];
  for (const [value, expected] of cases) assert.equal(toTimestamp(value), expected);
  assert.equal(formatTime(7), formatTime(7));
});

test('what is no time, or another one on each machine, is refused', () => {
  const text = 'timestamp is not an ISO 8601 time with a zone, of the years 1 to 9999.';
  for (const value of [
    '',
    'yesterday',
    '2025-01-31',
    '2025-01-31T12:00:00',
    '2025-02-29T00:00:00Z',
    '2025-02-30T00:00:00Z',
    '2025-13-01T00:00:00Z',
    '2025-00-10T00:00:00Z',
    '2025-01-00T00:00:00Z',
    '2025-01-31T25:00:00Z',
    '2025-01-31 12:00:00Z',
    'Fri, 31 Jan 2025 12:00:00 GMT',
    '0000-01-01T00:00:00Z',
    '9999-12-31T23:00:00-02:00',
  ]) {
    refuses(() => toTimestamp(value), text);
  }
  const number = 'timestamp is not a number of milliseconds within the years 1 to 9999.';
  for (const value of [Number.NaN, Infinity, 1e15]) refuses(() => toTimestamp(value), number);
  refuses(() => toTimestamp(new Date(Number.NaN)), 'timestamp is a Date that holds no time.');
  refuses(() => toTimestamp(null), 'timestamp is null that holds no time.');
});

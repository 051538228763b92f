/** The code list, docs/ERRORS.md and the class must agree, word for word. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { type ErrorCode, errorCodes, MillraceError, permanentFailure } from './errors.ts';

const codes = Object.keys(errorCodes) as ErrorCode[];

test('docs/ERRORS.md has a section for each code, in order, with the same words', () => {
  const doc = readFileSync(new URL('../../docs/ERRORS.md', import.meta.url), 'utf8');
  const [, ...sections] = doc.split(/^## /m);
  assert.deepEqual(
    sections.map((section) => section.trim()),
    codes.map((code) => {
      const { meaning, retryable, fix } = errorCodes[code];
      return `${code}\n\n${meaning}\n\n- Retryable: ${retryable ? 'yes' : 'no'}\n- Fix: ${fix}`;
    }),
  );
});

test('meaning and fix of each code are sentences', () => {
  for (const code of codes) {
    assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
    assert.match(errorCodes[code].meaning, /^[A-Z].*\.$/, code);
    assert.match(errorCodes[code].fix, /^[A-Z].*\.$/, code);
  }
});

test('an error takes fix and retryable from its code unless told otherwise', () => {
  const plain = new MillraceError('STORE_UNAVAILABLE', 'Postgres does not answer.');
  assert.equal(plain.code, 'STORE_UNAVAILABLE');
  assert.equal(plain.retryable, true);
  assert.equal(plain.fix, errorCodes.STORE_UNAVAILABLE.fix);
  assert.equal(Object.hasOwn(plain, 'cause'), false);
  assert.equal(Object.hasOwn(plain, 'details'), false);

  const cause = new Error('below');
  const told = new MillraceError('STORE_CONFLICT', 'Twice.', {
    fix: 'Once.',
    retryable: true,
    cause,
    details: { eventId: 'a' },
  });
  assert.equal(told.fix, 'Once.');
  assert.equal(told.retryable, true);
  assert.equal(told.cause, cause);
  assert.deepEqual(told.details, { eventId: 'a' });
});

test('an error prints under its own name', () => {
  const error = new MillraceError('USAGE', 'no such command');
  assert.equal(String(error), 'MillraceError: no such command');
  assert.match(inspect(error), /^MillraceError: no such command\n.*at /s);
  assert.ok(error instanceof Error);
});

test('permanentFailure is not retryable and keeps the reason', () => {
  const error = permanentFailure('the account was closed', { details: { account: 7 } });
  assert.equal(error.code, 'PERMANENT_FAILURE');
  assert.equal(error.message, 'the account was closed');
  assert.equal(error.retryable, false);
  assert.deepEqual(error.details, { account: 7 });
});

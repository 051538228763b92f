import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ErrorCode, errorCodes, MillraceError } from '../core/errors.ts';
import { failureOf } from './failures.ts';

test('every code has a status, and the unexpected says nothing of its cause', () => {
  const statuses = new Map<ErrorCode, number>();
  for (const code of Object.keys(errorCodes) as ErrorCode[]) {
    const { status, body } = failureOf(new MillraceError(code, 'what happened'));
    statuses.set(code, status);
    if (status === 500) assert.doesNotMatch(JSON.stringify(body), /what happened/);
    else assert.deepEqual([body.error.code, body.error.message], [code, 'what happened']);
  }
  assert.equal(statuses.get('REQUEST_INVALID'), 400);
  assert.equal(statuses.get('NOT_FOUND'), 404);
  assert.equal(statuses.get('DEAD_LETTER_STATE'), 409);
  assert.equal(statuses.get('EVENT_TOO_LARGE'), 413);
  assert.equal(statuses.get('MIGRATION_FAILED'), 500);
});

test('answers that may be asked again say when', () => {
  assert.equal(failureOf(new MillraceError('BACKPRESSURE', 'full')).retryAfter, 1);
  assert.equal(failureOf(new MillraceError('STORE_UNAVAILABLE', 'gone')).retryAfter, 1);
  assert.equal(failureOf(new MillraceError('NOT_FOUND', 'no')).retryAfter, undefined);
});

test('whatever is thrown becomes an answer without its text', () => {
  for (const thrown of [new Error('secret'), 'secret', null, undefined, { statusCode: 'x' }]) {
    const { status, body, expected } = failureOf(thrown);
    assert.deepEqual([status, body.error.code, expected], [500, 'INTERNAL', false]);
    assert.doesNotMatch(JSON.stringify(body), /secret/);
  }
});

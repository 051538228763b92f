import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isMillraceError, MillraceError, permanentFailure } from './errors.ts';
import { cancelJob, outcomeOf, snooze } from './job-outcome.ts';

test('a handler may cancel, put off or give up its job', () => {
  assert.deepEqual(outcomeOf(cancelJob('withdrawn')), { kind: 'cancelled' });
  assert.equal(cancelJob('withdrawn').message, 'withdrawn');
  assert.deepEqual(outcomeOf(snooze(1_500.2)), { kind: 'snoozed', delayMs: 1_501 });
  assert.equal(snooze(1, 'rate limit').message, 'rate limit');
  assert.deepEqual(outcomeOf(permanentFailure('closed')), { kind: 'dead' });
});

test('a result that cannot be stored is final: the handler did its work', () => {
  assert.deepEqual(outcomeOf(new MillraceError('RESULT_INVALID', 'no')), { kind: 'dead' });
});

test('anything else is a failure, that of another job too', () => {
  const others = [
    new Error('no'),
    new MillraceError('JOB_CANCELLED', 'the child was cancelled'),
    new MillraceError('JOB_FAILED', 'the child is dead', { cause: permanentFailure('closed') }),
    new MillraceError('JOB_OUTCOME', 'made by hand'),
    Object.assign(new Error('x'), { code: 'JOB_OUTCOME', details: { outcome: 'cancelled' } }),
    'text',
    undefined,
    new Proxy(
      {},
      {
        getPrototypeOf() {
          throw new Error('trap');
        },
      },
    ),
  ];
  for (const thrown of others) assert.deepEqual(outcomeOf(thrown), { kind: 'failed' });
  assert.equal(isMillraceError(others.at(-1)), false);
});

test('snooze needs milliseconds', () => {
  for (const delayMs of [
    Number.NaN,
    -1,
    Number.POSITIVE_INFINITY,
    '5' as never,
    undefined as never,
  ])
    assert.throws(() => snooze(delayMs), { code: 'CONFIG_INVALID' });
});

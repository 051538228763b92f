import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  createRetryPolicies,
  defaultRetryPolicy,
  parseRetryPolicy,
  retryDelayMs,
} from './retry.ts';

test('delays double up to the cap, and jitter adds at most its share (P9-14)', () => {
  const delays = (random: number) =>
    [1, 2, 3, 9, 10, 100, 5000].map((attempt) => retryDelayMs(defaultRetryPolicy, attempt, random));
  assert.deepEqual(delays(0), [1000, 2000, 4000, 256_000, 300_000, 300_000, 300_000]);
  assert.deepEqual(delays(1), [1200, 2400, 4800, 307_200, 360_000, 360_000, 360_000]);
});

test('delays are spread by chance when no random number is given', () => {
  const seen = new Set(Array.from({ length: 50 }, () => retryDelayMs(defaultRetryPolicy, 5)));
  assert.ok(seen.size > 10);
  for (const delayMs of seen) assert.ok(delayMs >= 16_000 && delayMs <= 19_200);
});

test('a policy without delay stays without one', () => {
  const policy = parseRetryPolicy({ initialDelayMs: 0 });
  assert.equal(retryDelayMs(policy, 1), 0);
  assert.equal(retryDelayMs(policy, 5000), 0);
});

test('members left out are the default ones', () => {
  assert.deepEqual(parseRetryPolicy({}), defaultRetryPolicy);
  const policy = parseRetryPolicy({ maxRetries: 0, jitter: undefined });
  assert.deepEqual(policy, { ...defaultRetryPolicy, maxRetries: 0 });
  assert.ok(Object.isFrozen(policy));
});

test('a wrong policy is refused by the name of its member', () => {
  const cases: readonly [unknown, string][] = [
    [null, 'retry is null, not an object.'],
    [3, 'retry is a number, not an object.'],
    [[], 'retry is an array, not an object.'],
    [{ retries: 3 }, 'retry.retries is not part of a policy.'],
    [{ maxRetries: '3' }, 'retry.maxRetries is a string, not a number.'],
    [{ maxRetries: null }, 'retry.maxRetries is null, not a number.'],
    [{ maxRetries: 1.5 }, 'retry.maxRetries is 1.5, not a whole number.'],
    [{ maxRetries: -1 }, 'retry.maxRetries is -1, not from 0 to 1000.'],
    [{ maxRetries: Number.NaN }, 'retry.maxRetries is NaN, not a number.'],
    [{ multiplier: 0.5 }, 'retry.multiplier is 0.5, not from 1 to 100.'],
    [{ jitter: 20 }, 'retry.jitter is 20, not from 0 to 1.'],
    [{ maxDelayMs: Infinity }, 'retry.maxDelayMs is Infinity, not from 0 to 2592000000.'],
    [{ maxDelayMs: 10 }, 'retry.initialDelayMs is 1000, above maxDelayMs 10.'],
  ];
  for (const [value, message] of cases) {
    assert.throws(() => parseRetryPolicy(value), { code: 'CONFIG_INVALID', message });
  }
  assert.throws(() => parseRetryPolicy({ jitter: 2 }, 'OrderPaid.retry'), {
    message: 'OrderPaid.retry.jitter is 2, not from 0 to 1.',
  });
});

test('policies differ by event type, over one default', () => {
  const policies = createRetryPolicies(
    {
      ExceptionIngested: { maxRetries: 5, initialDelayMs: 2000, maxDelayMs: 600_000 },
      FeedbackCaptured: { maxRetries: 2, initialDelayMs: 500, maxDelayMs: 60_000 },
    },
    { jitter: 0 },
  );
  assert.deepEqual(policies.for('ExceptionIngested'), {
    maxRetries: 5,
    initialDelayMs: 2000,
    multiplier: 2,
    maxDelayMs: 600_000,
    jitter: 0,
  });
  assert.equal(policies.for('FeedbackCaptured').maxDelayMs, 60_000);
  assert.deepEqual(policies.for('Other'), { ...defaultRetryPolicy, jitter: 0 });
  assert.deepEqual(policies.for('constructor'), policies.for('Other'));
  assert.throws(() => createRetryPolicies({ Other: { multiplier: 0 } }), {
    message: 'retry.Other.multiplier is 0, not from 1 to 100.',
  });
});

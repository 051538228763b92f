import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type BackoffOption, backoffDelayMs, defaultBackoff, parseBackoff } from './backoff.ts';
import { MillraceError } from './errors.ts';

const delays = (option: BackoffOption, attempts = [1, 2, 3, 4, 5, 6], random = 0) =>
  attempts.map((attempt) => backoffDelayMs(parseBackoff(option), { attempt, random }));

test('each kind has its series of delays', () => {
  const rule = { delayMs: 100, jitter: 0.5 } as const;
  assert.deepEqual(delays({ ...rule, kind: 'none' }), [0, 0, 0, 0, 0, 0]);
  assert.deepEqual(delays({ ...rule, kind: 'fixed' }), [100, 100, 100, 100, 100, 100]);
  assert.deepEqual(delays({ ...rule, kind: 'linear' }), [100, 200, 300, 400, 500, 600]);
  assert.deepEqual(delays({ ...rule, kind: 'exponential' }), [100, 200, 400, 800, 1600, 3200]);
  assert.deepEqual(delays({ ...rule, kind: 'fibonacci' }), [100, 100, 200, 300, 500, 800]);
  const custom = (attempt: number) => attempt * 7;
  assert.deepEqual(delays({ ...rule, kind: 'custom', delay: custom }), [7, 14, 21, 28, 35, 42]);
});

test('a number is the first delay of an exponential policy, a function a custom one', () => {
  assert.deepEqual(parseBackoff(50), parseBackoff({ kind: 'exponential', delayMs: 50 }));
  const delay = () => 5;
  assert.deepEqual(parseBackoff(delay), parseBackoff({ kind: 'custom', delay }));
  assert.equal(parseBackoff({ delay } as never).kind, 'custom');
  assert.equal(parseBackoff(delay).jitter, 0);
});

test('members left out have their defaults, and the cap is never below the delay', () => {
  assert.deepEqual(parseBackoff({}), defaultBackoff);
  assert.deepEqual(parseBackoff({ jitter: undefined, kind: undefined }), defaultBackoff);
  assert.ok(Object.isFrozen(parseBackoff({})));
  assert.deepEqual(delays({ kind: 'fixed', delayMs: 3_600_000 }, [1, 9]), [3_600_000, 3_600_000]);
});

test('the cap holds for any attempt, and jitter adds at most its share to it', () => {
  const late = [10, 1_000, 1e9];
  assert.deepEqual(delays(1_000, late), [300_000, 300_000, 300_000]);
  assert.deepEqual(delays(1_000, late, 1), [360_000, 360_000, 360_000]);
  const fibonacci = { kind: 'fibonacci', maxDelayMs: 60_000 } as const;
  assert.deepEqual(delays(fibonacci, late), [55_000, 60_000, 60_000]);
  assert.deepEqual(delays({ kind: 'exponential', delayMs: 0 }, late), [0, 0, 0]);
  const custom = () => Number.POSITIVE_INFINITY;
  assert.deepEqual(delays(custom, late), [300_000, 300_000, 300_000]);
});

test('delays are spread by chance when no random number is given', () => {
  const backoff = parseBackoff({ kind: 'fixed', delayMs: 1_000 });
  const seen = new Set(Array.from({ length: 50 }, () => backoffDelayMs(backoff, { attempt: 1 })));
  assert.ok(seen.size > 10);
  for (const delayMs of seen) assert.ok(delayMs >= 1_000 && delayMs <= 1_200);
});

test('a custom function gets attempt and error', () => {
  const seen: unknown[] = [];
  const backoff = parseBackoff((attempt: number, error: unknown) => seen.push(attempt, error));
  const error = new Error('no');
  backoffDelayMs(backoff, { attempt: 3, error });
  assert.deepEqual(seen, [3, error]);
});

test('a custom function that gives no delay is told of, and its delayMs is waited', async () => {
  const answers: readonly [() => unknown, RegExp][] = [
    [() => 'soon', /answered a string after failure 2/],
    [() => undefined, /answered undefined/],
    [() => Number.NaN, /answered NaN/],
    [() => -1, /answered -1/],
    [() => 7n, /answered a BigInt/],
    [() => Promise.reject(new Error('later')), /answered a Promise/],
    [
      () => {
        throw new Error('inside');
      },
      /threw after failure 2/,
    ],
  ];
  for (const [answer, expected] of answers) {
    const problems: MillraceError[] = [];
    const backoff = parseBackoff({ kind: 'custom', delay: answer, delayMs: 40 });
    const onProblem = (problem: MillraceError) => problems.push(problem);
    assert.equal(backoffDelayMs(backoff, { attempt: 2, onProblem }), 40);
    assert.equal(backoffDelayMs(backoff, { attempt: 2 }), 40);
    assert.match(problems.map(({ message }) => message).join(), expected);
    assert.match(problems[0]?.fix ?? '', /40 ms are waited/);
  }
  await new Promise(setImmediate); // an unhandled rejection would fail the test
});

test('a wrong policy is refused by the name of its member', () => {
  const cases: readonly [unknown, string][] = [
    [null, 'backoff is null, not a number, an object or a function.'],
    ['1s', 'backoff is a string, not a number, an object or a function.'],
    [[], 'backoff is an array, not a number, an object or a function.'],
    [Number.NaN, 'backoff.delayMs is NaN, not a number.'],
    [-1, 'backoff.delayMs is -1, not from 0 to 2592000000.'],
    [{ delay_ms: 1 }, 'backoff.delay_ms is not part of a policy.'],
    [{ kind: 'quadratic' }, "backoff.kind is 'quadratic'."],
    [{ kind: 7 }, 'backoff.kind is a number.'],
    [{ kind: 'custom' }, 'backoff.delay is undefined, not a function.'],
    [{ kind: 'fixed', delay: () => 1 }, "backoff.delay is given, but kind is 'fixed'."],
    [{ multiplier: 0.5 }, 'backoff.multiplier is 0.5, not from 1 to 100.'],
    [{ jitter: 2 }, 'backoff.jitter is 2, not from 0 to 1.'],
    [{ jitter: '0.5' }, 'backoff.jitter is a string, not a number.'],
    [{ delayMs: 10, maxDelayMs: 9 }, 'backoff.delayMs is 10, above maxDelayMs 9.'],
  ];
  for (const [value, message] of cases) {
    const refused = (error: unknown) =>
      error instanceof MillraceError &&
      error.code === 'CONFIG_INVALID' &&
      error.message === message;
    assert.throws(() => parseBackoff(value), refused, message);
  }
  assert.throws(() => parseBackoff(null, 'send.backoff'), /^MillraceError: send\.backoff is null/);
});

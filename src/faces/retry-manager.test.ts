/** RetryManager: how often, how long, and when not again. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { permanentFailure } from '../core/errors.ts';
import { JobError, WorkerError } from './errors.ts';
import { RetryManager, type RetryNotice } from './retry-manager.ts';

const atOnce = { maxAttempts: 3, baseDelay: 0 };

/** Fails that often, then answers. */
function failing(times: number, error: unknown = new Error('not yet')) {
  const calls: number[] = [];
  const work = async ({ attempt }: { attempt: number }) => {
    calls.push(attempt);
    if (calls.length <= times) throw error;
    return `done in ${attempt}`;
  };
  return { calls, work };
}

describe('RetryManager', () => {
  it('answers with what the first success returned', async () => {
    const { calls, work } = failing(2);
    assert.equal(await new RetryManager(atOnce).retry(work), 'done in 3');
    assert.deepEqual(calls, [1, 2, 3]);
  });

  it('gives up after its attempts with a JobError that has the cause', async () => {
    const cause = new TypeError('no');
    const { calls, work } = failing(9, cause);
    const error = await new RetryManager(atOnce).retry(work, { jobId: 'job_001' }).catch((e) => e);
    assert.ok(error instanceof JobError && error instanceof WorkerError);
    assert.equal(error.message, 'job_001 failed after 3 tries: no');
    assert.deepEqual([error.code, error.jobId, error.attempts], ['JOB_FAILED', 'job_001', 3]);
    assert.equal(error.cause, cause);
    assert.equal(calls.length, 3);
  });

  it('takes the attempts of the call before its own, and 0 as one try', async () => {
    for (const [attempts, expected] of [
      [5, 5],
      [1, 1],
      [0, 1],
    ] as const) {
      const { calls, work } = failing(9);
      await assert.rejects(new RetryManager(atOnce).retry(work, { attempts }));
      assert.equal(calls.length, expected);
    }
  });

  it('tries once what cannot succeed, and what retryIf declines', async () => {
    const final = failing(9, permanentFailure('closed'));
    await assert.rejects(new RetryManager(atOnce).retry(final.work), /closed/);
    assert.equal(final.calls.length, 1);
    const declined = failing(9);
    const retryIf = (_: unknown, attempt: number) => attempt < 2;
    await assert.rejects(new RetryManager(atOnce).retry(declined.work, { retryIf }));
    assert.equal(declined.calls.length, 2);
  });

  it('waits longer each time, up to its cap, and never longer than that', () => {
    const manager = new RetryManager({ baseDelay: 1000, maxDelay: 10_000, backoffMultiplier: 2 });
    const delays = [1, 2, 3, 4, 5, 5_000].map((attempt) => manager.delayFor(attempt));
    assert.deepEqual(delays, [1000, 2000, 4000, 8000, 10_000, 10_000]);
    const jittered = new RetryManager({ baseDelay: 1000, maxDelay: 10_000, jitter: true });
    assert.deepEqual([jittered.delayFor(1, 0), jittered.delayFor(1, 0.999_999)], [1000, 500]);
    assert.equal(jittered.delayFor(9, 0.5), 7500);
    assert.equal(new RetryManager({ baseDelay: 0 }).delayFor(2_000), 0);
  });

  it('tells of each retry and really waits', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const notices: RetryNotice[] = [];
    const { calls, work } = failing(2);
    const answer = new RetryManager({ baseDelay: 1000 }).retry(work, {
      onRetry: (notice) => notices.push(notice),
    });
    const turns = async () => {
      for (let i = 0; i < 10; i += 1) await Promise.resolve();
    };
    await turns();
    t.mock.timers.tick(999);
    await turns();
    assert.equal(calls.length, 1);
    t.mock.timers.tick(1);
    await turns();
    assert.equal(calls.length, 2);
    t.mock.timers.tick(2000);
    assert.equal(await answer, 'done in 3');
    assert.deepEqual(
      notices.map(({ attempt, delayMs }) => [attempt, delayMs]),
      [
        [1, 1000],
        [2, 2000],
      ],
    );
  });

  it('ends at once when its signal is aborted: before, while it waits, while it runs', async () => {
    const manager = new RetryManager({ baseDelay: 1_000_000 });
    const reason = new Error('stop');
    const early = failing(0);
    const aborted = AbortSignal.abort(reason);
    await assert.rejects(manager.retry(early.work, { signal: aborted }), reason);
    assert.equal(early.calls.length, 0);

    const waiting = new AbortController();
    const { calls, work } = failing(9);
    const onRetry = () => queueMicrotask(() => waiting.abort(reason));
    await assert.rejects(manager.retry(work, { signal: waiting.signal, onRetry }), reason);
    assert.equal(calls.length, 1);

    const during = new AbortController();
    const obedient = ({ signal }: { signal: AbortSignal }) => {
      during.abort(reason);
      signal.throwIfAborted();
    };
    await assert.rejects(manager.retry(obedient, { signal: during.signal }), reason);
  });

  it('refuses options that make no sense, by name', () => {
    for (const [name, value] of [
      ['maxAttempts', -1],
      ['baseDelay', Number.NaN],
      ['maxDelay', '5'],
      ['backoffMultiplier', 0.5],
      ['jitter', 2],
    ] as const) {
      assert.throws(() => new RetryManager({ [name]: value } as object), {
        code: 'CONFIG_INVALID',
        details: { path: name },
      });
    }
  });
});

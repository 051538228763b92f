/** ErrorRecovery: which strategy, how often, and what it tells whom. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MillraceError } from '../core/errors.ts';
import { ErrorRecovery, type RecoveryNotice } from './error-recovery.ts';
import { JobError } from './errors.ts';
import { type JobVerdict, verdicts } from './job.ts';

class NetworkError extends Error {}
class TimeoutOfNetwork extends NetworkError {}
class BusinessLogicError extends Error {}
const job = (id = 'job_001') => ({ id, type: 'invoice.processing' });

function recovery() {
  const notices: RecoveryNotice[] = [];
  const errorRecovery = new ErrorRecovery({
    strategies: [
      { errorType: 'ValidationError', action: 'retry', maxAttempts: 3 },
      { errorType: 'NetworkError', action: 'retry', maxAttempts: 2, delay: 5000, notify: true },
      { errorType: 'BusinessLogicError', action: 'fail', notify: true },
      { errorType: 'NoiseError', action: 'ignore' },
      { errorType: 'LEASE_LOST', action: 'notify' },
    ],
    onNotify: (notice) => notices.push(notice),
  });
  return { errorRecovery, notices };
}

describe('ErrorRecovery', () => {
  it('finds a strategy by class, inherited class, name, code, and cause', () => {
    const { errorRecovery } = recovery();
    const typeFor = (error: unknown) => errorRecovery.strategyFor(error)?.errorType;
    assert.equal(typeFor(new NetworkError('a')), 'NetworkError');
    assert.equal(typeFor(new TimeoutOfNetwork('a')), 'NetworkError');
    assert.equal(typeFor(Object.assign(new Error('a'), { name: 'NoiseError' })), 'NoiseError');
    assert.equal(typeFor(new MillraceError('LEASE_LOST', 'a')), 'LEASE_LOST');
    const wrapped = new JobError('JOB_FAILED', 'a', { cause: new BusinessLogicError('b') });
    assert.equal(typeFor(wrapped), 'BusinessLogicError');
    for (const stranger of [new Error('a'), 'text', null, undefined, 7]) {
      assert.equal(typeFor(stranger), undefined);
    }
  });

  it("takes '*' for whatever no other strategy is for", async () => {
    const errorRecovery = new ErrorRecovery({
      strategies: [
        { errorType: '*', action: 'ignore' },
        { errorType: 'NetworkError', action: 'fail' },
      ],
    });
    assert.equal((await errorRecovery.handleError(job(), new Error('a'))).action, 'ignore');
    assert.equal((await errorRecovery.handleError(job(), new NetworkError('a'))).action, 'fail');
  });

  it('counts the tries of each job, and fails and notifies when they are used up', async () => {
    const { errorRecovery, notices } = recovery();
    const error = new NetworkError('down');
    const first = await errorRecovery.handleError(job(), error);
    assert.deepEqual([first.action, first.attempt, first.delay], ['retry', 1, 5000]);
    const other = await errorRecovery.handleError(job('job_002'), error);
    assert.equal(other.attempt, 1);
    assert.equal(notices.length, 0);
    const second = await errorRecovery.handleError(job(), error);
    assert.deepEqual([second.action, second.exhausted, second.delay], ['fail', true, 0]);
    assert.deepEqual(
      notices.map((notice) => [notice.job.id, notice.error]),
      [['job_001', error]],
    );
    assert.equal((await errorRecovery.handleError(job(), error)).attempt, 1, 'counted anew');
    errorRecovery.forget('job_001');
    assert.equal((await errorRecovery.handleError(job(), error)).attempt, 1);
  });

  it('takes the attempt that the engine counted, over processes', async () => {
    const { errorRecovery } = recovery();
    const decide = (attempt: number) =>
      errorRecovery.handleError({ ...job(), attempt }, new NetworkError('down'));
    assert.equal((await decide(1)).action, 'retry');
    assert.equal((await decide(2)).action, 'fail');
  });

  it('tells the engine what a running job shall come to', async () => {
    const { errorRecovery } = recovery();
    const running = { ...job(), attempt: 1 };
    const told: (JobVerdict | null)[] = [];
    verdicts.set(running, (verdict) => told.push(verdict));
    await errorRecovery.handleError(running, new NetworkError('down'));
    await errorRecovery.handleError(running, new BusinessLogicError('no'));
    await errorRecovery.handleError(running, new Error('something else'));
    assert.deepEqual(told, [
      { action: 'retry', delayMs: 5000, attempts: 2 },
      { action: 'fail', delayMs: 0, attempts: null },
      null,
    ]);
  });

  it('leaves the policy alone when it only notifies', async () => {
    const { errorRecovery, notices } = recovery();
    const { action, notified } = await errorRecovery.handleError(
      job(),
      new MillraceError('LEASE_LOST', 'gone'),
    );
    assert.deepEqual([action, notified, notices.length], ['none', true, 1]);
  });

  it('decides the same when a notification fails', async (t) => {
    const warnings = t.mock.method(process, 'emitWarning', () => {});
    const errorRecovery = new ErrorRecovery({
      strategies: [{ errorType: '*', action: 'fail', notify: true }],
      onNotify: async () => {
        throw new Error('the pager is down');
      },
    });
    assert.equal((await errorRecovery.handleError(job(), new Error('a'))).action, 'fail');
    assert.match(String(warnings.mock.calls[0]?.arguments[0]), /the pager is down/);
  });

  it('warns on the process when nobody takes notifications', async (t) => {
    const warnings = t.mock.method(process, 'emitWarning', () => {});
    const errorRecovery = new ErrorRecovery({
      strategies: [{ errorType: 'Error', action: 'fail', notify: true }],
    });
    await errorRecovery.handleError(job(), new Error('broken'));
    assert.match(
      String(warnings.mock.calls[0]?.arguments[0]),
      /^Job job_001 \(invoice.processing\) failed for good in try 1: broken$/,
    );
  });

  it('refuses strategies that make no sense, by place', () => {
    const paths = (strategy: object) => {
      try {
        new ErrorRecovery({ strategies: [strategy as never] });
        return null;
      } catch (error) {
        return (error as MillraceError).details?.path;
      }
    };
    assert.equal(paths({ errorType: '', action: 'fail' }), 'strategies[0].errorType');
    assert.equal(paths({ errorType: 'E', action: 'explode' }), 'strategies[0].action');
    assert.equal(
      paths({ errorType: 'E', action: 'retry', maxAttempts: -1 }),
      'strategies[0].maxAttempts',
    );
    assert.equal(paths({ errorType: 'E', action: 'retry', delay: 0.5 }), 'strategies[0].delay');
  });
});

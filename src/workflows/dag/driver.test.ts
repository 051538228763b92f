/** Declared workflows on a run in memory: one test for each thing that the driver does. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { drive, finish, StoredRun } from '../../../test/support/stored-run.ts';
import { permanentFailure } from '../../core/errors.ts';
import { failure } from '../steps/step-handler.ts';
import { defineTask } from './define-task.ts';
import { driveDag } from './driver.ts';
import { DagPlan } from './plan.ts';

const quick = { attempts: 3, delayMs: 100, backoff: 'linear' } as const;

describe('the driver of declared workflows', () => {
  it('runs steps one after the other, one commit each', async () => {
    const dag = defineTask<{ n: number }>('line')
      .step('a', ({ input }) => ({ n: input.n + 1 }))
      .step('b', { after: ['a'], handler: async ({ results }) => results.a.n * 2 })
      .step('c', { after: ['b'], handler: ({ results }) => `${results.b}` })
      .build();
    const run = await finish(dag, new StoredRun({ n: 1 }));
    assert.deepEqual(run.result, { c: '4' });
    assert.equal(run.commits, 3);
    const begun = 'initializing enqueuing_steps steps_in_process';
    const next = 'evaluating_results enqueuing_steps steps_in_process';
    assert.equal(run.path(), `${begun} ${next} ${next} evaluating_results complete`);
    assert.equal(run.path('b'), 'enqueued in_progress enqueued_for_orchestration complete');
  });

  it('runs a diamond side by side and its end once', async () => {
    let atOnce = 0;
    let most = 0;
    const slow = async (n: number) => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      await new Promise((resolve) => setImmediate(resolve));
      atOnce -= 1;
      return n;
    };
    const dag = defineTask('diamond')
      .step('top', () => 1)
      .step('left', { after: ['top'], handler: ({ results }) => slow(results.top + 1) })
      .step('right', { after: ['top'], handler: ({ results }) => slow(results.top + 2) })
      .step('end', {
        after: ['left', 'right'],
        handler: ({ results }) => results.left * results.right,
      })
      .build();
    const run = await finish(dag);
    assert.deepEqual(run.result, { end: 6 });
    assert.equal(most, 2);
  });

  it('bounds the handlers of a run', async () => {
    let atOnce = 0;
    let most = 0;
    let builder = defineTask('wide', { concurrency: 3 }).step('s0', () => 0);
    for (let i = 1; i < 20; i += 1) {
      builder = builder.step(`s${i}` as 's', async () => {
        atOnce += 1;
        most = Math.max(most, atOnce);
        await new Promise((resolve) => setImmediate(resolve));
        atOnce -= 1;
        return i;
      }) as never;
    }
    const dag = builder.build();
    const run = new StoredRun(null);
    const plan = new DagPlan(dag.compiled, dag.registry, { concurrency: 3 });
    assert.equal(await driveDag(run.hold(), plan, () => run.now), 'ended');
    assert.equal(most, 3);
    assert.equal(Object.keys(run.result as object).length, 20);
  });

  it('tries again with growing waits, and tells the handler which try it is', async () => {
    const tries: number[] = [];
    const dag = defineTask('retry')
      .step('a', {
        retry: quick,
        handler: (step) => {
          tries.push(step.attempt);
          assert.equal(step.isLastRetry(), step.attempt === 3);
          assert.equal(step.maxRetries, 2);
          if (step.retryCount < 2) throw new Error('not yet');
          return 'done';
        },
      })
      .build();
    const run = await finish(dag);
    assert.deepEqual(tries, [1, 2, 3]);
    assert.ok(run.now >= 1_000 + 100 + 200, `${run.now}`);
    assert.match(run.path(), /steps_in_process waiting_for_retry enqueuing_steps steps_in_process/);
    assert.equal(run.record.step('a')?.error, null);
  });

  it('is blocked by a step that failed for good, and goes on when it is retried', async () => {
    let broken = true;
    const calls: string[] = [];
    const dag = defineTask('blocked')
      .step('a', () => void calls.push('a'))
      .step('b', {
        after: ['a'],
        retry: false,
        handler: () => {
          calls.push('b');
          if (broken) throw new Error('no');
          return 1;
        },
      })
      .step('other', () => void calls.push('other'))
      .build();
    const run = new StoredRun(null);
    assert.equal(await drive(dag, run), 'rested');
    assert.deepEqual(run.rest, { state: 'blocked_by_failures', wakeAt: null });
    assert.equal(run.record.step('b')?.error?.message, 'no');
    broken = false;
    run.verb('retry', { reason: 'mended' });
    assert.equal(await drive(dag, run), 'ended');
    assert.deepEqual(calls, ['a', 'other', 'b', 'b']);
    assert.deepEqual(run.result, { b: 1, other: null });
    const verb = run.audit().find(({ by }) => by === 'ann');
    assert.deepEqual([verb?.step, verb?.to, verb?.reason], ['b', 'pending', 'mended']);
  });

  it('does not try again what says that it cannot help', async () => {
    for (const [name, handler] of [
      ['permanentFailure', () => Promise.reject(permanentFailure('never'))],
      ['failure()', () => failure('never', 'CardDeclined', false)],
      ['404', () => Promise.reject(Object.assign(new Error('gone'), { status: 404 }))],
      ['not JSON', () => new Date() as never],
    ] as const) {
      const dag = defineTask('final')
        .step('a', { retry: quick, handler: handler as () => unknown })
        .build();
      const run = new StoredRun(null);
      assert.equal(await drive(dag, run), 'rested', name);
      assert.equal(run.record.step('a')?.attempts, 1, name);
      assert.equal(run.record.step('a')?.state, 'error', name);
    }
  });

  it('waits as long as Retry-After says', async () => {
    const dag = defineTask('after')
      .step('a', {
        handler: ({ isRetry, attempt }) => {
          void isRetry;
          if (attempt > 1) return 1;
          const headers = new Headers({ 'retry-after': '7' });
          throw Object.assign(new Error('busy'), { response: { status: 429, headers } });
        },
      })
      .build();
    const run = await finish(dag);
    assert.equal(run.now, 8_000);
  });

  it('creates the branches that a decision chose, and the convergence of those', async () => {
    const dag = (choice: string[]) =>
      defineTask('choice')
        .decision('route', { branches: ['x', 'y'], handler: () => choice as ('x' | 'y')[] })
        .step('x', { after: ['route'], handler: () => 'X' })
        .step('more', { after: ['x'], handler: ({ results }) => `${results.x}!` })
        .step('y', { after: ['route'], handler: () => 'Y' })
        .converge('end', {
          after: ['more', 'y'],
          handler: ({ results }) => [results.more ?? null, results.y ?? null],
        })
        .build();
    const both = await finish(dag(['x', 'y']));
    assert.deepEqual(both.result, { end: ['X!', 'Y'] });
    const one = await finish(dag(['y']));
    assert.deepEqual(one.result, { end: [null, 'Y'] });
    assert.deepEqual(one.record.steps.map(({ name }) => name).sort(), ['end', 'route', 'y']);
    const none = await finish(dag([]));
    assert.deepEqual(none.result, { route: { decision_point_outcome: { type: 'no_branches' } } });
  });

  it('refuses a choice that is no branch', async () => {
    for (const choice of ['z', 'later']) {
      const dag = defineTask('wrong')
        .decision('route', { branches: ['x'], handler: () => choice as 'x' })
        .step('x', { after: ['route'], handler: () => 1 })
        .step('later', { after: ['x'], handler: () => 1 })
        .build();
      const run = new StoredRun(null);
      assert.equal(await drive(dag, run), 'rested');
      const { error, attempts } = run.record.step('route') ?? {};
      assert.equal(error?.code, 'RESULT_INVALID');
      assert.match(error?.message ?? '', new RegExp(`chose '${choice}'`));
      assert.equal(attempts, 1);
    }
  });

  it('cuts work into batches and gives all results to what follows', async () => {
    const ranges: unknown[] = [];
    const dag = defineTask<{ rows: number }>('import')
      .batch('load', {
        size: 100,
        parallelism: 4,
        plan: ({ input }) => ({ totalItems: input.rows }),
        worker: ({ batch }) => {
          ranges.push([batch.start, batch.end]);
          return { rows: batch.size };
        },
      })
      .step('sum', {
        after: ['load'],
        handler: ({ results }) => results.load.reduce((sum, { rows }) => sum + rows, 0),
      })
      .build();
    const run = await finish(dag, new StoredRun({ rows: 950 }));
    assert.deepEqual(run.result, { sum: 950 });
    assert.equal(ranges.length, 10);
    assert.deepEqual(ranges.at(-1), [900, 950]);
    assert.deepEqual(run.record.steps.map(({ name }) => name).slice(1, 3), [
      'load_001',
      'load_002',
    ]);
    const nothing = await finish(dag, new StoredRun({ rows: 0 }));
    assert.deepEqual(nothing.result, { sum: 0 });
  });

  it('treats failed batches as the strategy says', async () => {
    const dag = (onFailure: 'continue_on_failure' | 'fail_fast' | 'isolate') =>
      defineTask('batches')
        .batch('load', {
          size: 1,
          parallelism: 1,
          onFailure,
          retry: false,
          plan: () => ({ totalItems: 4 }),
          worker: ({ batch }) => {
            if (batch.id === '002') throw new Error('bad row');
            return batch.id;
          },
        })
        .step('end', { after: ['load'], handler: ({ results }) => [...results.load] })
        .build();
    const states = (run: StoredRun) =>
      run.record.steps.filter(({ kind }) => kind === 'batch_worker').map(({ state }) => state);
    const goOn = new StoredRun(null);
    assert.equal(await drive(dag('continue_on_failure'), goOn), 'rested');
    assert.deepEqual(states(goOn), ['complete', 'error', 'complete', 'complete']);
    const fast = new StoredRun(null);
    assert.equal(await drive(dag('fail_fast'), fast), 'rested');
    assert.deepEqual(states(fast), ['complete', 'error', 'cancelled', 'cancelled']);
    // Taken over, it is blocked still: cancelled batches are not forgotten.
    assert.equal(await drive(dag('fail_fast'), fast), 'rested');
    assert.equal(fast.record.state, 'blocked_by_failures');
    const apart = await finish(dag('isolate'));
    assert.deepEqual(apart.result, { end: ['001', '003', '004'] });
    assert.deepEqual(states(apart), ['complete', 'error', 'complete', 'complete']);
  });

  it('undoes what was done, last one first, and ends in error', async () => {
    const calls: string[] = [];
    let undoFails = 1;
    const dag = defineTask('saga')
      .step('book', {
        handler: () => ({ id: 7 }),
        compensate: (_step, { id }) => void calls.push(`unbook ${id}`),
      })
      .step('pay', {
        after: ['book'],
        retry: quick,
        handler: () => 'paid',
        compensate: () => {
          undoFails -= 1;
          if (undoFails >= 0) throw new Error('later');
          calls.push('refund');
        },
      })
      .step('ship', {
        after: ['pay'],
        retry: false,
        handler: () => Promise.reject(new Error('no')),
      })
      .step('after', { after: ['ship'], handler: () => void calls.push('after') })
      .build();
    const run = await finish(dag);
    assert.deepEqual(calls, ['refund', 'unbook 7']);
    assert.equal(run.end?.state, 'error');
    assert.equal(run.end?.error?.message, 'no');
    assert.equal(run.record.step('after')?.state, 'cancelled');
  });

  it('stores checkpoints at once and gives them to the next try', async () => {
    const seen: unknown[] = [];
    const dag = defineTask('checkpoint')
      .step('a', {
        retry: quick,
        handler: async (step) => {
          seen.push([step.checkpointCursor, step.checkpointItemsProcessed]);
          if (step.hasCheckpoint()) return step.accumulatedResults;
          await step.saveCheckpoint({ cursor: 5, itemsProcessed: 5, accumulatedResults: [1, 2] });
          throw new Error('half-way');
        },
      })
      .build();
    const run = await finish(dag);
    assert.deepEqual(seen, [
      [null, 0],
      [5, 5],
    ]);
    assert.deepEqual(run.result, { a: [1, 2] });
  });

  it('commits what a transactional step wrote together with its result', async () => {
    const dag = (text: string) =>
      defineTask('tx')
        .step('a', {
          transactional: true,
          retry: false,
          handler: async ({ tx }) => {
            await tx?.query(text);
            return 1;
          },
        })
        .step('b', { after: ['a'], handler: ({ results }) => results.a + 1 })
        .build();
    const run = await finish(dag('insert'));
    assert.deepEqual(run.effects, ['insert']);
    assert.deepEqual(run.result, { b: 2 });
    const failed = new StoredRun(null);
    assert.equal(await drive(dag('break the commit'), failed), 'rested');
    assert.deepEqual(failed.effects, []);
    assert.equal(failed.record.step('a')?.error?.message, 'constraint violated');
  });

  it('times out a handler that takes too long, and aborts its signal', async () => {
    let aborted = false;
    const dag = defineTask('slow')
      .step('a', {
        retry: false,
        timeoutMs: 20,
        handler: ({ signal }) =>
          new Promise((resolve) => {
            signal.addEventListener('abort', () => {
              aborted = true;
              resolve(1);
            });
          }),
      })
      .build();
    const run = new StoredRun(null);
    assert.equal(await drive(dag, run), 'rested');
    assert.equal(run.record.step('a')?.error?.code, 'HANDLER_TIMEOUT');
    assert.ok(aborted);
  });

  it('begins nothing while it is paused', async () => {
    const calls: string[] = [];
    const dag = defineTask('paused')
      .step('a', () => void calls.push('a'))
      .step('b', { after: ['a'], handler: () => void calls.push('b') })
      .build();
    const run = new StoredRun(null);
    const held = run.hold();
    await held.commit({ transitions: [], notes: [['paused', '{}']] });
    const plan = new DagPlan(dag.compiled, dag.registry);
    assert.equal(await driveDag(held, plan, () => run.now), 'rested');
    assert.deepEqual(calls, []);
    assert.equal(run.record.state, 'pending');
    await run.hold().commit({ transitions: [], notes: [['paused', null]] });
    assert.equal(await drive(dag, run), 'ended');
    assert.deepEqual(calls, ['a', 'b']);
  });

  it('rests while it is paused with steps to undo', async () => {
    const undone: string[] = [];
    const dag = defineTask('paused-saga')
      .step('book', { handler: () => 'seat', compensate: () => void undone.push('book') })
      .step('pay', {
        after: ['book'],
        retry: false,
        handler: async () => {
          await run.holder?.commit({ transitions: [], notes: [['paused', '{}']] });
          throw new Error('no');
        },
      })
      .build();
    const run = new StoredRun(null);
    const plan = new DagPlan(dag.compiled, dag.registry);
    let asked = 0;
    const now = () => {
      asked += 1;
      assert.ok(asked < 1_000, 'it waits');
      return run.now;
    };
    assert.equal(await driveDag(run.hold(), plan, now), 'rested');
    assert.deepEqual([undone, run.rest?.wakeAt], [[], null]);
    await run.hold().commit({ transitions: [], notes: [['paused', null]] });
    assert.equal(await driveDag(run.hold(), plan, now), 'ended');
    assert.deepEqual([undone, run.end?.state], [['book'], 'error']);
  });

  it('waits for the handlers at work before it undoes anything, and is quiet', async () => {
    const log: string[] = [];
    const dag = defineTask('busy-saga')
      .step('book', { handler: () => 'seat', compensate: () => void log.push('undone') })
      .step('pay', {
        after: ['book'],
        retry: false,
        handler: () => Promise.reject(new Error('no')),
      })
      .step('slow', {
        after: ['book'],
        handler: async () => {
          await new Promise((resolve) => setTimeout(resolve, 200));
          log.push('slow');
        },
      })
      .build();
    const run = new StoredRun(null);
    const plan = new DagPlan(dag.compiled, dag.registry);
    let asked = 0;
    const now = () => {
      asked += 1;
      return run.now;
    };
    assert.equal(await driveDag(run.hold(), plan, now), 'ended');
    assert.deepEqual(log, ['slow', 'undone']);
    assert.ok(asked < 100, `it looked at the clock ${asked} times`);
  });

  it('is not said to go on undoing when the tries of that are used up', async () => {
    const dag = defineTask('stuck-saga')
      .step('book', {
        retry: false,
        handler: () => 'seat',
        compensate: () => Promise.reject(new Error('no seat to give back')),
      })
      .step('pay', {
        after: ['book'],
        retry: false,
        handler: () => Promise.reject(new Error('no')),
      })
      .build();
    const run = new StoredRun(null);
    for (let i = 0; i < 2; i += 1) {
      assert.equal(await drive(dag, run), 'rested');
      assert.equal(run.record.state, 'blocked_by_failures');
      assert.ok(!run.record.notes.has('compensating'), `time ${i + 1}`);
      run.verb('reset_step', { step: 'pay' });
    }
  });

  it('takes no checkpoint of a handler that ran out of time', async () => {
    let late: Promise<unknown> = Promise.resolve();
    const dag = defineTask('late')
      .step('a', {
        retry: quick,
        timeoutMs: 20,
        handler: async (step) => {
          if (step.attempt > 1) return late.then(() => 'taken').catch(() => 'refused');
          const save = () => step.saveCheckpoint({ cursor: 5, itemsProcessed: 5 });
          late = new Promise((resolve) => setTimeout(resolve, 30)).then(save);
          await late.catch(() => {});
          return 'late';
        },
      })
      .build();
    const run = await finish(dag);
    assert.deepEqual(run.result, { a: 'refused' });
  });
});

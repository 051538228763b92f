/** Durable functions on a real store: every primitive, and runs that move between processes. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { z } from 'zod';
import { freshDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { eventually, gate } from '../../../test/support/eventually.ts';
import { ask, effectTable, openMill } from '../../../test/support/mill.ts';
import { permanentFailure } from '../../core/errors.ts';
import { defineEvent } from '../../core/event.ts';
import { defineWorkflow } from './define-workflow.ts';

let database: TestDatabase;
before(async () => {
  database = await freshDatabase();
});
after(() => database?.drop());

const wait = { timeoutMs: 20_000 };

test('steps, branches and items give their results', async (t) => {
  const Sum = defineWorkflow('sum', { input: z.object({ n: z.number() }) }, async (ctx, { n }) => {
    const one = await ctx.run('one', () => n + 1);
    const { a, b } = await ctx.parallel({
      a: () => ctx.run('a', async () => one * 2),
      b: () => ctx.run('b', () => 'b'),
    });
    const squares = await ctx.map('square', [1, 2, 3], (x) => x * x);
    return { a, b, squares };
  });
  const mill = await openMill(t, database.url);
  mill.workflows.work(Sum);
  await mill.start();
  const { runId, result } = await mill.workflows.start(Sum, { n: 1 });
  assert.deepEqual(await result(wait), { a: 4, b: 'b', squares: [1, 4, 9] });
  const run = await mill.workflows.get(runId);
  assert.equal(run?.state, 'complete');
  assert.equal(run?.steps.length, 6);
});

test('a sleep, a signal, a decision and an event, by two processes', async (t) => {
  const Paid = defineEvent('functions.paid', {
    schema: z.object({ order: z.string(), cents: z.number() }),
    key: ({ order }) => order,
  });
  const Waits = defineWorkflow(
    'waits',
    { waitsFor: [Paid] },
    async (ctx, { order }: { order: string }) => {
      await ctx.sleep('nap', 50);
      const go = await ctx.waitForSignal<string>('go');
      const decision = await ctx.approval('manager', { timeoutMs: '1h' });
      const both = await ctx.parallel({
        mine: () => ctx.waitForEvent(Paid, { key: order, timeoutMs: '1h' }),
        other: () =>
          ctx.waitForEvent(Paid, { as: 'other', key: 'x', timeoutMs: 200, otherwise: null }),
      });
      return { go, approved: decision.approved, cents: both.mine.cents, other: both.other };
    },
  );
  // The run rests as soon as it waits, and whoever has room goes on with it.
  const mills = [];
  for (let i = 0; i < 2; i += 1) {
    const mill = await openMill(t, database.url, { workflows: { residencyMs: 20, lookMs: 50 } });
    mill.workflows.work(Waits);
    await mill.start();
    mills.push(mill);
  }
  const [one, two] = mills as [(typeof mills)[0], (typeof mills)[0]];
  const { runId, result } = await one.workflows.start(Waits, { order: 'o-1' });
  const state = async () => (await two.workflows.get(runId))?.steps;
  await eventually('it waits for the signal', async () => {
    return (await state())?.some(({ name }) => name === 'signal:go');
  });
  assert.equal(await two.workflows.signal(runId, 'go', 'now'), 'delivered');
  await eventually('it waits for the manager', async () => {
    return (await state())?.some(({ name }) => name === 'manager');
  });
  await two.workflows.approve(runId, 'manager', { approved: true, by: 'ann' });
  await eventually('it waits for the event', async () => {
    return (await state())?.some(({ name }) => name.endsWith('event:functions.paid'));
  });
  const event = (order: string, cents: number) => ({
    tenantId: 'default',
    payload: { order, cents },
  });
  await two.publish(Paid, event('o-2', 1));
  await two.publish(Paid, event('o-1', 250));
  assert.deepEqual(await result(wait), { go: 'now', approved: true, cents: 250, other: null });
});

test('a child gives its result, and its failure can be caught', async (t) => {
  const Double = defineWorkflow('double', {}, async (ctx, { n }: { n: number }) => {
    if (n < 0) throw new Error('too small');
    return ctx.run('double', () => n * 2);
  });
  const Parent = defineWorkflow('parent', {}, async (ctx, { n }: { n: number }) => {
    const good = await ctx.invoke(Double, { n });
    const bad = await ctx
      .invoke(Double, { n: -1 }, { key: 'bad' })
      .catch((error: { code: string; message: string }) => error);
    return { good, bad: typeof bad === 'number' ? bad : bad.code };
  });
  const mill = await openMill(t, database.url);
  mill.workflows.work([Double, Parent]);
  await mill.start();
  const { result } = await mill.workflows.start(Parent, { n: 4 });
  assert.deepEqual(await result(wait), { good: 8, bad: 'WORKFLOW_FAILED' });
});

test('what failed is undone in reverse, and the run ends in error', async (t) => {
  const done: string[] = [];
  const Trip = defineWorkflow('trip', {}, async (ctx) => {
    for (const name of ['flight', 'car']) {
      const compensate = (result: string) => void done.push(`undo ${result}`);
      await ctx.run(name, () => `${name} 1`, { compensate });
    }
    await ctx.run('pay', () => {
      throw permanentFailure('no money');
    });
  });
  const mill = await openMill(t, database.url);
  mill.workflows.work(Trip);
  await mill.start();
  const { runId, result } = await mill.workflows.start(Trip, undefined);
  await assert.rejects(result(wait), /no money/);
  assert.deepEqual(done, ['undo car 1', 'undo flight 1']);
  const run = await mill.workflows.get(runId);
  const steps = run?.steps.map(({ name, state }) => `${name} ${state}`);
  assert.deepEqual(steps, [
    'flight complete',
    'car complete',
    'pay error',
    'undo:car complete',
    'undo:flight complete',
  ]);
});

test('a transactional step commits its writes with its result, or neither', async (t) => {
  await effectTable(database.url, 'function_effect');
  const Write = defineWorkflow('write', {}, async (ctx) => {
    const retry = { attempts: 3, backoff: { kind: 'none' } } as const;
    return ctx.run('write', { transactional: true, retry }, async ({ tx, attempt }) => {
      await tx.query('insert into function_effect (key, n) values ($1, $2)', ['w', attempt]);
      if (attempt < 3) throw new Error('not yet');
      return attempt;
    });
  });
  const mill = await openMill(t, database.url);
  mill.workflows.work(Write);
  await mill.start();
  const { result } = await mill.workflows.start(Write, undefined);
  assert.equal(await result(wait), 3);
  const rows = await ask<{ n: number }>(database.url, 'select n from function_effect');
  assert.deepEqual(
    rows.map(({ n }) => n),
    [3],
  );
});

test('cancel aborts the handler, and a retry of the failed run goes on', async (t) => {
  const began = gate();
  let aborted = false;
  const Long = defineWorkflow('long', {}, async (ctx) => {
    await ctx.run('wait', async ({ signal }) => {
      began.open();
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          resolve();
        });
      });
    });
  });
  let mended = false;
  const Flaky = defineWorkflow('mended', {}, async (ctx) => {
    const first = await ctx.run('first', () => 1);
    return ctx.run('second', { retry: { attempts: 1 } }, () => {
      if (!mended) throw new Error('broken');
      return first + 1;
    });
  });
  const mill = await openMill(t, database.url);
  mill.workflows.work([Long, Flaky]);
  await mill.start();
  const long = await mill.workflows.start(Long, undefined);
  await began.opened;
  await mill.workflows.cancel(long.runId, { by: 'ann', reason: 'enough' });
  await assert.rejects(long.result(wait), { code: 'WORKFLOW_CANCELLED' });
  await eventually('the handler is told', () => aborted);
  const flaky = await mill.workflows.start(Flaky, undefined);
  await assert.rejects(flaky.result(wait), { code: 'WORKFLOW_FAILED' });
  mended = true;
  assert.equal(await mill.workflows.retry(flaky.runId), 'delivered');
  assert.equal(await flaky.result(wait), 2);
  mended = false;
  const again = await mill.workflows.start(Flaky, undefined);
  await assert.rejects(again.result(wait), { code: 'WORKFLOW_FAILED' });
  mended = true;
  const { applied } = await mill.operator.verb(again.runId, { verb: 'retry_from', step: 'first' });
  assert.equal(applied, true);
  assert.equal(await again.result(wait), 2);
  const steps = (await mill.workflows.get(again.runId))?.steps;
  assert.deepEqual(
    steps?.map(({ state }) => state),
    ['complete', 'complete'],
  );
});

test('1,000 steps: the gap between steps does not grow', { timeout: 120_000 }, async (t) => {
  const Long = defineWorkflow('thousand', {}, async (ctx) => {
    const gaps: number[] = [];
    let last = performance.now();
    for (let i = 0; i < 1_000; i += 1) {
      await ctx.run(`step-${i}`, () => {
        const now = performance.now();
        gaps.push(now - last);
        last = now;
      });
    }
    return gaps;
  });
  const mill = await openMill(t, database.url);
  mill.workflows.work(Long);
  await mill.start();
  const { result } = await mill.workflows.start(Long, undefined);
  const gaps = await result({ timeoutMs: 100_000 });
  const median = (list: number[]) => list.sort((a, b) => a - b)[list.length >> 1] as number;
  const [first, last] = [median(gaps.slice(0, 100)), median(gaps.slice(900))];
  t.diagnostic(`median gap: steps 0–100 ${first.toFixed(2)} ms, 900–1,000 ${last.toFixed(2)} ms`);
  assert.ok(last <= first * 3, `${last} ms is more than three times ${first} ms`);
});

test('a map of 10,000 items ends, in few commits', { timeout: 120_000 }, async (t) => {
  const Many = defineWorkflow('many', {}, async (ctx) => {
    const items = Array.from({ length: 10_000 }, (_, i) => i);
    const results = await ctx.map('item', items, (n) => n % 7, { concurrency: 500 });
    return results.reduce((a, b) => a + b, 0);
  });
  const mill = await openMill(t, database.url);
  mill.workflows.work(Many);
  await mill.start();
  const { runId, result } = await mill.workflows.start(Many, undefined);
  const expected = Array.from({ length: 10_000 }, (_, i) => i % 7).reduce((a, b) => a + b, 0);
  assert.equal(await result({ timeoutMs: 100_000 }), expected);
  const history = await mill.store.workflows.queries.history(runId);
  t.diagnostic(`${history.length} commits`);
  assert.ok(history.length < 500, `${history.length} commits`);
});

/** What operators tell the steps of a declared workflow to do, on a run in memory. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventually } from '../../../test/support/eventually.ts';
import { drive, finish, StoredRun } from '../../../test/support/stored-run.ts';
import { defineTask } from './define-task.ts';
import { driveDag } from './driver.ts';
import { DagPlan } from './plan.ts';

describe('verbs on steps', () => {
  const chain = () => {
    const calls: string[] = [];
    const dag = defineTask('chain')
      .step('a', () => calls.push('a'))
      .step('b', {
        after: ['a'],
        retry: false,
        handler: () => {
          calls.push('b');
          if (calls.filter((one) => one === 'b').length === 1) throw new Error('no');
          return 1;
        },
      })
      .step('c', {
        after: ['b'],
        handler: ({ results }) => [calls.push('c'), results.b ?? null][1],
      })
      .build();
    return { calls, dag };
  };

  async function blocked() {
    const { calls, dag } = chain();
    const run = new StoredRun(null);
    assert.equal(await drive(dag, run), 'rested');
    return { calls, dag, run };
  }

  it('resolve_step: it counts as done, without a result', async () => {
    const { dag, run } = await blocked();
    run.verb('resolve_step', { step: 'b' });
    await finish(dag, run);
    assert.deepEqual(run.result, { c: null });
    assert.equal(run.record.step('b')?.state, 'resolved_manually');
  });

  it('complete_step: with a result', async () => {
    const { dag, run } = await blocked();
    run.verb('complete_step', { step: 'b', result: 9 });
    await finish(dag, run);
    assert.deepEqual(run.result, { c: 9 });
  });

  it('reset_step: it runs again', async () => {
    const { dag, run, calls } = await blocked();
    run.verb('reset_step', { step: 'b' });
    await finish(dag, run);
    assert.deepEqual(calls, ['a', 'b', 'b', 'c']);
    assert.equal(run.record.step('b')?.attempts, 1);
  });

  it('retry: nobody sees a run that has read it and is still blocked', async () => {
    const { dag, run } = await blocked();
    run.verb('retry');
    const states: string[] = [];
    run.onCommit = () => {
      if (run.record.read > 0) states.push(run.record.state);
    };
    await finish(dag, run);
    assert.equal(states.at(-1), 'complete');
    assert.ok(!states.includes('blocked_by_failures'), states.join());
  });

  it('retry_from: a step and what follows run again', async () => {
    const { dag, run, calls } = await blocked();
    run.verb('retry_from', { step: 'a' });
    await finish(dag, run);
    assert.deepEqual(calls, ['a', 'b', 'a', 'b', 'c']);
  });

  it('reset: a run that ended in error begins again', async () => {
    const { dag, run, calls } = await blocked();
    const held = run.hold();
    await held.commit({
      transitions: [[-1, 'error']],
      end: { state: 'error', resultJson: null, error: null },
    });
    run.verb('reset');
    await finish(dag, run);
    assert.deepEqual(calls, ['a', 'b', 'a', 'b', 'c']);
    assert.equal(run.end?.state, 'complete');
  });

  it('says why a verb has no effect, and goes on', async () => {
    const { dag, run } = await blocked();
    run.verb('reset_step', { step: 'a' });
    run.verb('resolve_step', { step: 'nobody' });
    run.verb('complete_step', { step: 'a', result: 1 });
    assert.equal(await drive(dag, run), 'rested');
    assert.deepEqual(run.warnings, [
      "reset_step has no effect: step 'a' is complete",
      "resolve_step has no effect: there is no step 'nobody'",
      "complete_step has no effect: step 'a' is complete",
    ]);
    assert.equal(run.record.read, 3);
  });

  it('a decision that is taken again leaves out what it no longer chooses', async () => {
    let choice: 'x' | 'y' = 'x';
    const dag = defineTask('again')
      .decision('route', { branches: ['x', 'y'], handler: () => choice })
      .step('x', { after: ['route'], retry: false, handler: () => Promise.reject(new Error('x')) })
      .step('y', { after: ['route'], handler: () => 'Y' })
      .converge('end', { after: ['x', 'y'], handler: ({ results }) => Object.keys(results) })
      .build();
    const run = new StoredRun(null);
    assert.equal(await drive(dag, run), 'rested');
    choice = 'y';
    run.verb('retry_from', { step: 'route' });
    await finish(dag, run);
    assert.equal(run.record.step('x')?.state, 'cancelled');
    assert.equal(run.record.step('y')?.state, 'complete');
  });

  it('retry goes forward again when something could not be undone', async () => {
    let broken = true;
    const calls: string[] = [];
    const dag = defineTask('saga')
      .step('book', {
        retry: { attempts: 2, delayMs: 100 },
        handler: () => calls.push('book'),
        compensate: () => {
          calls.push('unbook');
          throw new Error('away');
        },
      })
      .step('pay', {
        after: ['book'],
        retry: false,
        handler: () => {
          if (broken) throw new Error('no');
          return 'paid';
        },
      })
      .build();
    const run = new StoredRun(null);
    assert.equal(await drive(dag, run), 'rested');
    assert.deepEqual(calls, ['book', 'unbook', 'unbook']);
    assert.equal(run.record.state, 'blocked_by_failures');
    broken = false;
    run.verb('retry');
    await finish(dag, run);
    assert.deepEqual(run.result, { pay: 'paid' });
    assert.deepEqual([...run.record.notes.keys()], []);
  });

  it('a late ending of a step that was completed by hand changes nothing', async () => {
    let release: (value: string) => void = () => {};
    const dag = defineTask('late')
      .step(
        'a',
        () =>
          new Promise<string>((resolve) => {
            release = resolve;
          }),
      )
      .step('b', { after: ['a'], handler: ({ results }) => results.a })
      .build();
    const run = new StoredRun(null);
    const driving = drive(dag, run);
    await new Promise((resolve) => setTimeout(resolve, 50));
    run.verb('complete_step', { step: 'a', result: 'by hand' });
    assert.equal(await driving, 'ended');
    release('by handler');
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(run.result, { b: 'by hand' });
  });

  it('a late checkpoint of a handler that an operator took back does not come back', async () => {
    const seen: unknown[] = [];
    let late: (() => Promise<void>) | undefined;
    const dag = defineTask('late')
      .step('a', async (context) => {
        seen.push(context.checkpoint);
        if (seen.length > 1) return 'again';
        late = () => context.saveCheckpoint({ cursor: 7 });
        await context.saveCheckpoint({ cursor: 1 });
        await new Promise(() => {}); // it does not listen to its signal
      })
      .step('b', { after: ['a'], retry: false, handler: () => Promise.reject(new Error('no')) })
      .build();
    const run = new StoredRun(null);
    const driving = drive(dag, run);
    await new Promise((resolve) => setTimeout(resolve, 50));
    run.verb('retry_from', { step: 'a' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await assert.rejects(async () => late?.(), /began it anew/);
    await driving;
    assert.deepEqual(seen, [null, null]);
    assert.equal(run.record.step('a')?.checkpointJson, null);
  });

  it('a transaction that is slow to be undone does not end the next try', async () => {
    const calls: string[] = [];
    const dag = defineTask('slow')
      .step('a', {
        transactional: true,
        handler: async () => {
          calls.push('a');
          if (calls.length === 1) await new Promise(() => {}); // it does not listen to its signal
          await new Promise((resolve) => setTimeout(resolve, 100));
          return calls.length;
        },
      })
      .build();
    const run = new StoredRun(null);
    const held = run.hold();
    const begin = held.begin.bind(held);
    held.begin = async () => ({
      ...(await begin()),
      rollback: () => new Promise((resolve) => setTimeout(resolve, 50)),
    });
    const driving = driveDag(held, new DagPlan(dag.compiled, dag.registry), () => run.now);
    await eventually('it is at work', () => calls.length === 1);
    run.verb('retry_from', { step: 'a' });
    assert.equal(await driving, 'ended');
    assert.deepEqual([run.result, calls.length], [{ a: 2 }, 2]);
    assert.doesNotMatch(run.path(), /blocked/);
  });
});

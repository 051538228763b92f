/** What operators can do to a run of a durable function, on runs in memory. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { driveToEnd, MemoryHistory, MemoryRun } from '../../../test/support/crashing-run.ts';
import { eventually } from '../../../test/support/eventually.ts';
import type { WorkflowContext } from './context.ts';
import { type DefineWorkflowOptions, defineWorkflow } from './define-workflow.ts';

type Options = DefineWorkflowOptions<unknown, unknown, unknown, unknown>;
type Body = (ctx: WorkflowContext, input: never) => unknown;

const define = (body: Body, options: Options = {}) =>
  defineWorkflow('test', options, body as (ctx: WorkflowContext, input: unknown) => unknown);

/** Runs it to its end, and says what that was. */
async function finish(body: Body, options: Options = {}, input: unknown = null) {
  const workflow = define(body, options);
  const history = new MemoryHistory(workflow, input);
  await driveToEnd(workflow, history);
  return { workflow, history, ...endOf(history) };
}

function endOf(history: MemoryHistory) {
  const { end, record } = history;
  return {
    state: end?.state,
    result: end?.resultJson ? (JSON.parse(end.resultJson) as unknown) : undefined,
    error: end?.error ?? null,
    steps: record.steps.map(({ name, state }) => `${name} ${state}`),
  };
}

const once = { attempts: 1 } as const;
const fails = () => {
  throw new Error('broken');
};

/** Holds the run once, sends the verb when it waits, and drives it to its end. */
async function obey(body: Body, verb: string, payload: object, options: Options = {}) {
  const workflow = define(body, options);
  const history = new MemoryHistory(workflow);
  assert.equal(await workflow.drive(new MemoryRun(history, { rests: true })), 'rested');
  history.deliver('verb', verb, { by: 'ann', ...payload });
  await driveToEnd(workflow, history);
  return { workflow, history, ...endOf(history) };
}

describe('verbs', () => {
  test('cancel closes what is open, cancels children and says who', async () => {
    const Child = defineWorkflow('child', {}, () => 1);
    const undone: string[] = [];
    const body: Body = async (ctx) => {
      await ctx.run('a', () => 1, { compensate: () => void undone.push('a') });
      await ctx.invoke(Child, undefined);
    };
    const { state, steps, history } = await obey(body, 'cancel', { reason: 'enough' });
    assert.equal(state, 'cancelled');
    assert.deepEqual(steps, ['a complete', 'child:child cancelled']);
    assert.equal(history.sent[0]?.name, 'cancel');
    assert.match(history.changes.at(-1) ?? '', /"b":"ann".*"y":"enough"/);
    assert.deepEqual(undone, []);
    const again = await obey(body, 'cancel', {}, { compensateOnCancel: true });
    assert.equal(again.state, 'cancelled');
    assert.deepEqual(undone, ['a']);
    assert.equal(again.steps.at(-1), 'undo:a complete');
  });

  test('cancel aborts the signal of the context and of a handler at work', async () => {
    const aborted: string[] = [];
    const workflow = define(async (ctx) => {
      ctx.signal.addEventListener('abort', () => aborted.push('context'));
      await ctx.run('long', async ({ signal }) => {
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        aborted.push('handler');
      });
    });
    const history = new MemoryHistory(workflow);
    history.onCommit = () => history.deliver('verb', 'cancel', { by: 'ann' }, 'once');
    await driveToEnd(workflow, history);
    await eventually('both are told', () => aborted.length === 2);
    assert.deepEqual(endOf(history).steps, ['long cancelled']);
  });

  test('while a run is paused nothing begins', async () => {
    let ran = false;
    const workflow = define(async (ctx) => {
      await ctx.waitForSignal('go');
      return ctx.run('a', () => {
        ran = true;
        return 'ran';
      });
    });
    const history = new MemoryHistory(workflow);
    await workflow.drive(new MemoryRun(history, { rests: true }));
    history.deliver('verb', 'pause', { by: 'ann' });
    history.deliver('signal', 'go', null);
    assert.equal(await workflow.drive(new MemoryRun(history, { rests: true })), 'rested');
    assert.deepEqual([ran, history.rest?.wakeAt], [false, null]);
    history.deliver('verb', 'resume', { by: 'ann' });
    await driveToEnd(workflow, history, { rests: true });
    assert.equal(endOf(history).result, 'ran');
  });

  test('complete_step and resolve_step end a wait, and a step under way', async () => {
    const wait: Body = (ctx) => ctx.waitForSignal('never');
    const done = await obey(wait, 'complete_step', { step: 'signal:never', result: 5 });
    assert.deepEqual([done.result, done.steps], [5, ['signal:never complete']]);
    const resolved = await obey(wait, 'resolve_step', { step: 'signal:never' });
    assert.deepEqual(
      [resolved.state, resolved.steps],
      ['complete', ['signal:never resolved_manually']],
    );
    const workflow = define((ctx) => ctx.run('stuck', () => new Promise(() => {})));
    const history = new MemoryHistory(workflow);
    const verb = { by: 'ann', step: 'stuck', result: 'by hand' };
    history.onCommit = () => history.deliver('verb', 'complete_step', verb, 'once');
    await driveToEnd(workflow, history);
    assert.equal(endOf(history).result, 'by hand');
  });

  test('a holder that dies while it obeys leaves the verb to the next one', async () => {
    const workflow = define((ctx) => ctx.waitForSignal('never'));
    for (let boundary = 1; ; boundary += 1) {
      const history = new MemoryHistory(workflow);
      await workflow.drive(new MemoryRun(history, { rests: true }));
      const before = history.changes.length;
      history.deliver('signal', 'early', null);
      history.deliver('verb', 'complete_step', { by: 'ann', step: 'signal:never', result: 5 });
      await driveToEnd(workflow, history, { rests: true, crashBefore: before + boundary });
      assert.equal(endOf(history).result, 5, `died after ${boundary} commits`);
      if (!history.died) break;
    }
  });

  test('retry tries what failed, and keeps what is done', async () => {
    const calls = { a: 0, b: 0 };
    const body: Body = async (ctx) => {
      await ctx.run('a', () => (calls.a += 1));
      return [
        ctx.attempt,
        await ctx.run('b', { retry: once }, () => {
          calls.b += 1;
          if (calls.b === 1) fails();
          return calls.b;
        }),
      ];
    };
    const { workflow, history, state } = await finish(body);
    assert.equal(state, 'error');
    history.deliver('verb', 'retry', { by: 'ann' });
    await driveToEnd(workflow, history);
    assert.deepEqual(endOf(history).result, [2, 2]);
    assert.deepEqual(calls, { a: 1, b: 2 });
  });

  test('retry of a run that undid its steps does them again', async () => {
    const log: string[] = [];
    const body: Body = async (ctx) => {
      await ctx.run('a', () => log.push('a'), { compensate: () => void log.push('undo a') });
      await ctx.run('b', { retry: once }, () => {
        if (log.length < 3) fails();
      });
      return log.length;
    };
    const { workflow, history, state } = await finish(body);
    assert.equal(state, 'error');
    assert.deepEqual(log, ['a', 'undo a']);
    history.deliver('verb', 'retry', { by: 'ann' });
    await driveToEnd(workflow, history);
    assert.deepEqual(log, ['a', 'undo a', 'a']);
    assert.equal(endOf(history).result, 3);
  });

  test('a compensation that fails ends the run; retry goes on with it', async () => {
    let broken = true;
    const body: Body = async (ctx) => {
      const compensate = () => {
        if (broken) fails();
      };
      await ctx.run('a', () => 1, { compensate, compensateRetry: once });
      throw new Error('why');
    };
    const { workflow, history, error, steps } = await finish(body);
    assert.match(error?.message ?? '', /'undo:a' failed: broken \(while undoing, because why\)/);
    assert.deepEqual(steps, ['a complete', 'undo:a error']);
    broken = false;
    history.deliver('verb', 'retry', { by: 'ann' });
    await driveToEnd(workflow, history);
    assert.match(endOf(history).error?.message ?? '', /^why$/);
    assert.deepEqual(endOf(history).steps, ['a complete', 'undo:a complete']);
  });

  test('retry_from and reset run steps again that were done', async () => {
    const calls: string[] = [];
    const body: Body = async (ctx) => {
      for (const name of ['a', 'b', 'c']) await ctx.run(name, () => void calls.push(name));
      await ctx.waitForSignal('end');
    };
    for (const [verb, expected] of [
      ['retry_from', 'abcbc'],
      ['reset', 'abcabc'],
    ] as const) {
      calls.length = 0;
      const workflow = define(body);
      const history = new MemoryHistory(workflow);
      await workflow.drive(new MemoryRun(history, { rests: true }));
      history.deliver('verb', verb, { by: 'ann', step: 'b' });
      assert.equal(await workflow.drive(new MemoryRun(history, { rests: true })), 'rested');
      assert.equal(calls.join(''), expected);
      history.deliver('signal', 'end', null);
      await driveToEnd(workflow, history);
      assert.equal(endOf(history).state, 'complete');
    }
  });

  test('a decision that comes while an approval is to be asked for again is kept', async () => {
    const workflow = define(async (ctx) => {
      await ctx.run('a', async () => {
        // After the reset: the approval is known, and nobody waits for it just now.
        if (ctx.attempt === 2) history.deliver('approval', 'boss', { approved: true, by: 'bob' });
        await new Promise((resolve) => setTimeout(resolve, 100));
      });
      return ctx.approval('boss', { timeoutMs: 1_000 });
    });
    const history = new MemoryHistory(workflow);
    assert.equal(await workflow.drive(new MemoryRun(history, { rests: true })), 'rested');
    history.deliver('verb', 'reset', { by: 'ann' });
    await driveToEnd(workflow, history);
    const decision = { approved: true, by: 'bob', comment: null };
    assert.deepEqual(endOf(history).result, decision);
  });

  test('of two decisions before a question the second answers no later one', async () => {
    const workflow = define(async (ctx) => {
      await ctx.run('a', async () => {
        if (ctx.attempt !== 2) return;
        history.deliver('approval', 'boss', { approved: true, by: 'bob' });
        history.deliver('approval', 'boss', { approved: false, by: 'carol' });
        await new Promise((resolve) => setTimeout(resolve, 100));
      });
      await ctx.approval('boss', { timeoutMs: 60_000 });
      await ctx.waitForSignal('end');
    });
    const history = new MemoryHistory(workflow);
    const drive = () => workflow.drive(new MemoryRun(history, { rests: true }));
    const boss = () => [...history.record.steps].find(({ name }) => name === 'boss')?.state;
    assert.equal(await drive(), 'rested');
    history.deliver('verb', 'reset', { by: 'ann' });
    assert.equal(await drive(), 'rested');
    assert.equal(boss(), 'complete');
    history.deliver('verb', 'reset', { by: 'ann' });
    assert.equal(await drive(), 'rested');
    assert.equal(boss(), 'in_progress');
  });
});

/** What a durable function can do and what operators can do to it, on runs in memory. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { driveToEnd, MemoryHistory, MemoryRun } from '../../../test/support/crashing-run.ts';
import { eventually, gate } from '../../../test/support/eventually.ts';
import { type MillraceError, permanentFailure } from '../../core/errors.ts';
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

describe('steps', () => {
  test('a failure comes as STEP_FAILED with its cause, and is kept when caught', async () => {
    const seen: unknown[] = [];
    const { result, state } = await finish(async (ctx) => {
      const error = await ctx.run('bad', { retry: once }, fails).catch((e: MillraceError) => e);
      const { code, message, details, cause } = error as MillraceError;
      seen.push([code, message, (cause as Error).message]);
      await ctx.run('next', () => 1);
      return details;
    });
    assert.equal(state, 'complete');
    assert.deepEqual(result, { step: 'bad', kind: 'run', code: 'Error', attempts: 1 });
    assert.deepEqual(seen, [['STEP_FAILED', "Step 'bad' failed: broken", 'broken']]);
  });

  test('a permanent failure is not tried again, any other is', async () => {
    const tries = { permanent: 0, other: 0 };
    const retry = { attempts: 4, backoff: { kind: 'none' } } as const;
    const { error, steps } = await finish(async (ctx) => {
      await ctx
        .run('other', { retry }, () => {
          tries.other += 1;
          fails();
        })
        .catch(() => {});
      await ctx.run('permanent', { retry }, () => {
        tries.permanent += 1;
        throw permanentFailure('closed');
      });
    });
    assert.deepEqual(tries, { permanent: 1, other: 4 });
    assert.match(error?.message ?? '', /Step 'permanent' failed: closed/);
    assert.deepEqual(steps, ['other error', 'permanent error']);
  });

  test('a step that takes too long has failed', async () => {
    const { error } = await finish((ctx) =>
      ctx.run('slow', { timeoutMs: 5, retry: once }, () => new Promise(() => {})),
    );
    assert.match(error?.message ?? '', /took over 5 ms/);
  });

  test('the same key twice is an error, and so is a result that is not JSON', async () => {
    const { error } = await finish(async (ctx) => {
      await ctx.run('a', () => 1);
      await ctx.run('a', () => 2);
    });
    assert.equal(error?.code, 'WORKFLOW_INVALID');
    assert.match(error?.message ?? '', /'a' is used twice/);
    const wrong = await finish((ctx) => ctx.run('date', () => new Date()));
    assert.match(wrong.error?.message ?? '', /result is a Date/);
  });

  test('values are the same at every replay, without a place in the history', async () => {
    const seen: unknown[][] = [];
    const workflow = define(async (ctx) => {
      seen.push([ctx.uuid(), ctx.uuid(), ctx.uuid('key'), ctx.random(), ctx.now()]);
      await ctx.waitForSignal('go');
    });
    const history = new MemoryHistory(workflow);
    assert.equal(await workflow.drive(new MemoryRun(history, { rests: true })), 'rested');
    history.deliver('signal', 'go', null);
    await driveToEnd(workflow, history);
    assert.equal(seen.length, 2, 'it was called again');
    for (const values of seen) assert.deepEqual(values, seen[0]);
    assert.equal(new Set(seen[0]).size, 5);
  });

  test('what has no key beside other open calls is refused', async () => {
    const { error } = await finish(async (ctx) => {
      await Promise.all([ctx.sleep(1), ctx.sleep(1)]);
    });
    assert.match(error?.message ?? '', /sleep is called without a key/);
  });

  test('a try that was interrupted is repeated, unless the step says that it is not', async () => {
    for (const idempotent of [true, false]) {
      let calls = 0;
      const workflow = define((ctx) =>
        ctx.run('step', { idempotent }, async () => {
          calls += 1;
          if (calls === 1) await new Promise(() => {});
          return calls;
        }),
      );
      const history = new MemoryHistory(workflow);
      const first = new MemoryRun(history);
      const drive = workflow.drive(first);
      await eventually('its start is stored', () => history.changes.length > 0);
      first.crash();
      assert.equal(await drive, 'lost');
      await driveToEnd(workflow, history);
      const { state, error } = endOf(history);
      assert.equal(calls, idempotent ? 2 : 1);
      assert.equal(state, idempotent ? 'complete' : 'error');
      if (!idempotent) assert.match(error?.message ?? '', /is not known/);
      else assert.equal(history.record.step('step')?.attempts, 1);
    }
  });

  test('a step that kills its process every time is given up', async () => {
    const workflow = define((ctx) => ctx.run('poison', () => new Promise(() => {})));
    const history = new MemoryHistory(workflow);
    for (let deaths = 0; deaths < 11; deaths += 1) {
      const run = new MemoryRun(history);
      const before = history.changes.length;
      const drive = workflow.drive(run);
      await eventually('its start is stored', () => history.changes.length > before);
      run.crash();
      await drive;
    }
    await driveToEnd(workflow, history);
    assert.match(endOf(history).error?.message ?? '', /was interrupted 11 times/);
  });
});

describe('branches', () => {
  test('of a map that fails no further items begin', async () => {
    const began: number[] = [];
    const { error } = await finish((ctx) =>
      ctx.map(
        'item',
        [0, 1, 2, 3, 4, 5, 6, 7],
        (n) => {
          began.push(n);
          if (n === 2) throw permanentFailure('two');
        },
        { concurrency: 2 },
      ),
    );
    assert.match(error?.message ?? '', /'item\[2\]' failed: two/);
    assert.ok(began.length <= 4, `${began}`);
  });

  test('all branches of parallel end before its error is thrown', async () => {
    let other = false;
    const { error } = await finish(async (ctx) => {
      await ctx.parallel({
        bad: () => ctx.run('bad', { retry: once }, fails),
        good: async () => {
          await ctx.sleep(5);
          other = true;
        },
      });
    });
    assert.ok(other);
    assert.match(error?.message ?? '', /broken/);
  });

  test('a race that was lost is closed with the run', async () => {
    const { state, result, steps } = await finish((ctx) =>
      Promise.race([
        ctx.sleep('an hour', '1h').then(() => 'slept'),
        ctx.run('quick', () => 'quick'),
      ]),
    );
    assert.deepEqual([state, result], ['complete', 'quick']);
    assert.deepEqual(steps, ['an hour cancelled', 'quick complete']);
  });

  test('what an abandoned call does has no effect', async () => {
    const go = gate();
    let ran = 0;
    const workflow = define(async (ctx) => {
      const outside = go.opened.then(() =>
        ctx.run('late', () => {
          ran += 1;
        }),
      );
      outside.catch(() => {});
      await ctx.waitForSignal('end');
      return 'done';
    });
    const history = new MemoryHistory(workflow);
    const run = new MemoryRun(history, { rests: true });
    assert.equal(await workflow.drive(run), 'rested');
    const before = history.changes.length;
    go.open();
    for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([ran, history.changes.length], [0, before]);
  });
});

describe('waits', () => {
  test('signals that came before are kept in order; an approval, too', async () => {
    const workflow = define(async (ctx) => {
      const { approved } = await ctx.approval('boss');
      const first = await ctx.waitForSignal<number>('n');
      return [approved, first, await ctx.waitForSignal<number>('n')];
    });
    const history = new MemoryHistory(workflow);
    history.deliver('signal', 'n', 1, 'one');
    history.deliver('signal', 'n', 2, 'two');
    history.deliver('signal', 'n', 1, 'one');
    history.deliver('approval', 'boss', { approved: true, by: 'ann' });
    await driveToEnd(workflow, history, { rests: true });
    assert.deepEqual(endOf(history).result, [true, 1, 2]);
    assert.equal([...history.record.notes.keys()].filter((key) => /inbox/.test(key)).length, 0);
  });

  test('an event ends the waits whose type and key it fits', async () => {
    const workflow = define((ctx) =>
      ctx.parallel({
        a: () => ctx.waitForEvent<number>('paid', { key: 'a' }),
        b: () => ctx.waitForEvent<number>('paid', { key: 'b' }),
        any: () => ctx.waitForEvent<number>('paid'),
      }),
    );
    const history = new MemoryHistory(workflow);
    const event = (key: string, payload: number) =>
      history.deliver('event', 'paid', { eventId: `${payload}`, key, payload });
    history.onCommit = () => {
      if (history.waits.length < 3 || history.inbox.length > 0) return;
      event('b', 1);
      event('b', 2);
      event('a', 3);
    };
    await driveToEnd(workflow, history);
    assert.deepEqual(endOf(history).result, { a: 3, b: 1, any: 1 });
    assert.deepEqual(
      history.waits.map(({ eventType, eventKey, step }) => [eventType, eventKey, step]),
      [
        ['paid', 'a', 0],
        ['paid', 'b', 1],
        ['paid', null, 2],
      ],
    );
  });

  test('a time that is over fails, or gives what was said', async () => {
    const { result } = await finish(async (ctx) => {
      const code = await ctx
        .waitForSignal('x', { timeoutMs: 1 })
        .catch((error: MillraceError) => error.code);
      const otherwise = await ctx.waitForSignal('x', { timeoutMs: 1, otherwise: 'nothing' });
      const rejected = await ctx.approval('a', { timeoutMs: 1 });
      const approved = await ctx.approval('b', { timeoutMs: 1, onTimeout: 'approve' });
      const failed = await ctx
        .approval('c', { timeoutMs: 1, onTimeout: 'fail' })
        .catch((error: MillraceError) => error.code);
      return [code, otherwise, rejected.approved, rejected.by, approved.approved, failed];
    });
    const late = 'WORKFLOW_TIMEOUT';
    assert.deepEqual(result, [late, 'nothing', false, 'timeout', true, late]);
  });

  test('a child that takes too long is cancelled', async () => {
    const Child = defineWorkflow('child', {}, () => 1);
    const { error, history } = await finish((ctx) =>
      ctx.invoke(Child, undefined, { timeoutMs: 2 }),
    );
    assert.equal(error?.code, 'WORKFLOW_TIMEOUT');
    assert.equal(history.sent[0]?.name, 'cancel');
    assert.equal(history.sent[0]?.runId, history.starts[0]?.runId);
    assert.deepEqual(history.starts[0]?.parent, { runId: history.info.runId, step: 0 });
  });
});

describe('a function that was changed', () => {
  const rest = async (body: Body) => {
    const history = new MemoryHistory(define(body));
    assert.equal(await define(body).drive(new MemoryRun(history, { rests: true })), 'rested');
    return history;
  };

  test('another kind under a key, and an open step not asked for, fail the run', async () => {
    const before: Body = (ctx) => ctx.waitForSignal('x', { as: 'wait' });
    const after: readonly (readonly [Body, RegExp])[] = [
      [(ctx) => ctx.sleep('wait', 1), /'wait' as signal of x; the function asks for it as sleep/],
      [(ctx) => ctx.waitForSignal('y', { as: 'wait' }), /signal of x; .* signal of y/],
      [() => 'done', /'wait' \(signal, in_progress\); the function of test returned without/],
    ];
    for (const [body, message] of after) {
      const history = await rest(before);
      await driveToEnd(define(body), history);
      const { error } = endOf(history);
      assert.equal(error?.code, 'WORKFLOW_NONDETERMINISTIC');
      assert.match(error?.message ?? '', message);
    }
  });

  test('finished steps that are not asked for warn, and fail with strict', async () => {
    for (const strict of [false, true]) {
      const history = await rest(async (ctx) => {
        await ctx.run('old', () => 1);
        await ctx.waitForSignal('x');
      });
      history.deliver('signal', 'x', 1);
      await driveToEnd(
        define((ctx) => ctx.waitForSignal('x'), { strict }),
        history,
      );
      assert.equal(endOf(history).state, strict ? 'error' : 'complete');
      assert.equal(history.warnings.length, strict ? 0 : 1);
    }
  });

  test('patch is false for runs that have passed it, and true for others', async () => {
    const patched: Body = async (ctx) => {
      const isNew = ctx.patch('p');
      await ctx.run('a', () => 1);
      await ctx.waitForSignal('x');
      return [isNew, ctx.patch('p'), ctx.patch('later')];
    };
    const before = await rest(async (ctx) => {
      await ctx.run('a', () => 1);
      await ctx.waitForSignal('x');
    });
    before.deliver('signal', 'x', 1);
    await driveToEnd(define(patched), before);
    assert.deepEqual(endOf(before).result, [false, false, true]);
    const fresh = await rest(patched);
    fresh.deliver('signal', 'x', 1);
    await driveToEnd(define(patched), fresh);
    assert.deepEqual(endOf(fresh).result, [true, true, true]);
  });
});

test('a wait that ends with the draft that begins it leaves nothing to take away', async () => {
  const { history, state, steps } = await finish(async (ctx) => {
    ctx.waitForEvent('never', { as: 'wait' }).catch(() => {});
    fails();
  });
  assert.equal(state, 'error');
  assert.deepEqual(steps, ['wait cancelled']);
  assert.deepEqual(history.waits, []);
});

test('a child that could not be stored is refused before it is', async () => {
  const Child = define(() => 1);
  const Keyed = define(() => 1, { key: () => 'a\0b' });
  const problems: unknown[] = [];
  const { history } = await finish(async (ctx) => {
    const keep = (error: MillraceError) => void problems.push([error.code, error.message]);
    await ctx.invoke(Child, null, { key: 'a', priority: 1.5 }).catch(keep);
    await ctx.invoke(Keyed, null, { key: 'b' }).catch(keep);
  });
  assert.deepEqual(history.starts, []);
  assert.deepEqual(problems, [
    [
      'WORKFLOW_INVALID',
      'Child test: priority is 1.5, not a whole number from -2147483648 to 2147483647.',
    ],
    ['WORKFLOW_INVALID', 'Child test: key has a NUL or half of a surrogate pair.'],
  ]);
});

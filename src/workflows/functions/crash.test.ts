/**
 * Kills the process after every single commit of a run and lets another one take over: the end must
 * be that of the undisturbed run, and no effect may happen more than once more than needed.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { driveToEnd, MemoryHistory, MemoryRun } from '../../../test/support/crashing-run.ts';
import { permanentFailure } from '../../core/errors.ts';
import type { WorkflowContext } from './context.ts';
import { defineWorkflow, type FunctionWorkflow } from './define-workflow.ts';

/** How often each effect happened, by the key that its step would give to a service. */
type Effects = Map<string, number>;
type Tools = { readonly idempotencyKey: string };
/** Notes the effect of a step, and gives what the step returns. */
type Note = <T>(tools: Tools, value?: T) => T;

const now = { attempts: 5, backoff: { kind: 'none' } } as const;
const quick = { attempts: 5, backoff: { delayMs: 2, jitter: 0, kind: 'fixed' } } as const;
const Child = defineWorkflow('child', {}, async (_ctx, input: { n: number }) => input.n * 2);

const programs: Readonly<Record<string, (ctx: WorkflowContext, note: Note) => Promise<unknown>>> = {
  async sequential(ctx, note) {
    let sum = 0;
    for (let i = 0; i < 6; i += 1) {
      sum += await ctx.run(`step-${i}`, async (tools) => {
        note(tools);
        if (i % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
        return i;
      });
    }
    return { sum, id: ctx.uuid() === ctx.uuid('x'), moment: typeof ctx.now() };
  },
  async parallel(ctx, note) {
    return ctx.parallel({
      a: async () => {
        const one = await ctx.run('a1', (tools) => note(tools, 1));
        await ctx.sleep(3);
        return one + (await ctx.run('a2', (tools) => note(tools, 2)));
      },
      b: async () => {
        await ctx.sleep(1);
        return ctx.run('b1', async (tools) => note(tools, 'b'));
      },
      c: () => ctx.run('c1', (tools) => note(tools, ctx.random('r') < 1)),
    });
  },
  async map(ctx, note) {
    const items = Array.from({ length: 12 }, (_, i) => i);
    const squares = await ctx.map('square', items, async (n, _i, tools) => note(tools, n * n), {
      concurrency: 3,
    });
    return ctx.run('sum', (tools) =>
      note(
        tools,
        squares.reduce((a, b) => a + b, 0),
      ),
    );
  },
  async sleep(ctx, note) {
    await ctx.run('before', (tools) => note(tools, 1));
    await ctx.sleep('short', 2);
    await ctx.run('between', (tools) => note(tools, 2));
    await ctx.sleepUntil('long', ctx.now() + 6);
    return ctx.run('after', (tools) => note(tools, 'slept'));
  },
  async signal(ctx, note) {
    const first = await ctx.waitForSignal<number>('go');
    const second = await ctx.run('work', (tools) => note(tools, first + 1));
    const third = await ctx.waitForSignal<number>('go');
    const decision = await ctx.approval('manager', { timeoutMs: 60_000 });
    const late = await ctx.waitForSignal('never', { timeoutMs: 2, otherwise: 'nobody' });
    return { first, second, third, approved: decision.approved, late };
  },
  async child(ctx, note) {
    const two = await ctx.invoke(Child, { n: 1 });
    const both = await ctx.parallel({
      a: () => ctx.invoke(Child, { n: two }),
      b: () => ctx.run('beside', (tools) => note(tools, 'done')),
    });
    await ctx.start(Child, { n: 9 });
    return both;
  },
  async saga(ctx, note) {
    const undo = (result: unknown, tools: Tools) => note(tools, result);
    await ctx.run('flight', { compensate: undo }, (tools) => note(tools, 'f1'));
    await ctx.parallel({
      car: () => ctx.run('car', { compensate: undo }, (tools) => note(tools, 'c1')),
      hotel: () => ctx.run('hotel', { compensate: undo }, (tools) => note(tools, 'h1')),
    });
    await ctx.run('pay', { retry: now }, (tools) => {
      note(tools);
      throw permanentFailure('no money');
    });
  },
  async retry(ctx, note) {
    const third = await ctx.run('flaky', { retry: quick }, (tools) => {
      note({ idempotencyKey: `${tools.idempotencyKey}#${tools.attempt}` });
      if (tools.attempt < 3) throw new Error(`try ${tools.attempt}`);
      return tools.attempt;
    });
    const caught = await ctx
      .run('broken', { retry: { attempts: 2, backoff: { kind: 'none' } } }, () => {
        throw new Error('always');
      })
      .catch((error: Error) => error.message);
    return { third, caught };
  },
};

interface World {
  readonly workflow: FunctionWorkflow;
  readonly history: MemoryHistory;
  readonly effects: Effects;
}

/** A run and what surrounds it: children that end, people who send signals twice. */
function createWorld(name: string): World {
  const effects: Effects = new Map();
  const note: Note = ({ idempotencyKey }, value) => {
    const key = idempotencyKey.replace(/^[^:]+:/, '');
    effects.set(key, (effects.get(key) ?? 0) + 1);
    return value as never;
  };
  const program = programs[name] as (typeof programs)[string];
  const workflow = defineWorkflow(name, {}, (ctx) => program(ctx, note));
  const history = new MemoryHistory(workflow, null);
  let signals = 0;
  history.onCommit = (draft) => {
    for (const start of draft.starts ?? []) {
      if (start.parent === null) continue;
      const end = { runId: start.runId, state: 'complete', error: null };
      const result = (JSON.parse(start.inputJson) as { n: number }).n * 2;
      const id = `child:${start.runId}`;
      history.deliver('child', String(start.parent.step), { ...end, result }, id);
      // Again under another id: late completions are harmless.
      history.deliver('child', String(start.parent.step), { ...end, result: 99 });
    }
    for (const { kind, name: key } of draft.create ?? []) {
      if (kind === 'approval') history.deliver('approval', key, { approved: true, by: 'ann' });
      if (kind !== 'signal' || key === 'signal:never') continue;
      signals += 1;
      history.deliver('signal', 'go', signals * 10, `go-${signals}`);
      history.deliver('signal', 'go', -1, `go-${signals}`);
    }
  };
  return { workflow, history, effects };
}

const ended = ({ history, effects }: World) => {
  const { record, end } = history;
  const steps = record.steps.map(({ name, state, resultJson, error }) => {
    const result = name.startsWith('start:') ? 'a run' : resultJson;
    return `${name}: ${state} ${result} ${error?.message}`;
  });
  return {
    state: record.state,
    result: end?.resultJson,
    error: end?.error?.message,
    steps: steps.sort(),
    effects: [...effects.keys()].sort(),
  };
};

for (const rests of [false, true]) {
  describe(`a process that dies, of runs that ${rests ? 'rest' : 'stay'}`, () => {
    for (const name of Object.keys(programs)) {
      test(`${name}: whenever it dies, the end is the same`, { timeout: 60_000 }, async () => {
        const calm = createWorld(name);
        await driveToEnd(calm.workflow, calm.history, { rests });
        const expected = ended(calm);
        assert.ok(calm.history.changes.length >= 2, 'there is something to interrupt');
        for (const [key, count] of calm.effects) assert.equal(count, 1, `${key} once`);
        for (let at = 1; at <= calm.history.changes.length; at += 1) {
          for (const death of [{ crashAt: at }, { crashBefore: at }]) {
            const world = createWorld(name);
            await driveToEnd(world.workflow, world.history, { rests, ...death });
            const when = JSON.stringify(death);
            assert.deepEqual(ended(world), expected, when);
            for (const [key, count] of world.effects) {
              assert.ok(count <= 2, `${key} happened ${count} times, ${when}`);
            }
          }
        }
      });
    }
  });
}

test('a process that dies again and again gets there', { timeout: 60_000 }, async () => {
  for (const name of Object.keys(programs)) {
    const calm = createWorld(name);
    await driveToEnd(calm.workflow, calm.history);
    const world = createWorld(name);
    for (let crashAt = 1; world.history.end === null; crashAt += 1) {
      assert.ok(crashAt < 200, 'every commit brings it on');
      // Every holder dies at its first commit.
      const at = world.history.changes.length + 1;
      await Promise.race([
        world.workflow.drive(new MemoryRun(world.history, { crashAt: at })),
        new Promise((resolve) => setTimeout(resolve, 2_000).unref()),
      ]);
    }
    const { state, result, error } = ended(world);
    const expected = ended(calm);
    assert.deepEqual(
      { state, result, error },
      {
        state: expected.state,
        result: expected.result,
        error: expected.error,
      },
    );
  }
});

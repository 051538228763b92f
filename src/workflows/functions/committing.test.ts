/** Runs that end, or are cancelled, while a step's transaction is committing. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MemoryHistory, MemoryRun } from '../../../test/support/crashing-run.ts';
import { gate } from '../../../test/support/eventually.ts';
import type { Draft, HeldTransaction } from '../run/driver.ts';
import type { WorkflowContext } from './context.ts';
import { type DefineWorkflowOptions, defineWorkflow } from './define-workflow.ts';

type Options = DefineWorkflowOptions<unknown, unknown, unknown, unknown>;

const once = { attempts: 1 } as const;
const timeout = 10_000;

/** Transactions commit when the test says so, or are refused. */
class SlowRun extends MemoryRun {
  readonly underWay = gate();
  readonly go = gate();
  refused = false;
  onRead = () => {};

  override async begin(): Promise<HeldTransaction> {
    const transaction = await super.begin();
    const commit = async (draft: Draft) => {
      this.underWay.open();
      await this.go.opened;
      if (this.refused) throw new Error('a constraint does not hold');
      await transaction.commit(draft);
    };
    return { ...transaction, commit };
  }

  override async messages() {
    const messages = await super.messages();
    if (messages.length > 0) this.onRead();
    return messages;
  }

  /** After everything that can go on without it has gone on. */
  goLater(turns = 5): void {
    setImmediate(() => (turns === 0 ? this.go.open() : this.goLater(turns - 1)));
  }
}

type Body = (ctx: WorkflowContext, run: SlowRun) => unknown;

async function hold(
  body: Body,
  options: Options = {},
  prepare: (run: SlowRun, history: MemoryHistory) => void = () => {},
) {
  let run: SlowRun | undefined;
  const workflow = defineWorkflow('test', options, (ctx: WorkflowContext) =>
    body(ctx, run as SlowRun),
  );
  const history = new MemoryHistory(workflow, null);
  run = new SlowRun(history);
  prepare(run, history);
  const drive = await workflow.drive(run);
  const steps = history.record.steps.map(({ name, state }) => `${name} ${state}`);
  return { drive, history, steps, state: history.end?.state };
}

const write = (ctx: WorkflowContext, name = 'write') =>
  ctx.run(name, { transactional: true, retry: once }, () => name);

const failBeside = (ctx: WorkflowContext, run: SlowRun) =>
  ctx.run('fail', { retry: once }, async () => {
    await run.underWay.opened;
    run.goLater();
    throw new Error('broken');
  });

describe('while a transaction commits', () => {
  test('a sibling fails: the step is complete, the run ends in error', { timeout }, async () => {
    const { drive, state, steps, history } = await hold((ctx, run) =>
      Promise.all([write(ctx), failBeside(ctx, run)]),
    );
    assert.deepEqual([drive, state], ['ended', 'error']);
    assert.match(history.end?.error?.message ?? '', /broken/);
    assert.deepEqual(steps, ['write complete', 'fail error']);
  });

  test('a sibling fails, and others wait to commit: none is lost', { timeout }, async () => {
    const { state, steps } = await hold((ctx, run) =>
      Promise.all([write(ctx, 'a'), write(ctx, 'b'), failBeside(ctx, run)]),
    );
    assert.equal(state, 'error');
    assert.deepEqual(steps, ['a complete', 'b complete', 'fail error']);
  });

  test('a sibling fails, and the transaction is refused: both have failed', {
    timeout,
  }, async () => {
    const { drive, state, steps } = await hold(
      (ctx, run) => Promise.all([write(ctx), failBeside(ctx, run)]),
      {},
      (run) => {
        run.refused = true;
      },
    );
    assert.deepEqual([drive, state], ['ended', 'error']);
    assert.deepEqual(steps, ['write error', 'fail error']);
  });

  test('a sibling fails: what was committed is undone', { timeout }, async () => {
    const undone: unknown[] = [];
    const options = {
      transactional: true,
      retry: once,
      compensate: (result: string) => void undone.push(result),
    };
    const { state, steps } = await hold((ctx, run) =>
      Promise.all([ctx.run('write', options, () => 'written'), failBeside(ctx, run)]),
    );
    assert.equal(state, 'error');
    assert.deepEqual(undone, ['written']);
    assert.deepEqual(steps, ['write complete', 'fail error', 'undo:write complete']);
  });

  test('an operator cancels: the step is complete, the run cancelled', { timeout }, async () => {
    const [working, read] = [gate(), gate()];
    const { drive, state, steps } = await hold(
      async (ctx) => {
        await ctx.run('write', { transactional: true, retry: once }, async () => {
          working.open();
          await read.opened;
        });
        await ctx.waitForSignal('never', { as: 'wait' });
      },
      {},
      (run, history) => {
        void working.opened.then(() => history.deliver('verb', 'cancel', { by: 'ann' }));
        // The commit begins while it is being stored that the message was read.
        run.onRead = () => setImmediate(read.open);
        void run.underWay.opened.then(() => run.goLater());
      },
    );
    assert.deepEqual([drive, state], ['ended', 'cancelled']);
    assert.equal(steps[0], 'write complete');
  });
});

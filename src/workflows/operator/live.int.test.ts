/** The operator beside runs that really run: what it is told has its effect, and `why` is true. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { freshDatabase } from '../../../test/support/database.ts';
import { eventually, gate } from '../../../test/support/eventually.ts';
import { ask, names, openMill } from '../../../test/support/mill.ts';
import { permanentFailure } from '../../core/errors.ts';
import type { TaskState } from '../../core/workflow/states.ts';
import type { Millrace } from '../../millrace.ts';
import { type DefineWorkflowOptions, defineWorkflow } from '../functions/define-workflow.ts';
import type { RunReasonKind } from './reason.ts';

const database = await freshDatabase();
const longMs = 30_000;

type Options = DefineWorkflowOptions<unknown, unknown, unknown, unknown>;

async function open(t: TestContext) {
  const mill = await openMill(t, database.url);
  const namespace = names().tenant.replace('-', '_');
  return { mill, namespace };
}

function untilState({ operator }: Millrace, runId: string, state: TaskState) {
  return eventually(
    `${runId} is ${state}`,
    async () => {
      const run = await operator.show(runId);
      return run?.state === state && run;
    },
    longMs,
  );
}

function untilWhy({ operator }: Millrace, runId: string, kind: RunReasonKind) {
  return eventually(
    `${runId} says ${kind}`,
    async () => {
      const { reasons } = await operator.why(runId);
      return reasons[0].kind === kind && reasons[0];
    },
    longMs,
  );
}

/** Its one step waits until the gate opens. */
function gated(namespace: string, opened: Promise<void>, options: Partial<Options> = {}) {
  return defineWorkflow('gated', { namespace, ...options } as Options, async (ctx) => {
    await ctx.run('before', () => 'b');
    await ctx.run('wait', async () => {
      await opened;
      return 'w';
    });
    return ctx.run('after', () => 'a');
  });
}

test('a stale run is ended by its lifecycle, with the reason in the audit', async (t) => {
  const { mill, namespace } = await open(t);
  const { open: letGo, opened } = gate();
  t.after(letGo);
  const lifecycle = { maxStepsInProcessMinutes: 5, autoFailOnTimeout: true };
  const flow = gated(namespace, opened, { lifecycle });
  mill.workflows.work(flow);
  await mill.start();
  const { runId } = await mill.workflows.start(flow, {});
  await untilWhy(mill, runId, 'step-running');
  await untilState(mill, runId, 'steps_in_process');
  await ask(
    database.url,
    `update millrace.workflow_history set at = at - interval '6 minutes' where run_id = $1`,
    [runId],
  );
  const report = await mill.operator.sweep();
  assert.deepEqual([report.investigated, report.failed], [[runId], [runId]]);
  const { error } = await untilState(mill, runId, 'error');
  assert.equal(error?.code, 'WORKFLOW_TIMEOUT');
  const last = (await mill.operator.audit(runId)).at(-1);
  assert.equal(last?.by, 'staleness sweep');
  assert.match(last?.reason ?? '', /beyond max_steps_in_process of 5 minutes/);
  assert.equal((await mill.operator.why(runId)).reasons[0].kind, 'error');
});

test('pause holds a run, resume lets it go on', async (t) => {
  const { mill, namespace } = await open(t);
  const { open: letGo, opened } = gate();
  t.after(letGo);
  const flow = gated(namespace, opened);
  mill.workflows.work(flow);
  await mill.start();
  const { runId } = await mill.workflows.start(flow, {});
  await untilWhy(mill, runId, 'step-running');
  const paused = await mill.operator.verb(runId, { verb: 'pause', by: 'ann', waitMs: longMs });
  assert.equal(paused.applied, true);
  letGo();
  await eventually(
    'its step is done',
    async () => (await mill.operator.step(runId, 'wait')).state === 'complete',
    longMs,
  );
  assert.equal((await mill.operator.why(runId)).reasons[0].kind, 'paused');
  const steps = (await mill.operator.show(runId))?.steps ?? [];
  assert.ok(!steps.some(({ name, state }) => name === 'after' && state !== 'pending'));
  await mill.operator.verb(runId, { verb: 'resume', waitMs: longMs });
  await untilState(mill, runId, 'complete');
});

test('a failed run is retried after its cause was mended, and reset begins anew', async (t) => {
  const { mill, namespace } = await open(t);
  let broken = true;
  let calls = 0;
  const flow = defineWorkflow('mend', { namespace }, async (ctx) => {
    await ctx.run('count', () => {
      calls += 1;
      return calls;
    });
    return ctx.run('break', () => {
      if (broken) throw permanentFailure('not yet');
      return 'mended';
    });
  });
  mill.workflows.work(flow);
  await mill.start();
  const { runId } = await mill.workflows.start(flow, {});
  const first = await untilState(mill, runId, 'error');
  assert.match((await mill.operator.why(runId)).reasons[0].text, /not yet/);
  assert.equal(first.steps.find(({ name }) => name === 'break')?.state, 'error');
  broken = false;
  await mill.operator.verb(runId, { verb: 'retry', by: 'ann', waitMs: longMs });
  await untilState(mill, runId, 'complete');
  assert.equal(calls, 1, 'what was done is not done again');
  broken = true;
  const other = await mill.workflows.start(flow, {});
  await untilState(mill, other.runId, 'error');
  broken = false;
  calls = 0;
  await mill.operator.verb(other.runId, { verb: 'reset', waitMs: longMs });
  await untilState(mill, other.runId, 'complete');
  assert.equal(calls, 1, 'a reset run begins anew');
});

test('a run of a version that nobody here has says so, until somebody has it', async (t) => {
  const { mill, namespace } = await open(t);
  const one = defineWorkflow('versions', { namespace, version: '1' }, () => 1);
  const two = defineWorkflow('versions', { namespace, version: '2' }, () => 2);
  mill.workflows.work(one);
  await mill.start();
  const { runId } = await mill.workflows.start(two, {});
  const { text } = await untilWhy(mill, runId, 'job-no-handler');
  assert.ok(text.includes(`${namespace}/versions@2`), text);
  mill.workflows.work(two);
  await untilState(mill, runId, 'complete');
});

test('a sleeping run says until when, and rests meanwhile', async (t) => {
  const { mill, namespace } = await open(t);
  const flow = defineWorkflow('naps', { namespace }, (ctx) => ctx.sleep('nap', '1h'));
  mill.workflows.work(flow);
  await mill.start();
  const { runId } = await mill.workflows.start(flow, {});
  const { text } = await untilWhy(mill, runId, 'sleeping');
  const [, until] = /until (\S+Z)/.exec(text) ?? [];
  const ms = Date.parse(until ?? '') - Date.now();
  assert.ok(ms > 3_000_000 && ms <= 3_600_000, text);
  await mill.operator.verb(runId, { verb: 'cancel', waitMs: longMs });
  await untilState(mill, runId, 'cancelled');
});

/** Verbs, dead letters, the sweep, bulk verbs and figures on real histories. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { ask } from '../../../test/support/mill.ts';
import type { RunChange } from '../../core/workflow/run-record.ts';
import type { TaskState } from '../../core/workflow/states.ts';
import { openPostgresStore } from '../../drivers/postgres/store.ts';
import { startWorker } from '../../ports/jobs.fixtures.conformance.ts';
import type { Store } from '../../ports/store.ts';
import {
  changeJson,
  commit,
  complete,
  failed,
  link,
  newMessage,
  newRun,
  start,
  startHeld,
  type WorkflowCaseContext,
} from '../../ports/workflows.fixtures.conformance.ts';
import type { NewMessage, NewRun, RunEnd } from '../../ports/workflows.ts';
import type { AnyWorkflowDefinition, LifecycleChoice } from '../definition.ts';
import { WorkflowOperator } from './operator.ts';

let database: TestDatabase;
let store: Store;
before(async () => {
  database = await freshDatabase();
  store = await openPostgresStore({ url: database.url });
});
after(async () => {
  await store.close();
  await database.drop();
});

let number = 0;
async function surroundings(lifecycle: LifecycleChoice = {}, configured: LifecycleChoice = {}) {
  number += 1;
  const context: WorkflowCaseContext = {
    store,
    queue: `q${number}`,
    tenant: `t${number}`,
    another: () => Promise.reject(new Error('one is enough')),
    transaction: () => Promise.reject(new Error('none here')),
    t: {} as never,
  };
  const { epoch } = await startWorker(store.jobs, context.queue);
  await store.workflows.hold(epoch);
  const { workflows, jobs } = store;
  const delivered: NewMessage[] = [];
  const definition = {
    namespace: 'conformance',
    name: `flow-${context.queue}`,
    version: '1.0.0',
    lifecycle,
  } as AnyWorkflowDefinition;
  const operator = new WorkflowOperator({
    workflows,
    jobs,
    definitions: () => [definition],
    lifecycle: configured,
    async deliver(messages) {
      delivered.push(...messages);
      return (await workflows.deliver(messages)).deliveries;
    },
    onError: (error) => assert.fail(String(error)),
  });
  /** A held run with one change. */
  const runWith = async (change: Partial<RunChange>, state: TaskState = 'steps_in_process') => {
    const run = await startHeld(context, epoch);
    const json = changeJson({
      ...change,
      transitions: [...(change.transitions ?? []), [-1, state]],
    });
    await commit(store, epoch, [link(run, 1, { state, changeJson: json })]);
    return run;
  };
  /** As if its last change, or all of it, had been so long ago. */
  const age = async ({ runId }: NewRun, minutes: number, whole = false) => {
    const shift = `interval '${minutes} minutes'`;
    const history = `update millrace.workflow_history set at = at - ${shift}
      where run_id = '${runId}'`;
    const started = `update millrace.workflow_run set started_at = started_at - ${shift}
      where run_id = '${runId}'`;
    await ask(database.url, whole ? started : history);
  };
  return { context, epoch, operator, delivered, runWith, age };
}

const blockedChange: Partial<RunChange> = {
  create: [
    { name: 'first', kind: 'standard' },
    { name: 'second', kind: 'standard', dependsOn: ['first'] },
  ],
  transitions: [
    [0, 'in_progress'],
    [0, 'error'],
  ],
};

test('a verb says who and why; it is refused in a state that has no use for it', async () => {
  const { operator, runWith, context, epoch, delivered } = await surroundings();
  const run = await runWith(blockedChange, 'blocked_by_failures');
  const said = { by: 'ann', reason: 'The bank is back.', waitMs: 0 };
  const answer = await operator.verb(run.runId, { verb: 'retry', ...said });
  assert.deepEqual([answer.applied, answer.run.state], [false, 'blocked_by_failures']);
  const [message] = delivered as [NewMessage];
  assert.deepEqual([message.kind, message.name], ['verb', 'retry']);
  assert.deepEqual(JSON.parse(message.payloadJson), { by: 'ann', reason: 'The bank is back.' });

  const none = { waitMs: 0 };
  await operator.verb(run.runId, {
    verb: 'complete_step',
    step: 'first',
    result: { n: 1 },
    ...none,
  });
  assert.deepEqual(JSON.parse(delivered.at(-1)?.payloadJson ?? ''), {
    step: 'first',
    result: { n: 1 },
    by: 'operator',
  });
  await assert.rejects(operator.verb(run.runId, { verb: 'reset_step', step: 'third' }), {
    code: 'NOT_FOUND',
    fix: 'Its steps are first, second.',
  });
  await assert.rejects(operator.verb(run.runId, { verb: 'reset_step', step: 'second' }), {
    code: 'WORKFLOW_STATE',
  });
  await assert.rejects(operator.verb(run.runId, { verb: 'reset_step' }), {
    code: 'REQUEST_INVALID',
  });
  await assert.rejects(operator.verb(run.runId, { verb: 'resume' }), /it is not paused/);

  const ended = await startHeld(context, epoch);
  await commit(store, epoch, [link(ended, 1, { end: complete })]);
  for (const verb of ['cancel', 'retry', 'reset', 'pause', 'give_up', 'resolve_run'] as const) {
    await assert.rejects(
      operator.verb(ended.runId, { verb }),
      (error) => (error as { code?: string }).code === 'WORKFLOW_STATE',
      verb,
    );
  }
  const missing = '01a1fe00-0000-7000-8000-000000000000';
  await assert.rejects(operator.verb(missing, { verb: 'cancel' }), { code: 'NOT_FOUND' });
  await assert.rejects(operator.signal(missing, 'go', {}), { code: 'NOT_FOUND' });
  await assert.rejects(operator.signal(ended.runId, 'go', {}), { code: 'WORKFLOW_STATE' });
});

test('a verb has had its effect once the run has read it', async () => {
  const { operator, runWith, epoch, delivered } = await surroundings();
  const run = await runWith({});
  const told = operator.verb(run.runId, { verb: 'pause', waitMs: 20_000 });
  while (delivered.length === 0) await new Promise((resolve) => setImmediate(resolve));
  // Delivered is not stored yet: the holder reads what there is.
  let read = 0;
  while (read === 0) read = (await store.workflows.messages(run.runId, 0)).at(-1)?.no ?? 0;
  const json = changeJson({ read, notes: [['paused', '{}']] });
  await commit(store, epoch, [link(run, 2, { changeJson: json })]);
  assert.equal((await told).applied, true);
  assert.equal((await operator.show(run.runId))?.paused, true);
  await assert.rejects(operator.verb(run.runId, { verb: 'pause' }), /paused already/);
});

test('the sweep opens an investigation once, with the run as it was', async () => {
  const { operator, runWith, age, delivered } = await surroundings();
  const [fresh, near, over] = [await runWith({}), await runWith({}), await runWith({})];
  await age(near, 25);
  await age(over, 31);
  const report = await operator.sweep();
  const ids = (list: readonly { run: { runId: string } }[]) => list.map(({ run }) => run.runId);
  assert.ok(ids(report.warnings).includes(near.runId) && !ids(report.stale).includes(near.runId));
  assert.ok(ids(report.stale).includes(over.runId));
  assert.ok(!ids([...report.stale, ...report.warnings]).includes(fresh.runId));
  assert.ok(report.investigated.includes(over.runId));
  assert.equal(delivered.length, 0);
  const { entries } = await operator.deadLetters.list({ runId: over.runId });
  const [entry] = entries;
  assert.deepEqual(
    [entries.length, entry?.reason, entry?.status, entry?.stateThen],
    [1, 'staleness_timeout', 'pending', 'steps_in_process'],
  );
  const { snapshot } = (await operator.deadLetters.show(entry?.entryId ?? '')) ?? {};
  const { run, notes } = snapshot as { run: { runId: string }; notes: { staleness: object } };
  assert.equal(run.runId, over.runId);
  assert.ok('limitMinutes' in notes.staleness);
  assert.deepEqual((await operator.sweep()).investigated, []);
  // An investigation changes nothing of the run.
  assert.equal((await operator.show(over.runId))?.state, 'steps_in_process');
});

test('what failed for good is investigated at once; a run nobody works on, too', async () => {
  const { operator, runWith, context, age } = await surroundings();
  const blocked = await runWith(blockedChange, 'blocked_by_failures');
  const alone = newRun(context, { queue: `nobody${number}` });
  await start(store, [alone]);
  await age(alone, 1_500, true);
  const { investigated } = await operator.sweep();
  assert.ok(investigated.includes(blocked.runId) && investigated.includes(alone.runId));
  const reasonOf = async (run: NewRun) =>
    (await operator.deadLetters.list({ runId: run.runId })).entries[0]?.reason;
  assert.equal(await reasonOf(blocked), 'max_retries_exceeded');
  assert.equal(await reasonOf(alone), 'worker_unavailable');
});

test('a lifecycle decides: no record, but an end', async () => {
  const limits = { maxStepsInProcessMinutes: 5, autoDlqOnTimeout: false, autoFailOnTimeout: true };
  const { operator, runWith, age, delivered } = await surroundings(limits);
  const run = await runWith({});
  await age(run, 6);
  const { investigated, failed: told } = await operator.sweep();
  assert.deepEqual([investigated.includes(run.runId), told], [false, [run.runId]]);
  assert.match(delivered.at(-1)?.payloadJson ?? '', /beyond max_steps_in_process of 5 minutes/);
  assert.deepEqual((await operator.sweep()).failed, [], 'a state is told once');
});

test('what a workflow leaves open is as configured, what it says stays', async () => {
  const said = { autoDlqOnTimeout: false };
  const configured = {
    maxStepsInProcessMinutes: 5,
    autoDlqOnTimeout: true,
    autoFailOnTimeout: true,
  };
  const { operator, runWith, age } = await surroundings(said, configured);
  const [young, old] = [await runWith({}), await runWith({})];
  await age(young, 3);
  await age(old, 6);
  const { investigated, failed } = await operator.sweep();
  assert.deepEqual([failed.includes(old.runId), failed.includes(young.runId)], [true, false]);
  assert.ok(!investigated.includes(old.runId));
});

test('the longest a run may last counts from its start', async () => {
  const { operator, runWith, age } = await surroundings({ maxDurationMinutes: 10 });
  const run = await runWith({}, 'enqueuing_steps');
  await age(run, 11, true);
  const [stale] = (await operator.staleness({ tenantId: `t${number}` })) ?? [];
  assert.deepEqual([stale?.run.runId, stale?.staleness.limit], [run.runId, 'max_duration']);
});

test('investigations are queued by urgency, counted, closed once', async () => {
  const { operator, context } = await surroundings();
  const tenantId = context.tenant;
  const runs = [newRun(context), newRun(context, { priority: -10 }), newRun(context)];
  await start(store, runs);
  const [a, b, c] = runs as [NewRun, NewRun, NewRun];
  await operator.deadLetters.open(a.runId, 'staleness_timeout');
  await operator.deadLetters.open(b.runId, 'staleness_timeout');
  const worst = await operator.deadLetters.open(c.runId, 'dependency_cycle_detected');
  assert.equal(await operator.deadLetters.open(c.runId, 'manual_dlq'), null);
  const order = (await operator.deadLetters.queue(tenantId)).map(({ runId }) => runId);
  assert.deepEqual(order, [c.runId, b.runId, a.runId]);
  const closed = await operator.deadLetters.resolve(worst?.entryId ?? '', {
    status: 'permanently_failed',
    by: 'ann',
    notes: 'never again',
  });
  assert.deepEqual([closed.status, closed.resolvedBy], ['permanently_failed', 'ann']);
  const again = { status: 'cancelled' as const };
  await assert.rejects(operator.deadLetters.resolve(closed.entryId, again), {
    code: 'DEAD_LETTER_STATE',
  });
  await assert.rejects(operator.deadLetters.resolve(a.runId, again), { code: 'NOT_FOUND' });
  const stats = await operator.deadLetters.stats(tenantId);
  assert.deepEqual([stats.pending, stats.resolved], [2, 1]);
  assert.deepEqual([stats.byReason.staleness_timeout, stats.byStatus.permanently_failed], [2, 1]);
  assert.ok(stats.oldestPendingAt !== null && stats.meanMinutesToClose !== null);
});

test('a bulk verb counts first and tells those that the verb is for', async () => {
  const { operator, context, epoch, runWith, delivered } = await surroundings();
  const filter = { tenantId: context.tenant };
  const blocked = [
    await runWith(blockedChange, 'blocked_by_failures'),
    await runWith(blockedChange, 'blocked_by_failures'),
  ];
  await runWith({}, 'waiting_for_dependencies');
  const ended = await startHeld(context, epoch);
  await commit(store, epoch, [link(ended, 1, { end: failed })]);
  const dry = await operator.bulk({ verb: 'give_up', filter, dryRun: true });
  assert.deepEqual([dry.matched, dry.done, dry.status], [2, 0, 'finished']);
  assert.equal(delivered.length, 0);
  assert.equal((await operator.bulk({ verb: 'retry', filter, dryRun: true })).matched, 3);
  assert.equal((await operator.bulk({ verb: 'cancel', filter, dryRun: true })).matched, 3);
  const done = await (await operator.bulk({ verb: 'give_up', filter, reason: 'Too old.' }))
    .finished;
  assert.deepEqual([done.done, done.failed, done.status], [2, 0, 'finished']);
  assert.deepEqual(
    new Set(delivered.map(({ runId }) => runId)),
    new Set(blocked.map(({ runId }) => runId)),
  );
  assert.match(delivered[0]?.payloadJson ?? '', /Too old/);
  const few = await operator.bulk({ verb: 'cancel', filter, limit: 1, dryRun: true });
  assert.deepEqual([few.matched, few.more], [1, true]);
  await assert.rejects(operator.bulk({ verb: 'reset_step' as never, filter }), {
    code: 'REQUEST_INVALID',
  });
});

test('figures come from histories: counts, failures, retries, times', async () => {
  const { operator, context, epoch } = await surroundings();
  const at = Date.now();
  for (const ms of [100, 200, 300, 400]) {
    const run = await startHeld(context, epoch);
    const begun = changeJson({
      at,
      create: [{ name: 'work_001', template: 'work', kind: 'batch_worker' }],
      transitions: [[0, 'in_progress']],
    });
    const again = changeJson({
      at: at + ms,
      transitions: [
        [0, 'enqueued_as_error_for_orchestration'],
        [0, 'waiting_for_retry'],
        [0, 'pending'],
        [0, 'in_progress'],
      ],
    });
    const done = changeJson({ at: at + 2 * ms, transitions: [[0, 'complete']] });
    await commit(store, epoch, [link(run, 1, { changeJson: begun })]);
    await commit(store, epoch, [link(run, 2, { changeJson: again })]);
    await commit(store, epoch, [link(run, 3, { changeJson: done, end: complete })]);
  }
  const filter = { tenantId: context.tenant };
  const figures = await operator.performance(filter);
  assert.deepEqual(figures.states, { complete: 4 });
  assert.deepEqual([figures.successRate, figures.steps, figures.retries], [1, 4, 4]);
  const { duration, ...step } = (await operator.bottlenecks(filter)).steps[0] ?? assert.fail();
  assert.deepEqual(step, {
    workflow: `conformance/flow-${context.queue}`,
    step: 'work',
    count: 4,
    completed: 4,
    failedTries: 4,
    failed: 0,
    totalMs: 2_000,
    share: 1,
  });
  assert.deepEqual(duration, { count: 8, p50: 200, p95: 400, max: 400 });
  const one = await operator.performance({ ...filter, runs: 1 });
  assert.deepEqual([one.window.runs, one.window.more], [1, true]);
});

test('a short id stands for the one run that has it', async () => {
  const { operator, context } = await surroundings();
  const runs = [newRun(context), newRun(context)];
  await start(store, runs);
  const [run] = runs as [NewRun, NewRun];
  assert.equal(await operator.resolveId(run.runId), run.runId);
  assert.equal(await operator.resolveId(run.runId.slice(-10)), run.runId);
  await assert.rejects(operator.resolveId(run.runId.slice(0, 8), context.tenant), (error) => {
    assert.match(String(error), /Several runs match/);
    return (error as { code: string }).code === 'REQUEST_INVALID';
  });
  await assert.rejects(operator.resolveId('ffffffff'), { code: 'NOT_FOUND' });
  await assert.rejects(operator.resolveId('abc'), { code: 'REQUEST_INVALID' });
  await assert.rejects(operator.resolveId('not-an-id'), { code: 'REQUEST_INVALID' });
  await assert.rejects(operator.resolveId(run.runId.slice(-10), 'another'), { code: 'NOT_FOUND' });
});

test('who sends something to a run at its very end is told that it was not read', async () => {
  const { operator, runWith, epoch } = await surroundings();
  const signalled = await runWith({});
  const end = (run: NewRun, how: RunEnd = complete) =>
    commit(store, epoch, [link(run, 2, { state: how.state, end: how })]);
  const signal = operator.signal(signalled.runId, 'word', 1);
  const unread = assert.rejects(signal, {
    code: 'WORKFLOW_STATE',
    message: /came to its end \(complete\) and did not read this signal/,
  });
  await eventually(
    'it is stored',
    async () => (await store.workflows.messages(signalled.runId, 0))[0],
  );
  await end(signalled);
  await unread;
  const cancelled = await runWith({});
  await store.workflows.deliver([newMessage(cancelled)]);
  const cancel = operator.verb(cancelled.runId, { verb: 'cancel', waitMs: 10_000 });
  await eventually('both are stored', async () => {
    return (await store.workflows.messages(cancelled.runId, 0)).length === 2;
  });
  // It was obeyed, and the signal before it was read by nobody.
  await end(cancelled, { state: 'cancelled', resultJson: null, error: null });
  assert.equal((await cancel).applied, true);
  const told = await runWith({}, 'waiting_for_retry');
  const retry = operator.verb(told.runId, { verb: 'retry', waitMs: 10_000 });
  const lost = assert.rejects(retry, { code: 'WORKFLOW_STATE', fix: 'Send it again.' });
  await eventually('it is stored', async () => (await store.workflows.messages(told.runId, 0))[0]);
  await end(told, failed);
  await lost;
  const again = await operator.verb(told.runId, { verb: 'retry', waitMs: 0 });
  assert.equal(again.applied, false, 'it is open again, and reads it with its next holder');
});

/** Cases for transactions: of a step's handler, and of a caller. */
import assert from 'node:assert/strict';
import { code } from './jobs.fixtures.conformance.ts';
import {
  commit,
  complete,
  link,
  load,
  newId,
  newMessage,
  newRun,
  restedRun,
  runsWithJobs,
  startHeld,
  startHolder,
  type WorkflowCaseContext,
  type WorkflowCases,
  waiting,
} from './workflows.fixtures.conformance.ts';
import type { RunTransaction } from './workflows.ts';

/** A name that exists if and when the transaction commits: another run, by its identity. */
async function leaveMark(
  context: WorkflowCaseContext,
  tx: NonNullable<Parameters<typeof context.store.workflows.start>[1]['tx']>,
): Promise<string> {
  const mark = newRun(context);
  await context.store.workflows.start([mark], { epoch: null, again: false, tx });
  return mark.runId;
}

export const transactionCases: WorkflowCases = {
  "a handler's effects and its step are stored together": async (context) => {
    const { store, tenant, queue } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    const transaction = await store.workflows.begin(epoch, tenant);
    const mark = await leaveMark(context, transaction.tx);
    assert.equal(await store.workflows.load(mark), null);
    const child = newRun(context);
    const { outcomes, woken } = await transaction.commit(link(run, 1, { starts: [child] }));
    assert.deepEqual(outcomes, ['stored']);
    assert.deepEqual(woken, [queue]);
    assert.equal((await load(store, run)).changes.length, 1);
    assert.deepEqual((await runsWithJobs(context)).sort(), [mark, child.runId].sort());
    await assert.rejects(transaction.tx.query('select 1'), code('HANDLER_FAILED'));
    await transaction.rollback();
  },

  'with a fenced step they are undone': async (context) => {
    const { store, tenant } = context;
    const [mine, theirs] = [await startHolder(context), await startHolder(context)];
    const run = await startHeld(context, mine);
    const transaction = await store.workflows.begin(mine, tenant);
    const mark = await leaveMark(context, transaction.tx);
    await commit(store, theirs, [link(run, 1)]);
    const { outcomes, woken } = await transaction.commit(link(run, 1, { end: complete }));
    assert.deepEqual(outcomes, ['fenced']);
    assert.deepEqual(woken, []);
    assert.equal(await store.workflows.load(mark), null);
    assert.equal((await load(store, run)).end, null);
    assert.deepEqual(await runsWithJobs(context), []);
  },

  'with a dead epoch, a failed statement or a rollback they are undone': async (context) => {
    const { store, tenant } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    const transactions = [];
    const marks: string[] = [];
    for (let n = 0; n < 3; n += 1) {
      const transaction = await store.workflows.begin(epoch, tenant);
      marks.push(await leaveMark(context, transaction.tx));
      transactions.push(transaction);
    }
    const [broken, given, late] = transactions as [RunTransaction, RunTransaction, RunTransaction];
    await assert.rejects(broken.tx.query('select 1 / 0'));
    await assert.rejects(broken.commit(link(run, 1)));
    await given.rollback();
    await store.jobs.retire(epoch);
    await assert.rejects(late.commit(link(run, 1)), code('LEASE_LOST'));
    for (const mark of marks) assert.equal(await store.workflows.load(mark), null);
    assert.equal((await load(store, run)).changes.length, 0);
  },

  "a run may come to rest, or end, with a handler's transaction": async (context) => {
    const { store, tenant } = context;
    const epoch = await startHolder(context);
    const runs = [await startHeld(context, epoch), await startHeld(context, epoch)] as const;
    await store.workflows.deliver([newMessage(runs[1])]);
    const outcomes = [];
    for (const run of runs) {
      const transaction = await store.workflows.begin(epoch, tenant);
      outcomes.push((await transaction.commit(link(run, 1, { rest: waiting(0) }))).outcomes[0]);
    }
    assert.deepEqual(outcomes, ['stored', 'unread']);
    assert.notEqual((await load(store, runs[0])).rest, null);
    assert.equal((await load(store, runs[1])).rest, null);
  },

  "in a caller's transaction runs and messages exist if and when it commits": async (context) => {
    const { store, queue, transaction } = context;
    const resting = await restedRun(context, await startHolder(context));
    const run = newRun(context, { identity: newId() });
    const work = (undo: boolean) =>
      transaction(async (tx) => {
        const options = { epoch: null, again: false, tx };
        const { results, woken } = await store.workflows.start([run], options);
        assert.deepEqual(results, [{ runId: run.runId, duplicate: false }]);
        assert.deepEqual(woken, [queue]);
        const twice = await store.workflows.start([{ ...run, runId: newId() }], options);
        assert.deepEqual(twice.results, [{ runId: run.runId, duplicate: true }]);
        const { deliveries } = await store.workflows.deliver([newMessage(resting)], { tx });
        assert.deepEqual(deliveries, ['delivered']);
        assert.equal(await store.workflows.load(run.runId), null);
        if (undo) throw new Error('undone');
      });
    await assert.rejects(work(true), /undone/);
    assert.deepEqual(await runsWithJobs(context), []);
    assert.deepEqual((await load(store, resting)).messages, []);
    await work(false);
    assert.deepEqual((await runsWithJobs(context)).sort(), [run.runId, resting.runId].sort());
    const held = newRun(context, { held: true });
    await assert.rejects(
      transaction((tx) => store.workflows.start([held], { epoch: null, again: false, tx })),
      code('REQUEST_INVALID'),
    );
  },

  "a tenant's transaction reaches its own runs only": async (context) => {
    const { store, tenant } = context;
    const epoch = await startHolder(context);
    const other = `${tenant}-other`;
    const [own, foreign] = [
      await startHeld(context, epoch),
      await startHeld(context, epoch, { tenantId: other }),
    ];
    for (const run of [own, foreign]) {
      await store.workflows.deliver([newMessage(run)]);
      const rest = waiting(1, Date.now() + 3_600_000);
      const waits = [{ eventType: 'seen', eventKey: null, step: 0 }];
      await commit(store, epoch, [link(run, 1, { rest, waits })]);
      const over = await startHeld(context, epoch, { tenantId: run.tenantId });
      await commit(store, epoch, [link(over, 1, { end: complete })]);
    }
    const transaction = await store.workflows.begin(epoch, tenant);
    const { tx } = transaction;
    const tables = ['run', 'history', 'end', 'rest', 'message', 'wait'];
    for (const table of tables) {
      const rows = await tx.query<{ tenant_id: string }>(
        `select distinct r.tenant_id from millrace.workflow_${table} x
         join millrace.workflow_run r on r.run_id = x.run_id`,
      );
      assert.deepEqual(rows, [{ tenant_id: tenant }], table);
      const all = await tx.query(
        `select 1 from millrace.workflow_${table} where run_id = '${foreign.runId}'`,
      );
      assert.deepEqual(all, [], table);
    }
    const { deliveries } = await store.workflows.deliver([newMessage(foreign)], { tx });
    assert.deepEqual(deliveries, ['unknown']);
    await transaction.rollback();
    const elsewhere = newRun(context, { tenantId: other });
    await assert.rejects(
      store.withTenant(tenant, (tenantTx) =>
        store.workflows.start([elsewhere], { epoch: null, again: false, tx: tenantTx }),
      ),
      { code: '42501' },
    );
    for (const statement of [
      `insert into millrace.workflow_message select * from millrace.workflow_message`,
      'delete from millrace.workflow_end',
      `update millrace.workflow_run set tenant_id = 'mine'`,
      'select * from millrace.workflow_holder',
      `select millrace.prune_runs(0, 1)`,
    ]) {
      const refused = store.withTenant(tenant, (tenantTx) => tenantTx.query(statement));
      await assert.rejects(refused, { code: '42501' }, statement);
    }
  },
};

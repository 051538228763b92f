/** Cases for runs of the dead, and for runs that are over for long. */
import assert from 'node:assert/strict';
import { upTo } from './jobs.fixtures.conformance.ts';
import {
  commit,
  complete,
  failed,
  link,
  load,
  newMessage,
  newRun,
  restedRun,
  runsWithJobs,
  start,
  startHeld,
  startHolder,
  verb,
  type WorkflowCases,
  waiting,
} from './workflows.fixtures.conformance.ts';
import type { NewRun } from './workflows.ts';

export const recoveryCases: WorkflowCases = {
  'runs of a dead epoch get a job each, once whoever calls': async (context) => {
    const { store, another, queue } = context;
    const stores = [store, await another()];
    const [dead, alive] = [await startHolder(context), await startHolder(context)];
    const lost = await Promise.all(upTo(25).map(() => startHeld(context, dead)));
    await startHeld(context, alive);
    await commit(store, dead, [link(lost[0] as NewRun, 1)]);
    await store.workflows.recover();
    assert.deepEqual(await runsWithJobs(context), [], 'nobody is dead');
    await store.jobs.retire(dead);
    const calls = upTo(8).map((n) => (stores[n % 2] as typeof store).workflows.recover());
    const answers = await Promise.all(calls);
    assert.equal(
      answers.reduce((sum, { runs }) => sum + runs, 0),
      25,
    );
    for (const { runs, woken } of answers) assert.deepEqual(woken, runs > 0 ? [queue] : []);
    const ids = lost.map(({ runId }) => runId);
    assert.deepEqual((await runsWithJobs(context)).sort(), ids.sort());
    assert.deepEqual(await store.workflows.recover(), { runs: 0, woken: [] });
    assert.deepEqual(await runsWithJobs(context), []);
  },

  'what has ended, rests, waits in a queue or was handed over is not recovered': async (
    context,
  ) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const ended = await startHeld(context, epoch);
    await commit(store, epoch, [link(ended, 1, { end: complete })]);
    const resting = await restedRun(context, epoch);
    const queued = newRun(context);
    await start(store, [queued], { epoch });
    // It was held from its start, rested, and goes on elsewhere by its job.
    const moved = await restedRun(context, epoch);
    await store.workflows.deliver([newMessage(moved)]);
    assert.deepEqual((await runsWithJobs(context)).sort(), [queued.runId, moved.runId].sort());
    const next = await startHolder(context);
    await commit(store, next, [link(moved, 2)]);
    await store.jobs.retire(epoch);
    assert.deepEqual(await store.workflows.recover(), { runs: 0, woken: [] });
    assert.deepEqual(await runsWithJobs(context), []);
    assert.notEqual((await load(store, resting)).rest, null);
  },

  'a run that failed, was opened again and goes by its job is not recovered': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    await commit(store, epoch, [link(run, 1, { end: failed })]);
    await store.workflows.deliver([verb(run, 'retry')]);
    assert.deepEqual(await runsWithJobs(context), [run.runId]);
    await store.jobs.retire(epoch);
    assert.deepEqual(await store.workflows.recover(), { runs: 0, woken: [] });
    assert.deepEqual(await runsWithJobs(context), []);
  },

  "a run that did not come to rest is still its holder's to lose": async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    await store.workflows.deliver([newMessage(run)]);
    const rest = link(run, 1, { rest: waiting(0) });
    assert.deepEqual(await commit(store, epoch, [rest]), ['unread']);
    await store.jobs.retire(epoch);
    assert.equal((await store.workflows.recover()).runs, 1);
    assert.deepEqual(await runsWithJobs(context), [run.runId]);
  },

  'whoever takes a run over goes on where its history ends': async (context) => {
    const { store, another } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    const links = [link(run, 1), link(run, 2)];
    await commit(store, epoch, links);
    await store.jobs.retire(epoch);
    await store.workflows.recover();
    const next = await startHolder(context);
    const { changes } = await load(await another(), run);
    assert.deepEqual(
      changes,
      links.map(({ changeJson }) => changeJson),
    );
    assert.deepEqual(await commit(store, next, [link(run, 3, { end: complete })]), ['stored']);
    await assert.rejects(commit(store, epoch, [link(run, 3)]), { code: 'LEASE_LOST' });
  },

  'thousands of runs are recovered by one call': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const runs = upTo(4_500).map(() => newRun(context, { held: true }));
    await start(store, runs, { epoch });
    await store.jobs.retire(epoch);
    assert.equal((await store.workflows.recover()).runs, 4_500);
    assert.equal(new Set(await runsWithJobs(context)).size, 4_500);
  },

  'ended runs are pruned with all that belongs to them, so many at a time': async (context) => {
    const { store, queue } = context;
    const { workflows } = store;
    await workflows.prune({ olderThanMs: 0, limit: 1_000_000 });
    const epoch = await startHolder(context);
    const identity = `once ${queue}`;
    const ended = await Promise.all(
      upTo(5).map((n) => startHeld(context, epoch, { identity: n === 0 ? identity : null })),
    );
    const open = await startHeld(context, epoch);
    const resting = await restedRun(context, epoch);
    await workflows.deliver(ended.map((run) => newMessage(run)));
    await commit(
      store,
      epoch,
      ended.map((run) => link(run, 1, { end: complete })),
    );
    assert.equal(await workflows.prune({ olderThanMs: 60_000, limit: 100 }), 0);
    assert.equal(await workflows.prune({ olderThanMs: 0, limit: 2 }), 2);
    assert.equal(await workflows.prune({ olderThanMs: 0, limit: 100 }), 3);
    for (const run of ended) {
      assert.equal(await workflows.load(run.runId), null);
      assert.deepEqual(await workflows.messages(run.runId, 0), []);
      assert.deepEqual((await workflows.deliver([newMessage(run)])).deliveries, ['unknown']);
    }
    for (const run of [open, resting]) assert.ok(await workflows.load(run.runId));
    const [again] = await start(store, [newRun(context, { identity })]);
    assert.equal(again?.duplicate, false, 'the identity is free');
  },
};

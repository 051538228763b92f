/** Cases for what goes along with a commit: it happens if the link is stored, else not at all. */
import assert from 'node:assert/strict';
import type { NewJob } from '../core/job.ts';
import { numbered } from './fixtures.conformance.ts';
import { countsOf, drain, newJobs, numbersOf, startWorker } from './jobs.fixtures.conformance.ts';
import type { Store } from './store.ts';
import {
  commit,
  complete,
  link,
  load,
  newMessage,
  newRun,
  restedRun,
  runsWithJobs,
  startHeld,
  startHolder,
  type WorkflowCaseContext,
  type WorkflowCases,
} from './workflows.fixtures.conformance.ts';
import type { NewRun, RunCommit } from './workflows.ts';

const elsewhere = (context: WorkflowCaseContext) => `${context.queue}-elsewhere`;

/** Steps for another namespace's queue. */
function stepJobs(
  context: WorkflowCaseContext,
  count: number,
  rest: Partial<NewJob> & { from?: number } = {},
) {
  return newJobs({ ...context, queue: elsewhere(context) }, count, rest);
}

/** Everything that a commit can have, to and of a run that rests. */
function everything(
  context: WorkflowCaseContext,
  run: NewRun,
  resting: NewRun,
): RunCommit & { readonly starts: readonly NewRun[] } {
  return {
    ...link(run, 1, { end: complete }),
    starts: [newRun(context, { parent: { runId: run.runId, step: 0 } })],
    messages: [newMessage(resting, { messageId: `from ${run.runId}` })],
    jobs: stepJobs(context, 1),
    events: numbered(context.store, context.tenant, run.runId, 2),
    waits: [{ eventType: `${context.queue}.paid`, eventKey: null, step: 1 }],
  };
}

async function eventsOf({ store, tenant }: WorkflowCaseContext, key: string): Promise<number> {
  while ((await store.staging.sequence(1_000)).moved > 0);
  return (await store.history.list({ tenantId: tenant, key, limit: 100 })).events.length;
}

async function waitsOf({ store, queue, tenant }: WorkflowCaseContext, eventType = `${queue}.paid`) {
  const eventId = crypto.randomUUID();
  const event = { eventId, tenantId: tenant, eventType, key: 'k', payloadJson: '1' };
  return (await store.workflows.deliverEvents([event], {})).delivered;
}

async function rests(store: Store, run: NewRun): Promise<boolean> {
  return (await load(store, run)).rest !== null;
}

export const effectCases: WorkflowCases = {
  'children, messages, jobs, events and waits are there with the link': async (context) => {
    const { store, queue } = context;
    const epoch = await startHolder(context);
    const [run, resting] = [await startHeld(context, epoch), await restedRun(context, epoch)];
    const { end, ...open } = everything(context, run, resting);
    const { outcomes, woken } = await store.workflows.commit({
      epoch,
      commits: [{ ...open, state: 'steps_in_process' }],
      again: false,
    });
    assert.deepEqual(outcomes, ['stored']);
    assert.deepEqual([...new Set(woken)].sort(), [queue, elsewhere(context)]);
    const [child] = open.starts;
    assert.deepEqual((await runsWithJobs(context)).sort(), [resting.runId, child?.runId].sort());
    assert.equal((await load(store, resting)).messages.length, 1);
    assert.deepEqual(await countsOf(store.jobs, elsewhere(context)), { waiting: 1 });
    assert.equal(await eventsOf(context, run.runId), 2);
    assert.equal(await waitsOf(context), 1);
  },

  'a fenced commit has none of its effects, and the others of its request have all': async (
    context,
  ) => {
    const { store } = context;
    const [mine, theirs] = [await startHolder(context), await startHolder(context)];
    const runs = [await startHeld(context, mine), await startHeld(context, mine)] as const;
    const resting = [await restedRun(context, mine), await restedRun(context, mine)] as const;
    await commit(store, theirs, [link(runs[0], 1)]);
    const links = [
      everything(context, runs[0], resting[0]),
      everything(context, runs[1], resting[1]),
    ] as const;
    assert.deepEqual(await commit(store, mine, links), ['fenced', 'stored']);
    const expected = [resting[1].runId, links[1].starts[0]?.runId];
    assert.deepEqual((await runsWithJobs(context)).sort(), expected.sort());
    assert.equal(await store.workflows.load(links[0].starts[0]?.runId ?? ''), null);
    assert.deepEqual((await load(store, resting[0])).messages, []);
    assert.ok(await rests(store, resting[0]));
    assert.equal((await load(store, runs[0])).end, null);
    assert.deepEqual(await countsOf(store.jobs, elsewhere(context)), { waiting: 1 });
    assert.equal(await eventsOf(context, runs[0].runId), 0);
    assert.equal(await eventsOf(context, runs[1].runId), 2);
  },

  'a repeated commit has its effects once': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const [run, resting] = [await startHeld(context, epoch), await restedRun(context, epoch)];
    const links = [everything(context, run, resting)];
    for (const again of [false, true, true]) {
      assert.deepEqual(await commit(store, epoch, links, again), ['stored']);
    }
    assert.equal((await runsWithJobs(context)).length, 2);
    assert.equal((await load(store, resting)).messages.length, 1);
    assert.deepEqual(await countsOf(store.jobs, elsewhere(context)), { waiting: 1 });
    assert.equal(await eventsOf(context, run.runId), 2);
  },

  'a refused one has none': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const [run, resting] = [await startHeld(context, epoch), await restedRun(context, epoch)];
    const all = everything(context, run, resting);
    await store.jobs.retire(epoch);
    await assert.rejects(commit(store, epoch, [all]), { code: 'LEASE_LOST' });
    assert.deepEqual(await runsWithJobs(context), []);
    assert.ok(await rests(store, resting));
    assert.equal(await eventsOf(context, run.runId), 0);
    assert.equal(await store.workflows.load(all.starts[0]?.runId ?? ''), null);
  },

  'a child may be held by who starts it': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    const child = newRun(context, { held: true });
    await commit(store, epoch, [link(run, 1, { starts: [child] })]);
    assert.deepEqual(await runsWithJobs(context), []);
    await store.jobs.retire(epoch);
    await store.workflows.recover();
    assert.deepEqual((await runsWithJobs(context)).sort(), [run.runId, child.runId].sort());
  },

  'jobs of steps keep their delay, their order and their unique key, and pass a full queue': async (
    context,
  ) => {
    const { store } = context;
    const queue = elsewhere(context);
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    await store.jobs.configure([{ queue, lengthMax: 1 }]);
    const jobs = [
      ...stepJobs(context, 3, { priority: 5, key: 'k', version: 4 }),
      ...stepJobs(context, 1, { from: 3, delayMs: 60_000 }),
    ];
    await commit(store, epoch, [link(run, 1, { jobs })]);
    assert.deepEqual(await countsOf(store.jobs, queue), { waiting: 3, delayed: 1 });
    await store.jobs.configure([{ queue, lengthMax: null }]);
    const unique = { key: 'u', mode: 'keep', windowMs: 0 } as const;
    const twice = [...stepJobs(context, 1, { unique }), ...stepJobs(context, 1, { unique })];
    await commit(store, epoch, [link(run, 2, { jobs: twice })]);
    assert.deepEqual(await countsOf(store.jobs, queue), { waiting: 4, delayed: 1 });
    const claimed = await drain(await startWorker(store.jobs, queue));
    assert.deepEqual(numbersOf(claimed), [0, 0, 1, 2]);
    const [, first] = claimed;
    assert.deepEqual([first?.key, first?.version, first?.priority], ['k', 4, 5]);
  },

  'a message to a run that has ended, or that nobody knows, is passed over': async (context) => {
    const { store, tenant } = context;
    const epoch = await startHolder(context);
    const [run, over] = [await startHeld(context, epoch), await startHeld(context, epoch)];
    const foreign = await startHeld(context, epoch, { tenantId: `${tenant}-other` });
    await commit(store, epoch, [link(over, 1, { end: complete })]);
    const messages = [newMessage(over), newMessage(newRun(context)), newMessage(foreign)];
    assert.deepEqual(await commit(store, epoch, [link(run, 1, { messages })]), ['stored']);
    assert.deepEqual((await load(store, over)).messages, []);
    assert.deepEqual((await load(store, foreign)).messages, [], 'of another tenant');
  },
};

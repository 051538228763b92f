/** Cases for children: their end reaches the step that waits, wherever its run is. */
import assert from 'node:assert/strict';
import { upTo } from './jobs.fixtures.conformance.ts';
import {
  changeJson,
  commit,
  complete,
  failed,
  link,
  load,
  newRun,
  runsWithJobs,
  start,
  startHeld,
  startHolder,
  verb,
  type WorkflowCaseContext,
  type WorkflowCases,
  waiting,
} from './workflows.fixtures.conformance.ts';
import type { NewRun } from './workflows.ts';

async function startChild(
  context: WorkflowCaseContext,
  epoch: number,
  parent: NewRun,
  step = 4,
): Promise<NewRun> {
  return startHeld(context, epoch, { parent: { runId: parent.runId, step } });
}

export const childCases: WorkflowCases = {
  'a parent that rests is woken by the end of its child, with all that it says': async (
    context,
  ) => {
    const { store, queue } = context;
    const epoch = await startHolder(context);
    const parent = await startHeld(context, epoch);
    const children = [
      await startChild(context, epoch, parent, 4),
      await startChild(context, epoch, parent, 5),
    ] as const;
    await commit(store, epoch, [link(parent, 1, { rest: waiting(0) })]);
    const ends = [complete, failed] as const;
    const commits = children.map((child, i) => link(child, 1, { end: ends[i] }));
    const { outcomes, woken } = await store.workflows.commit({ epoch, commits, again: false });
    assert.deepEqual(outcomes, ['stored', 'stored']);
    assert.deepEqual(woken, [queue]);
    assert.deepEqual(await runsWithJobs(context), [parent.runId]);
    const { messages } = await load(store, parent);
    assert.deepEqual(
      messages.map(({ kind, name, messageId, payloadJson }) => ({
        kind,
        name,
        messageId,
        payload: JSON.parse(payloadJson),
      })),
      children.map(({ runId }, i) => ({
        kind: 'child',
        name: String(4 + i),
        messageId: `child:${runId}`,
        payload: {
          runId,
          state: ends[i]?.state,
          result: ends[i]?.resultJson ? { ok: true } : null,
          error: ends[i]?.error ?? null,
        },
      })),
    );
  },

  'a parent that is held finds it among its messages': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const parent = await startHeld(context, epoch);
    const child = await startChild(context, epoch, parent);
    await commit(store, epoch, [link(child, 1, { end: complete })]);
    assert.equal((await store.workflows.messages(parent.runId, 0)).length, 1);
    assert.deepEqual(await runsWithJobs(context), []);
  },

  'a parent that has ended, or was pruned, is not disturbed': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const parent = await startHeld(context, epoch);
    const children = [
      await startChild(context, epoch, parent),
      await startChild(context, epoch, newRun(context)),
    ];
    await commit(store, epoch, [link(parent, 1, { end: complete })]);
    const links = children.map((child) => link(child, 1, { end: complete }));
    assert.deepEqual(await commit(store, epoch, links), ['stored', 'stored']);
    assert.deepEqual((await load(store, parent)).messages, []);
    assert.deepEqual(await runsWithJobs(context), []);
  },

  'a fenced end tells nobody': async (context) => {
    const { store } = context;
    const [mine, theirs] = [await startHolder(context), await startHolder(context)];
    const parent = await startHeld(context, mine);
    const child = await startChild(context, mine, parent);
    await commit(store, theirs, [link(child, 1)]);
    assert.deepEqual(await commit(store, mine, [link(child, 1, { end: complete })]), ['fenced']);
    assert.deepEqual((await load(store, parent)).messages, []);
    assert.equal((await load(store, child)).end, null);
  },

  'a child that is opened again and ends anew is not told twice': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const parent = await startHeld(context, epoch);
    const child = await startChild(context, epoch, parent);
    await commit(store, epoch, [link(child, 1, { end: failed })]);
    await store.workflows.deliver([verb(child, 'retry')]);
    await commit(store, epoch, [link(child, 2, { end: complete })]);
    assert.equal((await load(store, child)).end?.state, 'complete');
    assert.equal((await load(store, parent)).messages.length, 1);
  },

  'a hundred children that end everywhere at once are all heard of, by one waking': async (
    context,
  ) => {
    const { store, another } = context;
    const stores = [store, await another()];
    const epochs = [await startHolder(context), await startHolder(context)];
    const [epoch] = epochs as [number];
    const parent = await startHeld(context, epoch);
    const parents = [parent, await startHeld(context, epoch)];
    const children = upTo(100).map((n) =>
      newRun(context, { held: true, parent: { runId: parents[n % 2]?.runId ?? '', step: n } }),
    );
    await start(store, children, { epoch });
    const calls = upTo(20).map(async (n) => {
      const links = children
        .slice(n * 5, n * 5 + 5)
        .map((child) => link(child, 1, { end: complete }));
      return commit(stores[n % 2] as typeof store, epochs[n % 2] as number, links);
    });
    // Meanwhile the parents try to rest, as long as there is something that they have not read.
    const resting = parents.map(async (run) => {
      for (let seq = 1, read = 0; ; seq += 1) {
        const rest = link(run, seq, { rest: waiting(read), changeJson: changeJson({ read }) });
        const [outcome] = await commit(store, epoch, [rest]);
        if (outcome === 'stored') return read;
        read = (await store.workflows.messages(run.runId, read)).at(-1)?.no ?? read;
      }
    });
    for (const outcomes of await Promise.all(calls)) {
      assert.deepEqual(outcomes, Array(5).fill('stored'));
    }
    const read = await Promise.all(resting);
    await store.workflows.wakeDue(1_000);
    const woken = await runsWithJobs(context);
    for (const [i, run] of parents.entries()) {
      const numbers = (await store.workflows.messages(run.runId, 0)).map(({ no }) => no);
      assert.deepEqual(numbers, upTo(50, 1));
      const times = woken.filter((runId) => runId === run.runId).length;
      assert.equal(times, read[i] === 50 ? 0 : 1);
    }
  },
};

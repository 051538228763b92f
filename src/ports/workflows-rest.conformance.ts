/** Cases for runs that rest: nobody holds them, and nothing wakes them twice or not at all. */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { eventually } from '../../test/support/eventually.ts';
import { seededRandom } from '../../test/support/random.ts';
import { upTo } from './jobs.fixtures.conformance.ts';
import {
  changeJson,
  commit,
  complete,
  failed,
  link,
  load,
  newMessage,
  restedRun,
  runsWithJobs,
  startHeld,
  startHolder,
  verb,
  type WorkflowCases,
  waiting,
} from './workflows.fixtures.conformance.ts';
import type { NewMessage, NewRun } from './workflows.ts';

export const restCases: WorkflowCases = {
  'a run rests until a message comes': async (context) => {
    const { store } = context;
    const run = await restedRun(context, await startHolder(context));
    const { rest } = await load(store, run);
    assert.deepEqual(rest, { state: 'waiting_for_dependencies', wakeAt: null });
    assert.deepEqual(await runsWithJobs(context), []);
    await store.workflows.deliver([newMessage(run)]);
    assert.deepEqual(await runsWithJobs(context), [run.runId]);
    assert.equal((await load(store, run)).rest, null);
  },

  'a run with messages beyond what it read does not rest, and its change is stored': async (
    context,
  ) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    await store.workflows.deliver([newMessage(run), newMessage(run)]);
    const rest = (seq: number, read: number) =>
      link(run, seq, { rest: waiting(read), changeJson: changeJson({ read }) });
    assert.deepEqual(await commit(store, epoch, [rest(1, 1)]), ['unread']);
    assert.equal((await load(store, run)).rest, null);
    assert.equal((await load(store, run)).changes.length, 1);
    assert.deepEqual(await commit(store, epoch, [rest(2, 2)]), ['stored']);
    assert.notEqual((await load(store, run)).rest, null);
  },

  'a message of the same request keeps a run from resting': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const [sender, run] = [await startHeld(context, epoch), await startHeld(context, epoch)];
    const links = [
      link(run, 1, { rest: waiting(0) }),
      link(sender, 1, { messages: [newMessage(run)] }),
    ];
    assert.deepEqual(await commit(store, epoch, links), ['unread', 'stored']);
    assert.equal((await load(store, run)).rest, null);
    assert.deepEqual(await runsWithJobs(context), [], 'it is held still');
  },

  'no message is missed by a run that comes to rest meanwhile': async (context) => {
    const { store, another, t } = context;
    const random = seededRandom(t);
    const second = await another();
    const epoch = await startHolder(context);
    const expected: string[] = [];
    const outcomes = new Map<string, number>();
    for (let round = 0; round < 60; round += 1) {
      const runs = await Promise.all(upTo(4).map(() => startHeld(context, epoch)));
      const calls = runs.map(async (run) => {
        const later = async (turns: number) => {
          for (let i = 0; i < turns; i += 1) await turn();
        };
        const deliver = async () => {
          await later(random.below(30));
          await second.workflows.deliver([newMessage(run)]);
        };
        const rest = async () => {
          await later(random.below(30));
          const commits = [link(run, 1, { rest: waiting(0) })];
          return (await store.workflows.commit({ epoch, commits, again: false })).outcomes[0];
        };
        const [outcome] = await Promise.all([rest(), deliver()]);
        return outcome as string;
      });
      for (const [i, outcome] of (await Promise.all(calls)).entries()) {
        const run = runs[i] as NewRun;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        assert.equal((await load(store, run)).rest, null, 'it rests with a message');
        if (outcome === 'stored') expected.push(run.runId);
      }
    }
    t.diagnostic(`outcomes: ${JSON.stringify([...outcomes])}`);
    assert.deepEqual((await runsWithJobs(context)).sort(), expected.sort());
  },

  'a long transaction that delivers holds up nobody, and nothing sent meanwhile is lost': async (
    context,
  ) => {
    const { store, another, transaction } = context;
    const epoch = await startHolder(context);
    const resting = await restedRun(context, epoch);
    const held = await startHeld(context, epoch);
    const other = await startHeld(context, epoch);
    const child = await startHeld(context, epoch, { parent: { runId: resting.runId, step: 0 } });
    const broken = await startHeld(context, epoch);
    await commit(store, epoch, [link(broken, 1, { end: failed })]);
    const [first, second, third] = [0, 1, 2].map((n) => newMessage(resting, { name: `${n}` }));
    await transaction(async (tx) => {
      const open = [first, newMessage(held), newMessage(broken)] as NewMessage[];
      await store.workflows.deliver(open, { tx });
      const links = [
        link(held, 1, { rest: waiting(0) }),
        link(other, 1, { rest: waiting(0) }),
        link(child, 1, { end: complete }),
      ];
      assert.deepEqual(await commit(store, epoch, links), ['unread', 'stored', 'stored']);
      const sent = [second, verb(broken, 'retry'), third] as NewMessage[];
      const { deliveries } = await (await another()).workflows.deliver(sent);
      assert.deepEqual(deliveries, Array(3).fill('delivered'));
      const { nextDueMs } = await store.workflows.wakeDue(100);
      assert.ok(nextDueMs !== null && nextDueMs <= 50, 'it asks to be called again');
    });
    assert.deepEqual(await runsWithJobs(context), [resting.runId]);
    // Whoever sends next brings the others with it, before its own.
    const last = newMessage(resting, { name: 'last' });
    await store.workflows.deliver([last]);
    const { messages } = await load(store, resting);
    assert.deepEqual(
      messages.map(({ name }) => name),
      ['0', '0', '1', '2', 'last'],
    );
    assert.deepEqual(
      messages.map(({ no }) => no),
      [1, 2, 3, 4, 5],
    );
    assert.equal(messages[1]?.messageId, `child:${child.runId}`);
    await store.workflows.wakeDue(100);
    assert.deepEqual(await runsWithJobs(context), [broken.runId]);
    assert.deepEqual(
      (await load(store, broken)).messages.map(({ name }) => name),
      ['retry'],
    );
    assert.equal((await load(store, held)).messages.length, 1);
  },

  'a run is woken in time, once, by whoever looks': async (context) => {
    const { store, another } = context;
    const stores = [store, await another()];
    const epoch = await startHolder(context);
    const past = Date.now() - 60_000;
    const due = await Promise.all(upTo(20).map((n) => restedRun(context, epoch, past + n)));
    const later = await restedRun(context, epoch, Date.now() + 3_600_000);
    const never = await restedRun(context, epoch);
    const calls = upTo(10).map((n) => (stores[n % 2] as typeof store).workflows.wakeDue(7));
    const answers = await Promise.all(calls);
    for (const { runs, woken } of answers) {
      assert.deepEqual(woken, runs > 0 ? [context.queue] : []);
      assert.ok(runs <= 7);
    }
    await eventually('all of them are woken', async () => {
      const { nextDueMs } = await store.workflows.wakeDue(100);
      return nextDueMs !== null && nextDueMs > 1_000;
    });
    const ids = due.map(({ runId }) => runId);
    assert.deepEqual((await runsWithJobs(context)).sort(), ids.sort());
    for (const run of [later, never]) assert.notEqual((await load(store, run)).rest, null);
    await store.workflows.deliver([newMessage(later)]);
    assert.deepEqual(await runsWithJobs(context), [later.runId]);
  },

  'it is said when the next one is due': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const run = await restedRun(context, epoch, Date.now() + 700);
    assert.deepEqual((await load(store, run)).rest?.state, 'waiting_for_dependencies');
    const { nextDueMs } = await store.workflows.wakeDue(100);
    assert.ok(nextDueMs !== null && nextDueMs <= 700, String(nextDueMs));
    await eventually('it is due', async () => (await store.workflows.wakeDue(100)).runs === 1);
    const after = (await store.workflows.wakeDue(100)).nextDueMs;
    assert.ok(after === null || after > 1_000, String(after));
    assert.deepEqual(await runsWithJobs(context), [run.runId]);
  },

  'a run that is due and gets a message is woken once': async (context) => {
    const { store, another } = context;
    const second = await another();
    const epoch = await startHolder(context);
    const runs = await Promise.all(upTo(30).map(() => restedRun(context, epoch, Date.now() - 5)));
    await Promise.all([
      ...runs.map((run) => second.workflows.deliver([newMessage(run)])),
      ...upTo(8).map(() => store.workflows.wakeDue(10)),
    ]);
    const ids = runs.map(({ runId }) => runId);
    assert.deepEqual((await runsWithJobs(context)).sort(), ids.sort());
  },
};

/** Cases for histories: a chain of links, of which each exists once, whoever holds the run. */
import assert from 'node:assert/strict';
import { seededRandom } from '../../test/support/random.ts';
import { code, upTo } from './jobs.fixtures.conformance.ts';
import {
  changeJson,
  commit,
  complete,
  failed,
  link,
  load,
  startHeld,
  startHolder,
  type WorkflowCases,
  waiting,
} from './workflows.fixtures.conformance.ts';
import type { NewRun } from './workflows.ts';

export const commitCases: WorkflowCases = {
  'links are read back in their order, from any of them on': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    const links = upTo(7, 1).map((seq) =>
      link(run, seq, { changeJson: changeJson({ reason: `№ ${seq} "\\ \u0000 🗝` }) }),
    );
    assert.deepEqual(await commit(store, epoch, links.slice(0, 1)), ['stored']);
    assert.deepEqual(await commit(store, epoch, links.slice(1)), Array(6).fill('stored'));
    const texts = links.map((one) => one.changeJson);
    assert.deepEqual((await load(store, run)).changes, texts);
    assert.deepEqual((await store.workflows.load(run.runId, 5))?.changes, texts.slice(5));
    assert.deepEqual(await commit(store, epoch, []), []);
  },

  'of two holders the slower one is fenced, and the others of its request are stored': async (
    context,
  ) => {
    const { store, another } = context;
    const [mine, theirs] = [await startHolder(context), await startHolder(context)];
    const shared = await startHeld(context, mine);
    const own = [await startHeld(context, mine), await startHeld(context, mine)];
    const first = link(shared, 1, { changeJson: changeJson({ reason: 'theirs' }) });
    assert.deepEqual(await commit(await another(), theirs, [first]), ['stored']);
    const links = [
      link(own[0] as NewRun, 1),
      link(shared, 1, { changeJson: changeJson({ reason: 'mine' }) }),
      link(shared, 2),
      link(own[1] as NewRun, 1),
    ];
    const outcomes = await commit(store, mine, links);
    assert.deepEqual(outcomes, ['stored', 'fenced', 'fenced', 'stored']);
    assert.deepEqual((await load(store, shared)).changes, [first.changeJson]);
    for (const run of own) assert.equal((await load(store, run)).changes.length, 1);
  },

  'one of many holders adds each link': async (context) => {
    const { store, another, t } = context;
    const random = seededRandom(t);
    const stores = [store, await another()];
    const epochs = await Promise.all(upTo(4).map(() => startHolder(context)));
    const runs = await Promise.all(upTo(12).map(() => startHeld(context, epochs[0] as number)));
    const won = new Map<string, string>();
    for (let seq = 1; seq <= 5; seq += 1) {
      const tries = epochs.map(async (epoch, who) => {
        const order = [...runs].sort(() => random.next() - 0.5);
        const links = order.map((run) =>
          link(run, seq, { changeJson: changeJson({ by: `holder ${who}` }) }),
        );
        const outcomes = await commit(random.pick(stores), epoch, links);
        return links.filter((_, i) => outcomes[i] === 'stored');
      });
      for (const stored of await Promise.all(tries)) {
        for (const { runId, changeJson: text } of stored) {
          assert.ok(!won.has(`${runId} ${seq}`), 'two of them think that it was them');
          won.set(`${runId} ${seq}`, text);
        }
      }
      assert.equal(won.size, runs.length * seq, 'one of them got it');
    }
    for (const run of runs) {
      const expected = upTo(5, 1).map((seq) => won.get(`${run.runId} ${seq}`));
      assert.deepEqual((await load(store, run)).changes, expected);
    }
  },

  'an epoch that was declared dead commits nothing': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    await commit(store, epoch, [link(run, 1)]);
    await store.jobs.retire(epoch);
    await assert.rejects(commit(store, epoch, [link(run, 2)]), code('LEASE_LOST'));
    await assert.rejects(commit(store, epoch, [link(run, 2)], true), code('LEASE_LOST'));
    const end = link(run, 2, { end: complete });
    await assert.rejects(commit(store, epoch, [end]), code('LEASE_LOST'));
    const { changes, end: ended } = await load(store, run);
    assert.equal(changes.length, 1);
    assert.equal(ended, null);
  },

  'a commit whose answer was lost counts as stored, once': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const runs = await Promise.all(upTo(5).map(() => startHeld(context, epoch)));
    const [plain, resting, unread, ending, fresh] = runs as [
      NewRun,
      NewRun,
      NewRun,
      NewRun,
      NewRun,
    ];
    const { workflows } = store;
    await workflows.deliver([
      { runId: unread.runId, messageId: 'm', kind: 'signal', name: 's', payloadJson: '1' },
    ]);
    const links = [
      link(plain, 1),
      link(resting, 1, { rest: waiting(0) }),
      link(unread, 1, { rest: waiting(0) }),
      link(ending, 1, { end: failed }),
    ];
    const expected = ['stored', 'stored', 'unread', 'stored'];
    assert.deepEqual(await commit(store, epoch, links), expected);
    const more = [...links, link(fresh, 1)];
    assert.deepEqual(await commit(store, epoch, more, true), [...expected, 'stored']);
    assert.deepEqual(await commit(store, epoch, more, true), [...expected, 'stored']);
    for (const run of runs) assert.equal((await load(store, run)).changes.length, 1);
    assert.deepEqual((await load(store, ending)).end?.error, failed.error);
    // The same text by somebody else is not ours.
    const other = await startHolder(context);
    assert.deepEqual(await commit(store, other, [link(plain, 1)], true), ['fenced']);
    // Nor is it without a lost answer.
    assert.deepEqual(await commit(store, epoch, links.slice(0, 1)), ['fenced']);
  },

  'a try that comes late, after its repetition, changes nothing': async (context) => {
    const { store, another } = context;
    const epoch = await startHolder(context);
    const runs = await Promise.all(upTo(20).map(() => startHeld(context, epoch)));
    const links = runs.map((run) => link(run, 1, { end: complete }));
    const answers = await Promise.all([
      commit(store, epoch, links),
      commit(await another(), epoch, links, true),
      commit(store, epoch, links, true),
    ]);
    assert.deepEqual(answers[1], Array(20).fill('stored'));
    assert.deepEqual(answers[2], Array(20).fill('stored'));
    for (const run of runs) {
      const { changes, end } = await load(store, run);
      assert.equal(changes.length, 1);
      assert.equal(end?.state, 'complete');
    }
  },

  'the end of a run says how and when': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const [good, bad] = [await startHeld(context, epoch), await startHeld(context, epoch)];
    await commit(store, epoch, [link(good, 1, { end: complete }), link(bad, 1, { end: failed })]);
    const { endedAt, ...end } = (await load(store, good)).end ?? { endedAt: 0 };
    assert.deepEqual(end, complete);
    assert.ok(Math.abs(endedAt - Date.now()) < 60_000);
    const { endedAt: _, ...other } = (await load(store, bad)).end ?? { endedAt: 0 };
    assert.deepEqual(other, failed);
  },
};

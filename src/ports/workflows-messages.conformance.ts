/** Cases for messages: each once, numbered without a gap, to whoever has the run. */
import assert from 'node:assert/strict';
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
  newRun,
  restedRun,
  runsWithJobs,
  startHeld,
  startHolder,
  verb,
  type WorkflowCases,
} from './workflows.fixtures.conformance.ts';
import type { NewRun } from './workflows.ts';

export const messageCases: WorkflowCases = {
  'messages are numbered from 1 on, and read back as they were sent': async (context) => {
    const { store } = context;
    const run = await startHeld(context, await startHolder(context));
    const payloadJson = JSON.stringify({ text: 'it \\ "is" \u0000 🗝' });
    const sent = [
      newMessage(run, { payloadJson }),
      newMessage(run, { kind: 'approval', name: 'step "x"' }),
    ];
    const { deliveries, woken } = await store.workflows.deliver(sent);
    assert.deepEqual(deliveries, ['delivered', 'delivered']);
    assert.deepEqual(woken, []);
    const stored = await store.workflows.messages(run.runId, 0);
    assert.deepEqual(
      stored.map(({ sentAt, ...message }) => message),
      sent.map((message, i) => ({ ...message, no: i + 1 })),
    );
    for (const { sentAt } of stored) assert.ok(Math.abs(sentAt - Date.now()) < 60_000);
    assert.deepEqual(await store.workflows.messages(run.runId, 1), stored.slice(1));
    assert.deepEqual((await load(store, run)).messages, stored);
    assert.deepEqual(await store.workflows.deliver([]), { deliveries: [], woken: [] });
  },

  'what the history has read is not loaded again': async (context) => {
    const { store } = context;
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    await store.workflows.deliver(upTo(4).map(() => newMessage(run)));
    // A result that looks like it must not be taken for it.
    const facts = [{ step: 0, resultJson: '{"m":4,"\\"m\\":4":1}' }];
    const links = [
      link(run, 1, { changeJson: changeJson({ create: [{ name: 'a', kind: 'run' }], read: 2 }) }),
      link(run, 2, { changeJson: changeJson({ facts }) }),
    ];
    await commit(store, epoch, links);
    const numbers = (await load(store, run)).messages.map(({ no }) => no);
    assert.deepEqual(numbers, [3, 4]);
    const later = await store.workflows.load(run.runId, 2);
    assert.deepEqual(
      later?.messages.map(({ no }) => no),
      [3, 4],
    );
  },

  'the same id is delivered once, in one call or in several, from everywhere': async (context) => {
    const { store, another } = context;
    const run = await startHeld(context, await startHolder(context));
    const one = newMessage(run, { messageId: 'one' });
    const two = newMessage(run, { messageId: 'two' });
    const first = await store.workflows.deliver([one, two, one]);
    assert.deepEqual(first.deliveries, ['delivered', 'delivered', 'duplicate']);
    const stores = [store, await another()];
    const three = newMessage(run, { messageId: 'three' });
    const answers = await Promise.all(
      upTo(8).map((n) => (stores[n % 2] as typeof store).workflows.deliver([two, three])),
    );
    const all = answers.flatMap(({ deliveries }) => deliveries);
    assert.equal(all.filter((delivery) => delivery === 'delivered').length, 1);
    await store.workflows.wakeDue(1_000);
    assert.equal((await load(store, run)).messages.length, 3);
    // To another run it is another message.
    const other = await startHeld(context, await startHolder(context));
    const elsewhere = await store.workflows.deliver([newMessage(other, { messageId: 'one' })]);
    assert.deepEqual(elsewhere.deliveries, ['delivered']);
  },

  'numbers stay dense, and grow in the order of commits, under concurrent deliveries': async (
    context,
  ) => {
    const { store, another, t } = context;
    const random = seededRandom(t);
    const stores = [store, await another()];
    const epoch = await startHolder(context);
    const runs = await Promise.all(upTo(3).map(() => startHeld(context, epoch)));
    let done = false;
    const seen = runs.map(() => 0);
    // Whoever reads on from the last number that it saw misses none.
    const reader = (async () => {
      for (let last = false; ; last = done) {
        for (const [i, run] of runs.entries()) {
          for (const { no } of await store.workflows.messages(run.runId, seen[i] as number)) {
            assert.equal(no, (seen[i] as number) + 1);
            seen[i] = no;
          }
        }
        if (last) return;
      }
    })();
    const calls = upTo(40).map((_, n) => {
      const messages = upTo(1 + random.below(6)).map(() => newMessage(random.pick(runs)));
      return (stores[n % 2] as typeof store).workflows.deliver(messages).then(() => messages);
    });
    const sent = (await Promise.all(calls)).flat();
    await store.workflows.wakeDue(1_000);
    done = true;
    await reader;
    for (const [i, run] of runs.entries()) {
      const own = sent.filter(({ runId }) => runId === run.runId);
      assert.equal(seen[i], own.length);
    }
  },

  'it is said of each message what became of it': async (context) => {
    const { store, queue } = context;
    const epoch = await startHolder(context);
    const [held, over] = [await startHeld(context, epoch), await startHeld(context, epoch)];
    const resting = await restedRun(context, epoch);
    await commit(store, epoch, [link(over, 1, { end: complete })]);
    const { deliveries, woken } = await store.workflows.deliver([
      newMessage(over),
      newMessage(held),
      newMessage(newRun(context)),
      newMessage(resting),
      newMessage(resting),
    ]);
    assert.deepEqual(deliveries, ['ended', 'delivered', 'unknown', 'delivered', 'delivered']);
    assert.deepEqual(woken, [queue]);
    assert.deepEqual(await runsWithJobs(context), [resting.runId]);
    const { rest, messages } = await load(store, resting);
    assert.equal(rest, null);
    assert.equal(messages.length, 2);
  },

  'whoever holds the run is told by a notice': async (context) => {
    const { store, another } = context;
    const epoch = await startHolder(context);
    const [held, sender] = [await startHeld(context, epoch), await startHeld(context, epoch)];
    const heard: string[] = [];
    const listener = await store.notices.listen({
      onNotice: (notice) => heard.push(...notice.split(' ')),
      onLost: () => {},
    });
    try {
      await (await another()).workflows.deliver([newMessage(held)]);
      await eventually('it hears of the message', () => heard.includes(held.runId));
      assert.equal(heard[0], 'run');
      heard.length = 0;
      await commit(await another(), epoch, [link(sender, 1, { messages: [newMessage(held)] })]);
      await eventually('it hears of the other', () => heard.includes(held.runId));
    } finally {
      await listener.close();
    }
  },

  'retry and reset open a run that failed or was cancelled, and no other': async (context) => {
    const { store, queue } = context;
    const epoch = await startHolder(context);
    const runs = await Promise.all(upTo(4).map(() => startHeld(context, epoch)));
    const [broken, cancelled, fine, other] = runs as [NewRun, NewRun, NewRun, NewRun];
    const end = { resultJson: null, error: null };
    await commit(store, epoch, [
      link(broken, 1, { end: failed }),
      link(cancelled, 1, { end: { ...end, state: 'cancelled' } }),
      link(fine, 1, { end: complete }),
      link(other, 1, { end: failed }),
    ]);
    const retry = verb(broken, 'retry');
    const { deliveries, woken } = await store.workflows.deliver([
      retry,
      verb(cancelled, 'reset'),
      verb(fine, 'retry'),
      verb(other, 'pause'),
      newMessage(other, { name: 'retry' }),
    ]);
    assert.deepEqual(deliveries, ['delivered', 'delivered', 'ended', 'ended', 'ended']);
    assert.deepEqual(woken, [queue]);
    assert.deepEqual((await runsWithJobs(context)).sort(), [broken.runId, cancelled.runId].sort());
    const opened = await load(store, broken);
    assert.equal(opened.end, null);
    assert.deepEqual(
      opened.messages.map(({ name }) => name),
      ['retry'],
    );
    // It ends anew; the same message does not open it once more.
    const next = await startHolder(context);
    await commit(store, next, [link(broken, 2, { end: failed })]);
    assert.deepEqual((await store.workflows.deliver([retry])).deliveries, ['duplicate']);
    assert.equal((await load(store, broken)).end?.state, 'error');
    assert.deepEqual(await runsWithJobs(context), []);
  },

  'many who retry a run open it once': async (context) => {
    const { store, another } = context;
    const stores = [store, await another()];
    const epoch = await startHolder(context);
    const run = await startHeld(context, epoch);
    await commit(store, epoch, [link(run, 1, { end: failed })]);
    await Promise.all(
      upTo(10).map((n) => (stores[n % 2] as typeof store).workflows.deliver([verb(run, 'retry')])),
    );
    await store.workflows.wakeDue(1_000);
    assert.equal((await load(store, run)).messages.length, 10);
    assert.deepEqual(await runsWithJobs(context), [run.runId]);
  },
};

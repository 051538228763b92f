/** Cases for lost answers: what an exchange does when it is sent again, and what it does not. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../test/support/random.ts';
import {
  byId,
  claimOne,
  configure,
  countsOf,
  doneWith,
  drain,
  enqueuePlain,
  enqueueRows,
  failedWith,
  findJob,
  type JobCaseContext,
  type JobCases,
  newExchange,
  newJobs,
  numbersOf,
  ref,
  settlementOf,
  startWorker,
  statusesOf,
  statusOf,
  twoStores,
  upTo,
} from './jobs.fixtures.conformance.ts';
import type { ClaimedJob, Exchange, JobRef } from './jobs.ts';

/** A job that was enqueued in the exchange itself has the sender's time, which a repeat moves. */
const timeless = ({ enqueuedAt: _, ...job }: ClaimedJob) => job;

/** A worker that holds three jobs, and an exchange that does everything there is. */
async function busyExchange(context: JobCaseContext) {
  const { store, queue } = context;
  await enqueuePlain(store, newJobs(context, 5));
  const rows = await enqueueRows(store, newJobs(context, 2, { from: 5, priority: 1 }));
  const worker = await startWorker(store, queue);
  const held = await worker.claim(3);
  const [done, failed, released] = held as [ClaimedJob, ClaimedJob, ClaimedJob];
  const exchange: Exchange = newExchange(queue, {
    epoch: worker.epoch,
    settle: settlementOf({
      done: [doneWith(done, '{"ok":true}')],
      failed: [failedWith(failed, { delayMs: 60_000 })],
      released: [ref(released)],
    }),
    enqueue: newJobs(context, 2, { from: 7 }),
    claim: await worker.request(100),
  });
  return { exchange, worker, done, failed, released, rows };
}

/** What all of `busyExchange` leaves behind, whether it was sent once or more often. */
async function assertBusyOnce(
  { store, queue }: JobCaseContext,
  { exchange, worker, done, failed }: Awaited<ReturnType<typeof busyExchange>>,
  enqueued: readonly JobRef[],
) {
  assert.deepEqual(
    enqueued.map(({ offset }) => offset),
    [6, 7],
  );
  const [after] = await enqueuePlain(store, exchange.enqueue.slice(0, 1));
  assert.equal(after?.offset, 8, 'nothing was enqueued twice');
  assert.equal((await findJob(store, failed)).failures, 1, 'the try counts once');
  assert.equal(await statusOf(store, failed), 'retrying');
  if (store.capabilities.history) assert.equal(await statusOf(store, done), 'completed');
  assert.deepEqual(numbersOf(await worker.claim(100)), [7], 'only what came later is left');
  const { running } = await countsOf(store, queue);
  assert.equal(running, 8);
}

export const againCases: JobCases = {
  'sent again, an exchange answers the same and repeats nothing': async (context) => {
    const { store } = context;
    const busy = await busyExchange(context);
    const first = await store.exchange(busy.exchange);
    assert.equal(first.claimed.length, 7);
    const second = await (await context.another()).exchange({ ...busy.exchange, again: true });
    const third = await store.exchange({ ...busy.exchange, again: true });
    for (const { enqueued, claimed } of [second, third]) {
      assert.deepEqual(enqueued.map(ref), first.enqueued.map(ref));
      assert.deepEqual(claimed.map(timeless), first.claimed.map(timeless));
    }
    await assertBusyOnce(context, busy, first.enqueued);
  },

  'sent again, an exchange takes back nothing that it claimed itself': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 2));
    await enqueueRows(store, newJobs(context, 2, { from: 2 }));
    const worker = await startWorker(store, queue);
    const held = await worker.claim(4);
    const [one, two, three, four] = [...held].sort(
      (a, b) => (numbersOf([a])[0] ?? 0) - (numbersOf([b])[0] ?? 0),
    ) as [ClaimedJob, ClaimedJob, ClaimedJob, ClaimedJob];
    const exchange = newExchange(queue, {
      epoch: worker.epoch,
      settle: settlementOf({
        failed: [failedWith(one), failedWith(three)],
        released: [ref(two), ref(four)],
      }),
      claim: await worker.request(10),
    });
    const first = await store.exchange(exchange);
    assert.equal(first.claimed.length, 4, 'all four wait again, and are claimed anew');
    for (let n = 0; n < 2; n += 1) {
      const { claimed } = await store.exchange({ ...exchange, again: true });
      assert.deepEqual(claimed.map(timeless), first.claimed.map(timeless));
    }
    assert.deepEqual(await statusesOf(store, held), Array(4).fill('running'));
    assert.deepEqual(await worker.claim(10), []);
    await worker.done(first.claimed);
    assert.deepEqual(await worker.claim(10), []);
    const { completed = 0, ...others } = await countsOf(store, queue);
    assert.deepEqual(others, {});
    if (store.capabilities.history) assert.equal(completed, 4);
  },

  'a failure that is sent again after its job was claimed anew counts once': async (context) => {
    const { store, queue } = context;
    for (const asRow of [false, true]) {
      if (asRow) await enqueueRows(store, newJobs(context, 1));
      else await enqueuePlain(store, newJobs(context, 1));
      const worker = await startWorker(store, queue);
      const job = await claimOne(worker);
      const settle = settlementOf({ failed: [failedWith(job)] });
      const lost = newExchange(queue, { epoch: worker.epoch, settle });
      await store.exchange(lost);
      const again = await claimOne(worker); // by another exchange of the same worker
      await store.exchange({ ...lost, again: true });
      const { status, failures } = await findJob(store, job);
      assert.deepEqual([status, failures], ['running', 1], `state row: ${asRow}`);
      await worker.done([again]);
      assert.deepEqual(await worker.claim(10), []);
    }
  },

  'sent again, an exchange that never arrived is done': async (context) => {
    const busy = await busyExchange(context);
    const { enqueued, claimed } = await context.store.exchange({ ...busy.exchange, again: true });
    assert.equal(claimed.length, 7);
    await assertBusyOnce(context, busy, enqueued);
  },

  'a first try that is slower than its repetition does nothing more': async (context) => {
    const { queue, t } = context;
    const random = seededRandom(t);
    const [one, two] = await twoStores(context);
    let enqueued = 0;
    for (let round = 0; round < 12; round += 1) {
      const worker = await startWorker(one, queue);
      const exchange = newExchange(queue, {
        epoch: worker.epoch,
        enqueue: newJobs(context, 1 + random.below(3), { key: `k${round % 2}` }),
        claim: await worker.request(1 + random.below(4)),
      });
      enqueued += exchange.enqueue.length;
      // Its connection was lost, and it is still on its way; it may also be the faster one.
      const slow = sleep(random.below(4)).then(() => one.exchange(exchange));
      const settled = slow.catch(() => null);
      const answer = await two.exchange({ ...exchange, again: true });
      const late = await settled;
      const again = await two.exchange({ ...exchange, again: true });
      for (const other of late === null ? [again] : [late, again]) {
        assert.deepEqual(other.enqueued.map(ref), answer.enqueued.map(ref), `round ${round}`);
        assert.deepEqual(byId(other.claimed), byId(answer.claimed), `round ${round}`);
      }
      await worker.done(answer.claimed);
      const { running = 0 } = await countsOf(one, queue);
      assert.equal(running, 0, 'nothing is held that nobody knows of');
      await drain(worker);
      const { completed = enqueued } = await countsOf(one, queue);
      assert.equal(completed, enqueued, `round ${round}: enqueued once`);
    }
  },

  'sent again late, an exchange still answers for itself alone': async (context) => {
    const { store, queue, another } = context;
    const worker = await startWorker(store, queue);
    const other = await startWorker(await another(), queue);
    const exchange = newExchange(queue, {
      epoch: worker.epoch,
      enqueue: newJobs(context, 3),
      claim: await worker.request(2, { lanes: [] }),
    });
    const first = await store.exchange(exchange);
    await enqueuePlain(await another(), newJobs(context, 5, { from: 3 }));
    const taken = await other.claim(2);
    const again = await store.exchange({ ...exchange, again: true });
    assert.deepEqual(again.enqueued.map(ref), first.enqueued.map(ref));
    assert.deepEqual(numbersOf(first.claimed), [0, 1]);
    assert.deepEqual(again.claimed.map(timeless), first.claimed.map(timeless));
    const rest = [...(await worker.claim(100)), ...again.claimed, ...taken];
    assert.deepEqual(numbersOf(rest).sort(), upTo(8), 'each of the eight is held once');
  },

  'sent again to a queue that was paused meanwhile, it still answers with its claim': async (
    context,
  ) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 2));
    await enqueueRows(store, newJobs(context, 1, { from: 2 }));
    const worker = await startWorker(store, queue);
    const lost = newExchange(queue, { epoch: worker.epoch, claim: await worker.request(10) });
    await store.exchange(lost);
    await configure(context, { paused: true });
    const again = await store.exchange({ ...lost, again: true });
    assert.deepEqual(numbersOf(again.claimed).sort(), [0, 1, 2], 'nobody else knows of them');
    assert.equal(again.paused, true);
    assert.deepEqual((await worker.exchange(10)).claimed, []);
  },

  'of a lost answer the enqueue can be asked for alone': async (context) => {
    const { store } = context;
    const { exchange } = await busyExchange(context);
    const { enqueued } = await store.exchange(exchange);
    const alone = { ...exchange, epoch: null, settle: null, claim: null, again: true };
    assert.deepEqual((await store.exchange(alone)).enqueued.map(ref), enqueued.map(ref));
    const [next] = await enqueuePlain(store, newJobs(context, 1));
    assert.equal(next?.offset, 8);
  },
};

/** Cases for what people do to jobs: cancel, retry, run now and remove, in every state. */
import assert from 'node:assert/strict';
import { eventually } from '../../test/support/eventually.ts';
import { seededRandom } from '../../test/support/random.ts';
import { type JobStatus, jobStatuses } from '../core/job.ts';
import {
  broken,
  byId,
  claimOne,
  countsOf,
  doneWith,
  drain,
  enqueuePlain,
  enqueueRow,
  failedWith,
  findJob,
  idOf,
  idsOf,
  type JobCaseContext,
  type JobCases,
  type JobOutcomes,
  newJobs,
  numbersOf,
  openBeater,
  recoverFrom,
  ref,
  startMortal,
  startWorker,
  statusesOf,
  statusOf,
  twoStores,
  upTo,
  verbOutcomes,
} from './jobs.fixtures.conformance.ts';
import type { ClaimedJob, JobFailure, JobRef, JobVerb } from './jobs.ts';

/** Where the port leaves open whether it is "before the end". */
const open = new Set(['cancel quarantined']);

const failures: Partial<Record<JobStatus, Partial<JobFailure>>> = {
  retrying: { delayMs: 60_000 },
  dead: { status: 'dead' },
  cancelled: { status: 'cancelled' },
};

/** A job in that state, alone in a queue; plain where that is possible and not said otherwise. */
async function jobIn(context: JobCaseContext, status: JobStatus, asRow: boolean): Promise<JobRef> {
  const { store, queue } = context;
  if (status === 'delayed') return enqueueRow(context, { delayMs: 60_000 });
  if (status === 'blocked') {
    const parent = await enqueueRow({ ...context, queue: `${queue}-parents` });
    return enqueueRow(context, { dependsOn: [ref(parent)] });
  }
  const plain = asRow ? [] : await enqueuePlain(store, newJobs(context, 1));
  const at = plain[0] ?? (await enqueueRow(context));
  if (status === 'waiting') return at;
  if (status === 'quarantined') {
    const mortal = await startMortal(store, queue);
    await mortal.claim(1);
    assert.equal((await recoverFrom(store, mortal, 1)).quarantined.length, 1);
    return at;
  }
  const worker = await startWorker(store, queue);
  const job = await claimOne(worker);
  const failure = failures[status];
  if (status === 'completed') await worker.done([job]);
  if (failure) await worker.fail(job, failure);
  return at;
}

/** Does the verb in every state, and looks at what has become of the job. */
async function tryVerb(context: JobCaseContext, verb: JobVerb): Promise<void> {
  const { store } = context;
  let number = 0;
  for (const status of jobStatuses) {
    if (open.has(`${verb} ${status}`)) continue;
    if (status === 'completed' && !store.capabilities.history) continue;
    for (const asRow of [false, true]) {
      number += 1;
      const own = { ...context, queue: `${context.queue}-${number}` };
      const title = `${verb} of a job that is ${status}${asRow ? ', with a state row' : ''}`;
      const at = await jobIn(own, status, asRow);
      assert.equal(await statusOf(store, at), status, title);
      const outcome = verbOutcomes[verb][status];
      const changed = await store.change(verb, [ref(at)]);
      assert.deepEqual(idsOf(changed), outcome === undefined ? [] : [idOf(at)], title);
      const now = outcome === undefined ? status : outcome;
      assert.equal(await statusOf(store, at), now, title);
      const claimed = await (await startWorker(store, own.queue)).claim(10);
      assert.deepEqual(
        idsOf(claimed),
        now === 'waiting' ? [idOf(at)] : [],
        `${title}, then a claim`,
      );
      assert.deepEqual(idsOf(await store.change(verb, [])), []);
    }
  }
}

/** A running job, plain or not, that was cancelled while its worker had it. */
async function cancelledWhileRunning(context: JobCaseContext, asRow: boolean) {
  const { store, queue, another } = context;
  if (asRow) await enqueueRow(context);
  else await enqueuePlain(store, newJobs(context, 1));
  const worker = await startWorker(store, queue);
  const job = await claimOne(worker);
  const changed = await (await another()).change('cancel', [ref(job)]);
  assert.deepEqual(idsOf(changed), [idOf(job)]);
  return { worker, job };
}

export const verbCases: JobCases = {
  'cancel, in every state': (context) => tryVerb(context, 'cancel'),
  'retry, in every state': (context) => tryVerb(context, 'retry'),
  'run, in every state': (context) => tryVerb(context, 'run'),
  'remove, in every state': (context) => tryVerb(context, 'remove'),

  'a verb changes those it can, and answers with them': async (context) => {
    const { store } = context;
    const own = (n: number) => ({ ...context, queue: `${context.queue}-${n}` });
    const waiting = await jobIn(own(1), 'waiting', false);
    const dead = await jobIn(own(2), 'dead', false);
    const delayed = await jobIn(own(3), 'delayed', true);
    const unknown = [
      { lane: 2_000_000_000, offset: 1 },
      { lane: waiting.lane, offset: 4_000 },
    ];
    const all = [unknown[0] as JobRef, delayed, dead, waiting, unknown[1] as JobRef].map(ref);
    assert.deepEqual(byId(await store.change('cancel', all)), byId([waiting, delayed]));
    assert.deepEqual(await store.change('cancel', all), []);
    assert.deepEqual(byId(await store.change('retry', all)), byId([waiting, delayed, dead]));
    assert.deepEqual(await statusesOf(store, [waiting, dead, delayed]), Array(3).fill('waiting'));
  },

  'retry counts the tries anew and forgets how it ended': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 1));
    const worker = await startWorker(store, queue);
    await worker.fail(await claimOne(worker));
    const job = await claimOne(worker);
    assert.equal(job.failures, 1);
    await worker.fail(job, { status: 'dead' });
    const { failures: before, error } = await findJob(store, job);
    assert.deepEqual([before, error], [2, broken]);
    await store.change('retry', [ref(job)]);
    assert.equal((await findJob(store, job)).finishedAt, null);
    const again = await claimOne(worker);
    assert.deepEqual([idOf(again), again.failures], [idOf(job), 0]);
    await worker.done([again], '"well"');
    if (store.capabilities.history) assert.equal(await statusOf(store, job), 'completed');
  },

  'what is cancelled or removed in the middle of a lane is passed over': async (context) => {
    const { store, queue } = context;
    const refs = await enqueuePlain(store, newJobs(context, 10));
    const some = (...indexes: number[]) => indexes.map((i) => ref(refs[i] as JobRef));
    assert.equal((await store.change('cancel', some(0, 4, 5))).length, 3);
    assert.equal((await store.change('remove', some(2, 9))).length, 2);
    const worker = await startWorker(store, queue);
    const claimed = [...(await worker.claim(2)), ...(await worker.claim(100))];
    assert.deepEqual(numbersOf(claimed), [1, 3, 6, 7, 8]);
    await worker.done(claimed);
    assert.deepEqual(await worker.claim(10), []);
    assert.deepEqual(await statusesOf(store, some(0, 4, 5)), Array(3).fill('cancelled'));
    assert.deepEqual(await statusesOf(store, some(2, 9)), [null, null]);
    const [next] = await enqueuePlain(store, newJobs(context, 1, { from: 10 }));
    assert.equal(next?.offset, 11, 'offsets are not used again');
    await store.change('retry', some(5));
    assert.deepEqual(numbersOf(await drain(worker)).sort(), [10, 5]);
  },

  'a worker is told which of its jobs were cancelled': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 4));
    await enqueueRow(context, { priority: 1 }, 4);
    const worker = await startWorker(store, queue);
    const other = await startWorker(store, queue);
    const held = await worker.claim(5);
    const beater = await openBeater(context);
    const beat = (epoch: number) =>
      beater.beat(epoch, { running: 1, concurrency: 5, oldestClaimNo: 1 });
    assert.deepEqual((await beat(worker.epoch)).cancelled, []);
    const cancelled = [held[1], held[4]] as ClaimedJob[];
    await store.change('cancel', cancelled.map(ref));
    const told = await beat(worker.epoch);
    assert.equal(told.alive, true);
    assert.deepEqual(byId(told.cancelled), byId(cancelled));
    assert.deepEqual((await beat(other.epoch)).cancelled, [], 'the others are not');
    await worker.settle({
      done: held.filter((job) => job !== held[4]).map((job) => doneWith(job)),
      failed: [failedWith(held[4] as ClaimedJob, { status: 'cancelled' })],
    });
    assert.deepEqual((await beat(worker.epoch)).cancelled, [], 'it has let go of them');
  },

  'the late outcome of a cancelled job is harmless': async (context) => {
    const { store } = context;
    const ends: Record<string, (job: ClaimedJob) => JobOutcomes> = {
      done: (job) => ({ done: [doneWith(job, '"late"')] }),
      retried: (job) => ({ failed: [failedWith(job)] }),
      dead: (job) => ({ failed: [failedWith(job, { status: 'dead' })] }),
      released: (job) => ({ released: [ref(job)] }),
    };
    for (const [how, end] of Object.entries(ends)) {
      for (const asRow of [false, true]) {
        const { worker, job } = await cancelledWhileRunning(context, asRow);
        await enqueuePlain(store, newJobs(context, 1, { from: 1, priority: 1 }));
        const beside = await claimOne(worker);
        await worker.settle(end(job));
        assert.equal(await statusOf(store, job), 'cancelled', how);
        assert.deepEqual(await store.queries.results([job]), [null], how);
        assert.deepEqual(await worker.claim(10), [], `${how}: it does not come again`);
        await worker.done([beside], '"beside"');
        if (!store.capabilities.history) continue;
        assert.equal(await statusOf(store, beside), 'completed', 'its neighbour is not touched');
      }
    }
  },

  'jobs settled beside a cancelled one are settled': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 5));
    const worker = await startWorker(store, queue);
    const held = await worker.claim(5);
    await store.change('cancel', [ref(held[2] as ClaimedJob)]);
    await worker.done(held, '"all"');
    const { completed = 0, ...rest } = await countsOf(store, queue);
    assert.deepEqual(rest, { cancelled: 1 });
    if (store.capabilities.history) assert.equal(completed, 4);
    assert.deepEqual(await worker.claim(10), []);
  },

  'a cancelled job does not come back when its worker dies': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 2));
    await enqueueRow(context, { priority: 1 }, 2);
    const mortal = await startMortal(store, queue);
    const held = await mortal.claim(3);
    const cancelled = [held[0], held[2]] as ClaimedJob[];
    await store.change('cancel', cancelled.map(ref));
    const { jobs } = await recoverFrom(store, mortal);
    assert.deepEqual(idsOf(jobs), [idOf(held[1] as ClaimedJob)]);
    assert.deepEqual(await statusesOf(store, cancelled), ['cancelled', 'cancelled']);
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [1]);
  },

  'a job cancelled, then retried, is not settled by who had it before': async (context) => {
    const { store, queue } = context;
    for (const asRow of [false, true]) {
      const { worker: late, job } = await cancelledWhileRunning(context, asRow);
      const child = await enqueueRow(context, { dependsOn: [ref(job)] }, 1);
      const worker = await startWorker(store, queue);
      // A store may refuse while a worker has not let go of it.
      const early = await store.change('retry', [ref(job)]);
      if (early.length === 0) {
        assert.deepEqual(await worker.claim(10), []);
        await late.done([job], '"late"');
        assert.equal((await store.change('retry', [ref(job)])).length, 1);
      }
      const again = await claimOne(worker);
      assert.equal(idOf(again), idOf(job));
      if (early.length === 1) await late.done([job], '"late"');
      assert.equal(await statusOf(store, job), 'running', 'it is held by the new one');
      assert.deepEqual(await worker.claim(10), [], 'its child is not told');
      assert.deepEqual(await store.queries.results([job]), [null]);
      await worker.done([again], '"right"');
      assert.equal(idOf(await claimOne(worker)), idOf(child));
      if (!store.capabilities.history) continue;
      assert.deepEqual(await store.queries.results([job]), ['"right"']);
    }
  },

  'cancel and a claim at once: cancelled and told, or cancelled before': async (context) => {
    const { queue, t } = context;
    const random = seededRandom(t);
    const [one, two] = await twoStores(context);
    const worker = await startWorker(one, queue);
    for (let round = 0; round < 12; round += 1) {
      const refs = await enqueuePlain(one, newJobs(context, 6));
      const some = refs.filter(() => random.chance(0.5)).map(ref);
      const [claimed, cancelled] = await Promise.all([worker.claim(6), two.change('cancel', some)]);
      assert.deepEqual(byId(cancelled), byId(some), 'all could be cancelled');
      const left = refs.filter((job) => !idsOf(some).includes(idOf(job)));
      const seen = [...claimed, ...(await worker.claim(6))];
      for (const job of left) assert.ok(idsOf(seen).includes(idOf(job)), 'the others are claimed');
      await worker.done(seen);
      const statuses = await statusesOf(one, some);
      assert.deepEqual(
        statuses,
        some.map(() => 'cancelled'),
        `round ${round}`,
      );
    }
    assert.deepEqual(await worker.claim(10), []);
  },

  'cancel and the end of a job at once: one of the two counts': async (context) => {
    const { queue } = context;
    const [one, two] = await twoStores(context);
    const worker = await startWorker(one, queue);
    for (let round = 0; round < 12; round += 1) {
      await enqueuePlain(one, newJobs(context, 4));
      const claimed = await worker.claim(4);
      const [, cancelled] = await Promise.all([
        worker.done(claimed, '"done"'),
        two.change('cancel', claimed.map(ref)),
      ]);
      const statuses = await statusesOf(one, claimed);
      const ids = idsOf(cancelled);
      for (const [i, job] of claimed.entries()) {
        const wanted = ids.includes(idOf(job)) ? 'cancelled' : 'completed';
        if (wanted === 'cancelled' || one.capabilities.history) assert.equal(statuses[i], wanted);
      }
    }
    assert.deepEqual(await worker.claim(10), []);
  },

  'a removed job is gone, with its result, for good': async (context) => {
    const { store, queue } = context;
    const [at] = await enqueuePlain(store, newJobs(context, 2));
    const worker = await startWorker(store, queue);
    await worker.done(await worker.claim(1), '"result"');
    if (!store.capabilities.history) return context.t.skip('this store keeps no completed jobs');
    assert.equal((await store.change('remove', [ref(at as JobRef)])).length, 1);
    assert.deepEqual(await store.queries.find([at as JobRef]), [null]);
    assert.deepEqual(await store.queries.results([at as JobRef]), [null]);
    assert.deepEqual(await store.change('retry', [ref(at as JobRef)]), []);
    assert.equal((await countsOf(store, queue)).waiting, 1);
    assert.deepEqual(numbersOf(await drain(worker)), [1]);
  },

  'a delayed job that is told to run comes at once': async (context) => {
    const { store, queue } = context;
    const refs = await Promise.all(
      upTo(3).map((n) => enqueueRow(context, { delayMs: 60_000 * (n + 1) }, n)),
    );
    await store.change('run', refs.slice(1).map(ref));
    const worker = await startWorker(store, queue);
    const seen: ClaimedJob[] = [];
    await eventually('both come', async () => {
      seen.push(...(await worker.claim(10)));
      return seen.length >= 2;
    });
    assert.deepEqual(byId(seen), byId(refs.slice(1)));
    assert.equal(await statusOf(store, refs[0] as JobRef), 'delayed');
  },
};

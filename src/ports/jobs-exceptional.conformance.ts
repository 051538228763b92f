/** Cases for jobs with a state row: failed, delayed, with a result, enqueued once. */
import assert from 'node:assert/strict';
import { eventually } from '../../test/support/eventually.ts';
import { seededRandom } from '../../test/support/random.ts';
import {
  broken,
  claimOne,
  countsOf,
  doneWith,
  drain,
  enqueuePlain,
  enqueueRow,
  enqueueRows,
  failedWith,
  findJob,
  idOf,
  idsOf,
  type JobCaseContext,
  type JobCases,
  newJobs,
  numbersOf,
  ref,
  startWorker,
  statusesOf,
  statusOf,
  twoStores,
  upTo,
} from './jobs.fixtures.conformance.ts';
import type { ClaimedJob, JobFailure } from './jobs.ts';

const delayMs = 150;

/** A job that failed as said, of a lane or with a state row from the start. */
async function failedJob(
  context: JobCaseContext,
  failure: Partial<JobFailure>,
  { asRow = false } = {},
) {
  const { store, queue } = context;
  if (asRow) await enqueueRow(context);
  else await enqueuePlain(store, newJobs(context, 1));
  const worker = await startWorker(store, queue);
  const job = await claimOne(worker);
  await worker.fail(job, failure);
  return { worker, job };
}

export const exceptionalCases: JobCases = {
  'a job of any kind is known at once, and claimed like another': async (context) => {
    const { store, queue } = context;
    const jobs = newJobs(context, 3, { key: 'k', name: 'conformance.row' });
    const enqueued = await enqueueRows(store, jobs);
    assert.deepEqual(
      enqueued.map(({ duplicate }) => duplicate),
      [false, false, false],
    );
    assert.equal(new Set(idsOf(enqueued)).size, 3);
    assert.deepEqual(await statusesOf(store, enqueued), Array(3).fill('waiting'));
    const worker = await startWorker(store, queue);
    const claimed = await worker.claim(10);
    assert.deepEqual(idsOf(claimed), idsOf(enqueued));
    for (const job of claimed) {
      const { tenantId, key, name, priority, exceptional } = job;
      const wanted = { tenantId: context.tenant, key: 'k', name: 'conformance.row', priority: 0 };
      assert.deepEqual({ tenantId, key, name, priority }, wanted);
      assert.equal(exceptional, true);
    }
    assert.deepEqual(await worker.claim(10), []);
    await worker.done(claimed);
    assert.deepEqual(await worker.claim(10), []);
  },

  'enqueued again with its id, nothing is stored twice': async (context) => {
    const { store, another, queue } = context;
    const jobs = newJobs(context, 3);
    const enqueueId = crypto.randomUUID();
    const first = await store.enqueue(jobs, { enqueueId, again: false });
    const again = await (await another()).enqueue(jobs, { enqueueId, again: true });
    assert.deepEqual(again.map(ref), first.map(ref));
    assert.deepEqual(
      again.map(({ duplicate }) => duplicate),
      [false, false, false],
    );
    assert.deepEqual(await countsOf(store, queue), { waiting: 3 });
    const drained = await drain(await startWorker(store, queue));
    assert.equal(drained.length, 3);
    assert.deepEqual(
      (await store.enqueue(jobs, { enqueueId, again: true })).map(ref),
      first.map(ref),
    );
    assert.deepEqual(await drain(await startWorker(store, queue)), [], 'done, and not stored anew');
  },

  'an enqueue that never arrived is done when sent again': async (context) => {
    const { store, queue } = context;
    const options = { enqueueId: crypto.randomUUID(), again: true };
    const [at] = await store.enqueue(newJobs(context, 1), options);
    assert.ok(at);
    assert.equal(idOf(await claimOne(await startWorker(store, queue))), idOf(at));
  },

  'a failed try runs again at once when there is no delay': async (context) => {
    for (const asRow of [false, true]) {
      const { worker, job } = await failedJob(context, {}, { asRow });
      for (let failures = 1; failures <= 3; failures += 1) {
        const retried = await claimOne(worker);
        assert.equal(idOf(retried), idOf(job));
        assert.deepEqual([retried.failures, retried.crashes], [failures, 0]);
        assert.equal(retried.exceptional, true);
        assert.equal(retried.payloadJson, job.payloadJson);
        if (failures < 3) await worker.fail(retried);
        else await worker.done([retried], '"at last"');
      }
      assert.deepEqual(await worker.claim(10), []);
      if (!context.store.capabilities.history) continue;
      assert.deepEqual(await context.store.queries.results([job]), ['"at last"']);
    }
  },

  'a retry waits for its delay, and the claim says how long': async (context) => {
    const { store } = context;
    const { worker, job } = await failedJob(context, { delayMs });
    const failedAt = performance.now();
    const found = await findJob(store, job);
    assert.equal(found.status, 'retrying');
    assert.equal(found.failures, 1);
    assert.deepEqual(found.error, broken);
    const dueIn = Date.parse(found.runAt ?? '') - Date.now();
    assert.ok(dueIn > -60_000 && dueIn < 60_000, `due in ${dueIn} ms`);
    const { claimed, nextDueMs } = await worker.exchange(10);
    if (performance.now() - failedAt < delayMs)
      assert.deepEqual(claimed, [], 'not before its time');
    if (claimed.length === 0) assert.ok(nextDueMs !== null && nextDueMs <= delayMs, `${nextDueMs}`);
    const retried = claimed[0] ?? (await claimOne(worker));
    assert.ok(performance.now() - failedAt > delayMs - 50, 'it came too early');
    assert.equal(retried.failures, 1);
  },

  'a dead job never runs again, and its error is kept': async (context) => {
    const { store, queue } = context;
    for (const asRow of [false, true]) {
      const { worker, job } = await failedJob(context, { status: 'dead' }, { asRow });
      const { status, error, failures, finishedAt, epoch } = await findJob(store, job);
      assert.deepEqual({ status, error, failures }, { status: 'dead', error: broken, failures: 1 });
      assert.ok(Math.abs(Date.parse(finishedAt ?? '') - Date.now()) < 60_000);
      assert.equal(epoch, null);
      assert.deepEqual(await worker.claim(10), []);
    }
    assert.deepEqual(await countsOf(store, queue), { dead: 2 });
  },

  'a handler may cancel its own job': async (context) => {
    const { store } = context;
    const error = { ...broken, code: 'JOB_CANCELLED', message: 'no longer wanted', stack: null };
    const { worker, job } = await failedJob(context, { status: 'cancelled', error, counts: false });
    const found = await findJob(store, job);
    assert.deepEqual([found.status, found.error, found.failures], ['cancelled', error, 0]);
    assert.deepEqual(await worker.claim(10), []);
  },

  'a try that does not count leaves the failures as they were': async (context) => {
    const { worker, job } = await failedJob(context, { counts: false });
    const first = await claimOne(worker);
    assert.equal(first.failures, 0);
    await worker.fail(first);
    const second = await claimOne(worker);
    assert.equal(second.failures, 1);
    await worker.fail(second, { counts: false, delayMs: 60_000 });
    const { status, failures } = await findJob(context.store, job);
    assert.deepEqual([status, failures], ['retrying', 1]);
  },

  'of a batch each job has its own outcome': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 6));
    await enqueueRows(store, newJobs(context, 4, { from: 6, priority: 1 }));
    const worker = await startWorker(store, queue);
    const claimed = await worker.claim(10);
    const at = (...indexes: number[]) => indexes.map((i) => claimed[i] as ClaimedJob);
    const resultOf = (job: ClaimedJob) => JSON.stringify({ at: job.offset });
    await worker.settle({
      done: at(5, 0, 6).map((job) => doneWith(job, resultOf(job))),
      failed: [
        ...at(1, 7).map((job) => failedWith(job, { delayMs: 60_000 })),
        ...at(2, 8).map((job) => failedWith(job, { status: 'dead' })),
        ...at(3).map((job) => failedWith(job, { status: 'cancelled', counts: false })),
      ],
      released: at(4, 9).map(ref),
    });
    const wanted = ['retrying', 'dead', 'cancelled', 'waiting', 'retrying', 'dead', 'waiting'];
    assert.deepEqual(await statusesOf(store, at(1, 2, 3, 4, 7, 8, 9)), wanted);
    if (store.capabilities.history) {
      assert.deepEqual(await statusesOf(store, at(0, 5, 6)), Array(3).fill('completed'));
      assert.deepEqual(await store.queries.results(at(0, 5, 6)), at(0, 5, 6).map(resultOf));
    }
    assert.deepEqual(numbersOf(await worker.claim(10)), [4, 9]);
  },

  'one failed job of a lane does not hold the others up': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 4));
    const worker = await startWorker(store, queue);
    const [first] = (await worker.claim(1)) as [ClaimedJob];
    await worker.fail(first, { delayMs: 60_000 });
    assert.deepEqual(numbersOf(await drain(worker, 2)), [1, 2, 3]);
    assert.equal(await statusOf(store, first), 'retrying');
  },

  'a delayed job comes when it is due, and the claim says when': async (context) => {
    const { store, queue } = context;
    const before = performance.now();
    const late = await enqueueRow(context, { delayMs: 60_000 }, 2);
    const soon = await enqueueRow(context, { delayMs }, 1);
    const now = await enqueueRow(context, {}, 0);
    const worker = await startWorker(store, queue);
    const { claimed, nextDueMs } = await worker.exchange(10);
    const elapsed = performance.now() - before;
    assert.equal(numbersOf(claimed)[0], 0);
    assert.ok(elapsed > delayMs || claimed.length === 1, 'only what is due');
    assert.ok(claimed.length > 1 || (nextDueMs !== null && nextDueMs <= delayMs), `${nextDueMs}`);
    assert.ok(claimed.length > 1 || (nextDueMs ?? 0) > 0 || elapsed > delayMs, 'it is not due yet');
    const due = claimed[1] ?? (await claimOne(worker));
    assert.ok(performance.now() - before > delayMs - 50, 'it came too early');
    assert.equal(idOf(due), idOf(soon));
    const rest = await worker.exchange(10);
    assert.ok(rest.nextDueMs !== null && rest.nextDueMs > 50_000 && rest.nextDueMs <= 60_000);
    assert.deepEqual(await statusesOf(store, [late, soon, now]), ['delayed', 'running', 'running']);
    const { runAt } = await findJob(store, late);
    assert.ok(Math.abs(Date.parse(runAt ?? '') - Date.now() - 60_000) < 30_000, `${runAt}`);
  },

  'delayed jobs become due in the order of their times': async (context) => {
    const { t, store, queue } = context;
    const random = seededRandom(t);
    const delays = upTo(12).map((n) => (n + 1) * 12);
    const shuffled = delays.map((ms) => ({ ms, at: random.next() })).sort((a, b) => a.at - b.at);
    const jobs = shuffled.flatMap(({ ms }) => newJobs(context, 1, { from: ms, delayMs: ms }));
    await enqueueRows(store, jobs);
    const worker = await startWorker(store, queue);
    const came: number[] = [];
    await eventually('all are due', async () => {
      came.push(...numbersOf(await worker.claim(1)));
      return came.length === delays.length;
    });
    assert.deepEqual(came, delays);
  },

  'a delayed job keeps its priority when it is due': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 3, { priority: 1, from: 1 }));
    const urgent = await enqueueRow(context, { priority: -1, delayMs: 1 });
    await eventually('it is due', async () => {
      const { runAt, status } = await findJob(store, urgent);
      return status === 'waiting' || Date.parse(runAt ?? '') < Date.now() - 20;
    });
    assert.deepEqual(numbersOf(await (await startWorker(store, queue)).claim(2)), [0, 1]);
  },

  'due jobs go to one of two processes, each once': async (context) => {
    const { t, queue } = context;
    const random = seededRandom(t);
    const stores = await twoStores(context);
    const jobs = upTo(60).flatMap((n) =>
      newJobs(context, 1, { from: n, delayMs: 1 + random.below(150), key: `k${n % 3}` }),
    );
    await enqueueRows(stores[0], jobs);
    const seen: number[] = [];
    await Promise.all(
      [...stores, ...stores].map(async (store) => {
        const worker = await startWorker(store, queue);
        await eventually('all have come', async () => {
          const claimed = await worker.claim(1 + random.below(5));
          seen.push(...numbersOf(claimed));
          await worker.done(claimed);
          return seen.length >= jobs.length;
        });
      }),
    );
    assert.deepEqual(
      seen.sort((a, b) => a - b),
      upTo(60),
    );
  },

  'progress is shown while a job runs, the last one given': async (context) => {
    const { store, queue, another } = context;
    await enqueuePlain(store, newJobs(context, 1));
    await enqueueRow(context, { priority: 1 });
    const jobs = await (await startWorker(store, queue)).claim(2);
    const give = (percent: number) =>
      store.progress(jobs.map((job) => ({ ...ref(job), progressJson: `{"percent":${percent}}` })));
    await give(10);
    await give(55);
    await store.progress([]);
    for (const { progressJson } of await Promise.all(jobs.map((job) => findJob(store, job)))) {
      assert.deepEqual(JSON.parse(progressJson ?? ''), { percent: 55 });
    }
    const [seen] = await (await another()).queries.find([ref(jobs[0] as ClaimedJob)]);
    assert.deepEqual(JSON.parse(seen?.progressJson ?? ''), { percent: 55 });
  },

  'results are kept beside their jobs, and read in the order asked': async (context) => {
    const { store, queue, t } = context;
    if (!store.capabilities.history) return t.skip('this store keeps no completed jobs');
    const plain = await enqueuePlain(store, newJobs(context, 2));
    const rows = await enqueueRows(store, newJobs(context, 2, { from: 2 }));
    const worker = await startWorker(store, queue);
    const claimed = await worker.claim(10);
    assert.deepEqual(await store.queries.results(claimed), Array(4).fill(null));
    const resultOf = (job: ClaimedJob) =>
      (JSON.parse(job.payloadJson) as { n: number }).n % 2 === 0
        ? `[${idOf(job).length},"é"]`
        : null;
    await worker.settle({ done: claimed.map((job) => doneWith(job, resultOf(job))) });
    const asked = [rows[1], plain[0], plain[1], rows[0]].map((job) => ref(job as never));
    const wanted = asked.map((at) => {
      const job = claimed.find((one) => idOf(one) === idOf(at)) as ClaimedJob;
      return resultOf(job);
    });
    const missing = { lane: 2_000_000_000, offset: 1 };
    assert.deepEqual(await store.queries.results([...asked, missing]), [...wanted, null]);
    assert.deepEqual(await store.queries.results([]), []);
  },
};

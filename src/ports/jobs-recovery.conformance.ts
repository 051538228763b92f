/** Cases for workers: they live by beating, die by silence, and what they held runs again. */
import assert from 'node:assert/strict';
import { eventually } from '../../test/support/eventually.ts';
import { seededRandom } from '../../test/support/random.ts';
import { isSuspect } from '../core/job.ts';
import {
  byId,
  claimOne,
  code,
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
  type JobCases,
  newJobs,
  numbersOf,
  openBeater,
  recoverFrom,
  ref,
  silence,
  startMortal,
  startWorker,
  statusesOf,
  statusOf,
  twoStores,
  upTo,
} from './jobs.fixtures.conformance.ts';
import type { ClaimedJob, JobRef, JobStore } from './jobs.ts';

const idle = { running: 0, concurrency: 5, oldestClaimNo: 1 };

const infoOf = async (store: JobStore, epoch: number) =>
  (await store.workers()).find((worker) => worker.epoch === epoch);

export const recoveryCases: JobCases = {
  'a worker is shown with what it says of itself, until it retires': async (context) => {
    const { store, another, queue } = context;
    const workerId = crypto.randomUUID();
    const queues = [queue, `${queue}-b`];
    const place = { host: 'a host', pid: 4242 };
    const epoch = await store.register({ workerId, queues, timeToLiveMs: 60_000, ...place });
    const beater = await openBeater(context);
    const beat = await beater.beat(epoch, { running: 3, concurrency: 8, oldestClaimNo: 1 });
    assert.deepEqual(beat, { alive: true, cancelled: [] });
    const info = await infoOf(await another(), epoch);
    assert.ok(info);
    const { startedAt, heartbeatAt, ...rest } = info;
    for (const at of [startedAt, heartbeatAt]) {
      assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000, at);
    }
    const said = { running: 3, concurrency: 8, alive: true };
    assert.deepEqual(rest, { epoch, workerId, queues, ...place, ...said });
    await store.retire(epoch);
    assert.equal(await infoOf(store, epoch), undefined);
    assert.equal((await beater.beat(epoch, idle)).alive, false);
    await store.retire(epoch);
  },

  'who beats is not declared dead, who is silent is': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 2));
    const [busy, silent] = [await startMortal(store, queue), await startMortal(store, queue)];
    const [kept] = await busy.claim(1);
    const [lost] = await silent.claim(1);
    const beater = await openBeater(context);
    const recovered: JobRef[] = [];
    await eventually('the silent one is dead', async () => {
      assert.equal((await beater.beat(busy.epoch, { ...idle, running: 1 })).alive, true);
      recovered.push(...(await store.recover({ crashesMax: 3 })).jobs);
      return recovered.length > 0;
    });
    assert.deepEqual(idsOf(recovered), [idOf(lost as ClaimedJob)]);
    await busy.done([kept as ClaimedJob]);
    assert.deepEqual(await beater.beat(silent.epoch, idle), { alive: false, cancelled: [] });
  },

  'an epoch that was declared dead stays dead': async (context) => {
    const { store, queue } = context;
    const mortal = await startMortal(store, queue);
    await silence(store, mortal);
    const { workers } = await store.recover({ crashesMax: 3 });
    assert.ok(workers >= 1);
    const beater = await openBeater(context);
    for (let n = 0; n < 2; n += 1)
      assert.equal((await beater.beat(mortal.epoch, idle)).alive, false);
    await assert.rejects(mortal.claim(1), code('LEASE_LOST'));
    assert.equal((await infoOf(store, mortal.epoch))?.alive ?? false, false);
  },

  'silence that the store explains is no crash of the jobs': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 2));
    await enqueueRows(store, newJobs(context, 1, { from: 2 }));
    for (let n = 0; n < 2; n += 1) {
      const mortal = await startMortal(store, queue);
      assert.equal((await mortal.claim(3)).length, 3);
      const { jobs, quarantined } = await recoverFrom(store, mortal, null);
      assert.deepEqual([jobs.map(({ crashes }) => crashes), quarantined], [[0, 0, 0], []]);
    }
  },

  'of a dead worker what is unfinished runs again, and nothing else': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 9));
    await enqueueRows(store, newJobs(context, 3, { from: 9, priority: 1 }));
    const mortal = await startMortal(store, queue);
    const claimed = await mortal.claim(12);
    const at = (...indexes: number[]) => indexes.map((i) => claimed[i] as ClaimedJob);
    await mortal.settle({
      done: at(0, 1, 4, 9).map((job) => doneWith(job)),
      failed: [
        ...at(2).map((job) => failedWith(job, { delayMs: 60_000 })),
        ...at(6).map((job) => failedWith(job, { status: 'dead' })),
      ],
      released: at(7, 10).map(ref),
    });
    const unfinished = at(3, 5, 8, 11);
    const recovery = await recoverFrom(store, mortal);
    assert.deepEqual(byId(recovery.jobs), byId(unfinished));
    assert.deepEqual(
      recovery.jobs.map(({ crashes }) => crashes),
      [1, 1, 1, 1],
    );
    assert.deepEqual(recovery.quarantined, []);
    assert.deepEqual(await statusesOf(store, unfinished), Array(4).fill('waiting'));
    for (const job of unfinished) {
      const { crashes, failures, epoch } = await findJob(store, job);
      assert.deepEqual({ crashes, failures, epoch }, { crashes: 1, failures: 0, epoch: null });
    }
    assert.deepEqual(await statusesOf(store, at(2, 6)), ['retrying', 'dead']);
    const again = await drain(await startWorker(store, queue));
    assert.deepEqual(byId(again), byId([...unfinished, ...at(7, 10)]));
    for (const { crashes, failures, lane, offset } of again) {
      assert.equal(crashes, unfinished.some((job) => idOf(job) === idOf({ lane, offset })) ? 1 : 0);
      assert.equal(failures, 0);
    }
    assert.deepEqual((await store.recover({ crashesMax: 3 })).jobs, [], 'once and for all');
  },

  'what a report calls settled is settled, and the rest is still found': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 6));
    const mortal = await startMortal(store, queue);
    const beater = await openBeater(context);
    await mortal.done(await mortal.claim(2));
    const [, kept] = (await mortal.claim(2)) as [ClaimedJob, ClaimedJob];
    await beater.beat(mortal.epoch, { running: 2, concurrency: 5, oldestClaimNo: 2 });
    const later = await mortal.claim(2);
    await mortal.done(later.slice(0, 1));
    const { jobs } = await recoverFrom(store, mortal);
    assert.equal(jobs.length, 3);
    assert.ok(idsOf(jobs).includes(idOf(kept)));
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))).sort(), [2, 3, 5]);
  },

  'two that recover at once take each job over once': async (context) => {
    const { queue } = context;
    const stores = await twoStores(context);
    await enqueuePlain(stores[0], newJobs(context, 30, { key: 'a' }));
    await enqueuePlain(stores[0], newJobs(context, 30, { key: 'b', from: 30 }));
    const mortals = await Promise.all(
      upTo(3).map((i) => startMortal(stores[i % 2] as never, queue)),
    );
    const held = (await Promise.all(mortals.map((mortal) => mortal.claim(15)))).flat();
    for (const mortal of mortals) await silence(stores[0], mortal);
    const tries = [...stores, ...stores].map((store) => store.recover({ crashesMax: 3 }));
    const jobs = (await Promise.all(tries)).flatMap((recovery) => recovery.jobs);
    assert.deepEqual(byId(jobs.filter((job) => job.queue === queue)), byId(held));
    const found = await Promise.all(held.map((job) => findJob(stores[1], job)));
    assert.deepEqual(
      found.map(({ crashes }) => crashes),
      held.map(() => 1),
    );
    assert.equal((await drain(await startWorker(stores[1], queue))).length, 60);
  },

  'a settlement that races with recovery counts wholly or not at all': async (context) => {
    const { queue, t } = context;
    const random = seededRandom(t);
    const [one, two] = await twoStores(context);
    for (let round = 0; round < 6; round += 1) {
      await enqueuePlain(one, newJobs(context, 8));
      const mortal = await startMortal(one, queue);
      const held = await mortal.claim(8);
      await silence(two, mortal);
      const share = held.filter(() => random.chance(0.5));
      const settled = mortal.done(share.length > 0 ? share : held).then(
        () => (share.length > 0 ? share : held),
        (error) => {
          assert.ok(code('LEASE_LOST')(error), String(error));
          return [];
        },
      );
      const [done, first] = await Promise.all([settled, two.recover({ crashesMax: 99 })]);
      // One that met a settlement under way may leave the epoch to the next.
      const second = await two.recover({ crashesMax: 99 });
      const own = [...first.jobs, ...second.jobs].filter((job) => job.queue === queue);
      assert.deepEqual(byId([...done, ...own]), byId(held), 'settled or recovered');
      const again = await drain(await startWorker(two, queue));
      assert.deepEqual(byId(again), byId(own));
    }
  },

  'a job that sees too many workers die is quarantined, until a retry by hand': async (context) => {
    const { store, queue } = context;
    const [plain] = await enqueuePlain(store, newJobs(context, 1));
    for (let crashes = 1; crashes <= 3; crashes += 1) {
      const mortal = await startMortal(store, queue);
      const job = await claimOne(mortal);
      assert.equal(job.crashes, crashes - 1);
      const { jobs, quarantined } = await recoverFrom(store, mortal, 3);
      assert.deepEqual(
        jobs.map((one) => [idOf(one), one.crashes]),
        [[idOf(plain as JobRef), crashes]],
      );
      assert.equal(quarantined.length, crashes === 3 ? 1 : 0, `after ${crashes}`);
    }
    const worker = await startWorker(store, queue);
    assert.deepEqual(await worker.claim(10), []);
    assert.equal(await statusOf(store, plain as JobRef), 'quarantined');
    assert.deepEqual(await countsOf(store, queue), { quarantined: 1 });
    assert.equal((await store.change('retry', [plain as JobRef])).length, 1);
    const job = await claimOne(worker);
    assert.equal(idOf(job), idOf(plain as JobRef));
    await worker.done([job]);
  },

  'suspects run one at a time, others beside them': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 4));
    for (let crash = 1; crash <= 2; crash += 1) {
      const mortal = await startMortal(store, queue);
      assert.equal((await mortal.claim(4)).length, 4, 'after one crash all run again at once');
      assert.equal((await recoverFrom(store, mortal)).jobs.length, 4);
    }
    await enqueuePlain(store, newJobs(context, 3, { from: 10 }));
    await enqueueRows(store, newJobs(context, 2, { from: 13 }));
    const worker = await startWorker(store, queue);
    const first = await worker.claim(100);
    const suspects = (jobs: readonly ClaimedJob[]) => jobs.filter(isSuspect);
    assert.equal(suspects(first).length, 1);
    assert.equal(first.length, 6, 'the others are not held up');
    const seen = [...suspects(first)];
    assert.deepEqual(await worker.claim(100, { suspects: false }), [], 'while one runs here');
    while (seen.length < 4) {
      await worker.done(seen.slice(-1));
      const claimed = await worker.claim(100);
      assert.equal(claimed.length, 1);
      seen.push(...suspects(claimed));
    }
    assert.deepEqual(numbersOf(seen).sort(), upTo(4));
  },

  'of suspects each worker may have one': async (context) => {
    const { queue } = context;
    const stores = await twoStores(context);
    await enqueuePlain(stores[0], newJobs(context, 3));
    for (let crash = 1; crash <= 2; crash += 1) {
      const mortal = await startMortal(stores[0], queue);
      await mortal.claim(3);
      await recoverFrom(stores[1], mortal);
    }
    const workers = await Promise.all(stores.map((store) => startWorker(store, queue)));
    for (const worker of workers) assert.equal((await worker.claim(10)).length, 1);
  },

  'a worker that retires leaves its jobs first in line, with nothing counted': async (context) => {
    const { store, queue, another } = context;
    await enqueuePlain(store, newJobs(context, 6));
    await enqueueRow(context, { priority: 1 }, 6);
    const worker = await startWorker(store, queue);
    await worker.done((await worker.claim(2)).slice(0, 1));
    await worker.claim(2);
    await (await another()).retire(worker.epoch);
    await assert.rejects(worker.claim(1), code('LEASE_LOST'));
    assert.equal(await infoOf(store, worker.epoch), undefined);
    const other = await startWorker(await another(), queue);
    const claimed = await other.claim(100);
    assert.deepEqual(numbersOf(claimed), [1, 2, 3, 4, 5, 6]);
    for (const { failures, crashes } of claimed) assert.deepEqual([failures, crashes], [0, 0]);
    assert.deepEqual((await store.recover({ crashesMax: 1 })).jobs, []);
  },

  'a worker that is retired with running rows leaves them as well': async (context) => {
    const { store, queue } = context;
    const rows = await enqueueRows(store, newJobs(context, 3));
    const worker = await startWorker(store, queue);
    const claimed = await worker.claim(3);
    await worker.fail(claimed[0] as ClaimedJob);
    await store.retire(worker.epoch);
    assert.deepEqual(await statusesOf(store, rows), Array(3).fill('waiting'));
    const again = await drain(await startWorker(store, queue));
    const failures = (job: JobRef) => again.find((one) => idOf(one) === idOf(job))?.failures;
    assert.deepEqual(rows.map(failures), [1, 0, 0]);
  },

  'workers that die at random lose no job and run none beside another': async (context) => {
    const { queue, t } = context;
    const random = seededRandom(t);
    const stores = await twoStores(context);
    const jobs = upTo(80).flatMap((n) => newJobs(context, 1, { from: n, key: `k${n % 3}` }));
    await enqueuePlain(stores[0], jobs);
    const finished: ClaimedJob[] = [];
    for (let round = 0; round < 8; round += 1) {
      const workers = await Promise.all(
        upTo(3).map((i) => startMortal(stores[i % 2] as never, queue)),
      );
      await Promise.all(
        workers.map(async (worker) => {
          for (let n = random.below(3); n >= 0; n -= 1) {
            const claimed = await worker.claim(1 + random.below(6));
            const done = claimed.filter(() => random.chance(0.6));
            await worker.done(done);
            finished.push(...done);
          }
        }),
      );
      for (const worker of workers) await silence(stores[0], worker);
      await Promise.all(stores.map((store) => store.recover({ crashesMax: 1_000 })));
    }
    finished.push(...(await drain(await startWorker(stores[0], queue))));
    assert.deepEqual(
      numbersOf(finished).sort((a, b) => a - b),
      upTo(80),
    );
  },
};

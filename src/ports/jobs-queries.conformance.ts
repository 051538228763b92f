/** Cases for reading jobs: by id, in pages, counted; and for what is pruned in the end. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../../test/support/random.ts';
import { type JobStatus, jobStatuses } from '../core/job.ts';
import type { JobFilter, JobSnapshot } from './job-queries.ts';
import {
  broken,
  byId,
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
  recoverFrom,
  ref,
  startMortal,
  startWorker,
  statusesOf,
  statusOf,
  twoStores,
  upTo,
} from './jobs.fixtures.conformance.ts';
import type { ClaimedJob, JobRef, JobStore } from './jobs.ts';

/** All pages of a filter, in the order they came. */
async function listAll(
  { queries }: JobStore,
  filter: JobFilter,
  { limit = 7, between = async () => {} } = {},
): Promise<readonly JobSnapshot[]> {
  const jobs: JobSnapshot[] = [];
  for (let after: string | null = null; ; ) {
    const page = await queries.list(filter, { limit, after });
    assert.ok(page.jobs.length <= limit, `${page.jobs.length} on a page of ${limit}`);
    jobs.push(...page.jobs);
    if (page.next === null) return jobs;
    after = page.next;
    await between();
  }
}

async function pruneAll(store: JobStore): Promise<void> {
  for (let rounds = 0; (await store.prune({ olderThanMs: 1, limit: 5_000 })) > 0; rounds += 1) {
    assert.ok(rounds < 100, 'it says that it prunes for ever');
  }
}

/** Some jobs in every state there is, by state. */
async function oneOfEach(context: JobCaseContext) {
  const { store, queue } = context;
  const jobs = new Map<JobStatus, JobRef[]>();
  const note = (status: JobStatus, ...some: JobRef[]) => {
    jobs.set(status, [...(jobs.get(status) ?? []), ...some.map(ref)]);
  };
  const worker = await startWorker(store, queue);
  await enqueueRow(context, { priority: -1 });
  const mortal = await startMortal(store, queue);
  const poison = await claimOne(mortal);
  await recoverFrom(store, mortal, 1);
  note('quarantined', poison);
  await enqueuePlain(store, newJobs(context, 8));
  await enqueueRows(store, newJobs(context, 4, { from: 8, priority: 1 }));
  const held = await worker.claim(12);
  const at = (...indexes: number[]) => indexes.map((i) => held[i] as ClaimedJob);
  await worker.settle({
    done: at(0, 1, 8).map((job) => doneWith(job, '{"sent":true}')),
    failed: [
      ...at(2, 9).map((job) => failedWith(job, { delayMs: 60_000 })),
      ...at(3, 10).map((job) => failedWith(job, { status: 'dead' })),
      ...at(4).map((job) => failedWith(job, { status: 'cancelled', error: null })),
    ],
  });
  note('completed', ...at(0, 1, 8));
  note('retrying', ...at(2, 9));
  note('dead', ...at(3, 10));
  note('cancelled', ...at(4));
  note('running', ...at(5, 6, 7, 11));
  note('waiting', ...(await enqueuePlain(store, newJobs(context, 3, { from: 20 }))));
  note('waiting', await enqueueRow(context, { key: 'k' }));
  note('delayed', await enqueueRow(context, { delayMs: 60_000 }));
  note('blocked', await enqueueRow(context, { dependsOn: at(5).map(ref) }));
  if (!store.capabilities.history) jobs.delete('completed');
  return { jobs, worker };
}

export const queryCases: JobCases = {
  'jobs are found by id in the order asked, and null for what is not there': async (context) => {
    const { store } = context;
    const plain = await enqueuePlain(store, newJobs(context, 3));
    const row = await enqueueRow(context, {}, 3);
    const missing = { lane: plain[0]?.lane as number, offset: 4_000 };
    const asked = [row, plain[2], missing, plain[0], row].map((job) => ref(job as JobRef));
    const found = await store.queries.find(asked);
    assert.deepEqual(
      found.map((job) => job && idOf(job)),
      asked.map((job) => (job === asked[2] ? null : idOf(job))),
    );
    assert.deepEqual(await store.queries.find([]), []);
    assert.deepEqual(await store.queries.find([{ lane: 2_000_000_000, offset: 1 }]), [null]);
  },

  'a snapshot tells all there is, from its enqueue to its end': async (context) => {
    const { store, queue, tenant } = context;
    for (const asRow of [false, true]) {
      const rest = { key: 'k', priority: 2, name: 'conformance.shown', version: 4 };
      const options = { optionsJson: '{"attempts":2}', payloadJson: '{"n":0,"é":[1]}' };
      const jobs = newJobs(context, 1, { ...rest, ...options });
      const [at] = asRow ? await enqueueRows(store, jobs) : await enqueuePlain(store, jobs);
      const waiting = await findJob(store, at as JobRef);
      const { enqueuedAt, payloadJson, optionsJson, runAt, ...others } = waiting;
      assert.deepEqual(JSON.parse(payloadJson), JSON.parse(options.payloadJson));
      assert.deepEqual(JSON.parse(optionsJson ?? ''), { attempts: 2 });
      assert.ok(Math.abs(Date.parse(enqueuedAt) - Date.now()) < 60_000, enqueuedAt);
      assert.ok(runAt === null || typeof runAt === 'string');
      const nothing = { startedAt: null, finishedAt: null, epoch: null, error: null };
      const noText = { resultJson: null, progressJson: null, uniqueKey: null };
      assert.deepEqual(others, {
        ...ref(at as JobRef),
        ...{ queue, tenantId: tenant, ...rest, status: 'waiting', failures: 0, crashes: 0 },
        ...{ ...nothing, ...noText, waitsFor: [] },
      });
      const worker = await startWorker(store, queue);
      const job = await claimOne(worker);
      const running = await findJob(store, job);
      assert.deepEqual([running.status, running.epoch], ['running', worker.epoch]);
      assert.ok(Math.abs(Date.parse(running.startedAt ?? '') - Date.now()) < 60_000);
      await worker.done([job], '{"sent":1}');
      if (!store.capabilities.history) continue;
      const done = await findJob(store, job);
      assert.deepEqual(
        [done.status, done.resultJson, done.epoch],
        ['completed', '{"sent":1}', null],
      );
      assert.ok(Date.parse(done.finishedAt ?? '') >= Date.parse(running.startedAt ?? ''));
    }
  },

  'each status lists its jobs, and counts them': async (context) => {
    const { store, queue } = context;
    const { jobs } = await oneOfEach(context);
    for (const status of jobStatuses) {
      const wanted = jobs.get(status) ?? [];
      if (status === 'completed' && !store.capabilities.history) continue;
      const found = await listAll(store, { queue, status }, { limit: 2 });
      assert.deepEqual(byId(found), byId(wanted), status);
      assert.ok(found.every((job) => job.status === status));
      assert.deepEqual(
        await statusesOf(store, wanted),
        wanted.map(() => status),
      );
    }
    const { completed = 0, ...counts } = await countsOf(store, queue);
    const wanted = [...jobs].filter(([status]) => status !== 'completed');
    assert.deepEqual(
      counts,
      Object.fromEntries(wanted.map(([status, some]) => [status, some.length])),
    );
    if (store.capabilities.history) assert.equal(completed, jobs.get('completed')?.length);
    const all = await listAll(store, { queue });
    assert.deepEqual(byId(all), byId([...jobs.values()].flat()));
    const single = await Promise.all(all.map((job) => findJob(store, job)));
    assert.deepEqual(all, single, 'a list shows what find shows');
  },

  'jobs are listed by each of the filters, and by all of them': async (context) => {
    const { store, queue, tenant } = context;
    const before = new Date(Date.now() - 3_600_000).toISOString();
    const [a] = await enqueuePlain(store, newJobs(context, 1, { name: 'conformance.a' }));
    const [k] = await enqueuePlain(store, newJobs(context, 1, { key: 'k', from: 1 }));
    const foreign = newJobs({ queue, tenant: `${tenant}-b` }, 1, { from: 2 });
    const [t] = await enqueueRows(store, foreign);
    const worker = await startWorker(store, queue);
    const failed = (await worker.claim(10)).find((job) => job.key === 'k') as ClaimedJob;
    await worker.fail(failed, { status: 'dead', error: { ...broken, fingerprint: 'own' } });
    const list = async (filter: JobFilter) => byId(await listAll(store, { queue, ...filter }));
    const of = (...jobs: (JobRef | undefined)[]) => byId(jobs as JobRef[]);
    assert.deepEqual(await list({}), of(a, k, t));
    assert.deepEqual(await list({ name: 'conformance.a' }), of(a));
    assert.deepEqual(await list({ tenantId: tenant }), of(a, k));
    assert.deepEqual(await list({ key: 'k' }), of(k));
    assert.deepEqual(await list({ key: '' }), of(a, t));
    assert.deepEqual(await list({ status: 'dead' }), of(k));
    assert.deepEqual(await list({ fingerprint: 'own' }), of(k));
    assert.deepEqual(await list({ from: before }), of(a, k, t));
    assert.deepEqual(await list({ to: before }), []);
    const after = new Date(Date.now() + 3_600_000).toISOString();
    assert.deepEqual(await list({ from: after }), []);
    assert.deepEqual(await list({ from: before, to: after, status: 'running' }), of(a, t));
    const every = { tenantId: tenant, key: 'k', name: 'conformance.job', fingerprint: 'own' };
    assert.deepEqual(await list({ ...every, status: 'dead', from: before, to: after }), of(k));
    for (const wrong of [
      { queue: `${queue}-none` },
      { name: 'none' },
      { tenantId: 'none' },
      { key: 'none' },
      { fingerprint: 'none' },
      { status: 'blocked' as const },
    ]) {
      assert.deepEqual(await list({ ...every, ...wrong }), [], JSON.stringify(wrong));
    }
    const mine = await listAll(store, { tenantId: tenant });
    assert.deepEqual(byId(mine), of(a, k), 'over all queues');
  },

  'the time a list begins and ends with is exact': async (context) => {
    const { store, queue } = context;
    const times: string[] = [];
    for (const n of upTo(4)) {
      if (n > 0) await sleep(5);
      const [at] = await enqueuePlain(store, newJobs(context, 1, { from: n }));
      times.push((await findJob(store, at as JobRef)).enqueuedAt);
    }
    const list = async (filter: JobFilter) =>
      numbersOf(await listAll(store, { queue, ...filter })).sort();
    assert.deepEqual(await list({ from: times[1] as string, to: times[3] as string }), [1, 2]);
    assert.deepEqual(await list({ to: times[1] as string }), [0]);
    assert.deepEqual(await list({ from: times[3] as string }), [3]);
  },

  'pages hold each job once while others come and go': async (context) => {
    const { store, queue, t, another } = context;
    const random = seededRandom(t);
    const other = await another();
    const jobs = upTo(60).flatMap((n) =>
      newJobs(context, 1, { from: n, key: `k${n % 4}`, priority: n % 3 }),
    );
    const stay = [
      ...(await enqueuePlain(store, jobs.slice(0, 40))),
      ...(await enqueueRows(store, jobs.slice(40))),
    ];
    for (const filter of [{ queue }, { queue, status: 'waiting' as const }]) {
      // Jobs that come, run and go meanwhile: the most urgent, so that no other is touched.
      const worker = await startWorker(other, queue);
      let n = 1_000;
      const between = async () => {
        n += 10;
        const some = newJobs(context, 4, { from: n, priority: -5, key: `k${n % 4}` });
        const row = newJobs(context, 1, { from: n + 4, priority: -5 });
        await Promise.all([enqueuePlain(other, some), enqueueRows(other, row)]);
        await worker.done(await worker.claim(5));
      };
      for (let round = 0; round < 2; round += 1) {
        const seen = idsOf(await listAll(store, filter, { limit: 3 + random.below(9), between }));
        assert.equal(new Set(seen).size, seen.length, 'no job twice');
        assert.deepEqual(
          idsOf(stay).filter((id) => !seen.includes(id)),
          [],
          'none missing',
        );
      }
    }
  },

  'counts are of every known queue, or of those asked for': async (context) => {
    const { store, queue } = context;
    await store.configure([{ queue: `${queue}-empty` }]);
    await enqueuePlain(store, newJobs(context, 3));
    const nothing = Object.fromEntries(jobStatuses.map((status) => [status, 0]));
    const all = await store.queries.counts();
    assert.deepEqual({ ...all.get(`${queue}-empty`) }, nothing);
    assert.deepEqual({ ...all.get(queue) }, { ...nothing, waiting: 3 });
    const some = await store.queries.counts([queue]);
    assert.deepEqual([...some.keys()], [queue]);
    assert.deepEqual({ ...some.get(queue) }, { ...nothing, waiting: 3 });
  },

  'counts stay right while jobs go their ways': async (context) => {
    const { queue, t } = context;
    const random = seededRandom(t);
    const [one, two] = await twoStores(context);
    const workers = [await startWorker(one, queue), await startWorker(two, queue)];
    let enqueued = 0;
    let completed = 0;
    let dead = 0;
    const held: ClaimedJob[][] = [[], []];
    for (let round = 0; round < 25; round += 1) {
      const count = random.below(6);
      const key = `k${random.below(3)}`;
      if (count > 0) await enqueuePlain(random.pick([one, two]), newJobs(context, count, { key }));
      enqueued += count;
      const i = random.below(2);
      const ended = (held[i] as ClaimedJob[]).filter(() => random.chance(0.6));
      const failing = ended.filter(() => random.chance(0.2));
      const done = ended.filter((job) => !failing.includes(job));
      const { claimed } = await (workers[i] as (typeof workers)[0]).exchange(random.below(5) + 1, {
        settle: {
          done: done.map((job) => doneWith(job)),
          failed: failing.map((job) => failedWith(job, { status: 'dead' })),
        },
      });
      held[i] = [...(held[i] as ClaimedJob[]).filter((job) => !ended.includes(job)), ...claimed];
      completed += done.length;
      dead += failing.length;
      const running = held.flat().length;
      const wanted = { running, dead, waiting: enqueued - completed - dead - running };
      const seen = await countsOf(random.pick([one, two]), queue);
      const { completed: finished = 0, ...rest } = { running: 0, dead: 0, waiting: 0, ...seen };
      assert.deepEqual(rest, wanted, `round ${round}`);
      if (one.capabilities.history) assert.equal(finished, completed, `round ${round}`);
    }
  },

  'what is finished and old is pruned, what is not stays': async (context) => {
    const { store } = context;
    const { jobs } = await oneOfEach(context);
    assert.equal(await store.prune({ olderThanMs: 3_600_000, limit: 1_000 }), 0, 'all are young');
    const finished = (['completed', 'dead', 'cancelled'] as const).flatMap(
      (s) => jobs.get(s) ?? [],
    );
    await sleep(20);
    assert.ok((await store.prune({ olderThanMs: 1, limit: 5 })) <= 5, 'no more than asked');
    await pruneAll(store);
    const kept = ['blocked', 'delayed', 'waiting', 'running', 'retrying'] as const;
    for (const status of kept) {
      const some = jobs.get(status) as JobRef[];
      assert.deepEqual(
        await statusesOf(store, some),
        some.map(() => status),
      );
    }
    // A driver may prune whole claims and the front of a lane only: beside an unfinished job of its
    // lane one may stay.
    const lanes = new Set(kept.flatMap((status) => jobs.get(status) ?? []).map(({ lane }) => lane));
    for (const job of await store.queries.find(finished)) {
      assert.ok(job === null || lanes.has(job.lane), `${job && idOf(job)} stays, ${job?.status}`);
    }
  },

  'a lane that was pruned empty goes on with its offsets': async (context) => {
    const { store, queue, another } = context;
    const refs = await enqueuePlain(store, newJobs(context, 5));
    const before = await startWorker(store, queue);
    await drain(before);
    await store.retire(before.epoch); // a living worker may keep its last claim from being pruned
    await sleep(20);
    await pruneAll(store);
    assert.deepEqual(
      await statusesOf(store, refs),
      refs.map(() => null),
    );
    const worker = await startWorker(store, queue);
    const [next] = await enqueuePlain(await another(), newJobs(context, 1, { from: 5 }));
    const [last] = await enqueuePlain(store, newJobs(context, 1, { from: 6 }));
    assert.deepEqual([next?.offset, last?.offset], [6, 7], 'an id is never used again');
    assert.equal(await statusOf(store, next as JobRef), 'waiting');
    const { waiting } = await countsOf(store, queue);
    assert.equal(waiting, 2);
    assert.deepEqual(numbersOf(await drain(worker)), [5, 6]);
  },

  'a child of a parent that was pruned runs': async (context) => {
    const { store, queue } = context;
    const [parent] = await enqueuePlain(store, newJobs(context, 1));
    const before = await startWorker(store, queue);
    await drain(before);
    await store.retire(before.epoch);
    await sleep(20);
    await pruneAll(store);
    assert.deepEqual(await store.queries.find([parent as JobRef]), [null]);
    const worker = await startWorker(store, queue);
    const child = await enqueueRow(context, { dependsOn: [ref(parent as JobRef)] }, 1);
    assert.equal(idOf(await claimOne(worker)), idOf(child));
  },
};

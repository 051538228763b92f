/** Cases for jobs that wait for others: who is a parent, and when a child runs or does not. */
import assert from 'node:assert/strict';
import { eventually } from '../../test/support/eventually.ts';
import { seededRandom } from '../../test/support/random.ts';
import type { NewJob, ParentFailure } from '../core/job.ts';
import {
  byId,
  claimOne,
  doneWith,
  enqueuePlain,
  enqueueRow,
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
  type TestWorker,
  twoStores,
  upTo,
} from './jobs.fixtures.conformance.ts';
import type { ClaimedJob, JobFailure, JobRef, JobStore } from './jobs.ts';

/** A child of these parents; `n` is its payload. */
function enqueueChild(
  context: JobCaseContext,
  parents: readonly JobRef[],
  n: number,
  rest: Partial<NewJob> = {},
) {
  return enqueueRow(context, { dependsOn: parents.map(ref), ...rest }, n);
}

/** A parent and its child by that policy; the parent runs already. */
async function runningParent(
  context: JobCaseContext,
  onParentFailure: ParentFailure,
  { asRow = false } = {},
) {
  const { store, queue } = context;
  const [at] = asRow ? [await enqueueRow(context)] : await enqueuePlain(store, newJobs(context, 1));
  const child = await enqueueChild(context, [at as JobRef], 1, { onParentFailure });
  const worker = await startWorker(store, queue);
  const parent = await claimOne(worker);
  assert.equal(idOf(parent), idOf(at as JobRef), 'the child does not run before its parent');
  return { worker, parent, child };
}

async function assertBlocked(store: JobStore, worker: TestWorker, child: JobRef) {
  assert.deepEqual(await worker.claim(10), []);
  assert.equal(await statusOf(store, child), 'blocked');
}

const becomes = (store: JobStore, job: JobRef, status: string) =>
  eventually(`${idOf(job)} is ${status}`, async () => (await statusOf(store, job)) === status);

export const parentCases: JobCases = {
  'a child waits for its parent, and says for whom': async (context) => {
    for (const asRow of [false, true]) {
      const { worker, parent, child } = await runningParent(context, 'wait', { asRow });
      await assertBlocked(context.store, worker, child);
      const { waitsFor } = await findJob(context.store, child);
      assert.deepEqual(waitsFor.map(ref), [ref(parent)]);
      await worker.done([parent], '{"of":"the parent"}');
      const job = await claimOne(worker);
      assert.deepEqual([idOf(job), numbersOf([job])], [idOf(child), [1]]);
      assert.deepEqual((await findJob(context.store, child)).waitsFor, []);
      if (context.store.capabilities.history) {
        assert.deepEqual(await context.store.queries.results([parent]), ['{"of":"the parent"}']);
      }
      await worker.done([job]);
    }
  },

  'a diamond runs from its top to its foot': async (context) => {
    const { store, queue } = context;
    const top = await enqueueRow(context);
    const left = await enqueueChild(context, [top], 1);
    const right = await enqueueChild(context, [top], 2);
    const foot = await enqueueChild(context, [left, right], 3);
    assert.deepEqual(byId((await findJob(store, foot)).waitsFor), byId([left, right]));
    const worker = await startWorker(store, queue);
    const first = await worker.claim(10);
    assert.deepEqual(numbersOf(first), [0]);
    await worker.done(first);
    const sides: ClaimedJob[] = [];
    while (sides.length < 2) sides.push(await claimOne(worker));
    assert.deepEqual(numbersOf(sides).sort(), [1, 2]);
    await worker.done(sides.slice(0, 1));
    await assertBlocked(store, worker, foot);
    assert.deepEqual(byId((await findJob(store, foot)).waitsFor), idsOf(sides.slice(1)));
    await worker.done(sides.slice(1));
    assert.deepEqual(numbersOf([await claimOne(worker)]), [3]);
  },

  'parents that are acknowledged as a range free all their children': async (context) => {
    const { store, queue } = context;
    const parents = await enqueuePlain(store, newJobs(context, 60));
    const children: JobRef[] = [];
    for (let n = 0; n < 12; n += 1) {
      const own = [parents[n], parents[(n * 7 + 20) % 60], parents[59 - n]] as JobRef[];
      const unique = [...new Map(own.map((one) => [idOf(one), one])).values()];
      children.push(await enqueueChild(context, unique, 100 + n, { priority: 1 }));
    }
    const worker = await startWorker(store, queue);
    const claimed = await worker.claim(60);
    assert.equal(claimed.length, 60);
    await worker.done(claimed.slice(0, 30));
    assert.deepEqual(await worker.claim(100), [], 'half of the parents are not enough');
    await worker.done(claimed.slice(30));
    const ran: ClaimedJob[] = [];
    while (ran.length < children.length) ran.push(await claimOne(worker));
    assert.deepEqual(byId(ran), byId(children));
  },

  'a parent that is completed already holds nobody up': async (context) => {
    const { store, queue } = context;
    const worker = await startWorker(store, queue);
    await enqueuePlain(store, newJobs(context, 2));
    await enqueueRow(context, { priority: 1 }, 2);
    const parents = await worker.claim(10);
    await worker.done(parents.filter((_, i) => i !== 1));
    const one = await enqueueChild(context, [parents[0], parents[2]] as JobRef[], 10);
    assert.equal(idOf(await claimOne(worker)), idOf(one));
    const two = await enqueueChild(context, parents, 11);
    assert.deepEqual(await worker.claim(10), []);
    await becomes(store, two, 'blocked');
    await eventually('what is completed is not waited for', async () => {
      const { waitsFor } = await findJob(store, two);
      return waitsFor.length === 1 && idOf(waitsFor[0] as JobRef) === idOf(parents[1] as JobRef);
    });
    await worker.done(parents.slice(1, 2));
    assert.equal(idOf(await claimOne(worker)), idOf(two));
  },

  'a parent that is retried keeps its child waiting until it succeeds': async (context) => {
    const { store } = context;
    const { worker, parent, child } = await runningParent(context, 'cancel');
    await worker.fail(parent, { delayMs: 60_000 });
    await assertBlocked(store, worker, child);
    await store.change('run', [ref(parent)]);
    const retried = await claimOne(worker);
    assert.equal(idOf(retried), idOf(parent));
    await worker.done([retried]);
    assert.equal(idOf(await claimOne(worker)), idOf(child));
  },

  'wait: a dead parent keeps its child waiting, for a retry by hand': async (context) => {
    const { store } = context;
    for (const asRow of [false, true]) {
      const { worker, parent, child } = await runningParent(context, 'wait', { asRow });
      await worker.fail(parent, { status: 'dead' });
      await assertBlocked(store, worker, child);
      assert.deepEqual((await findJob(store, child)).waitsFor.map(ref), [ref(parent)]);
      assert.equal((await store.change('retry', [ref(parent)])).length, 1);
      const retried = await claimOne(worker);
      assert.equal(idOf(retried), idOf(parent));
      await worker.done([retried]);
      const job = await claimOne(worker);
      assert.equal(idOf(job), idOf(child));
      await worker.done([job]);
    }
  },

  'cancel: a dead parent cancels its child, and its child too': async (context) => {
    const { store } = context;
    const { worker, parent, child } = await runningParent(context, 'cancel');
    const grandchild = await enqueueChild(context, [child], 2, { onParentFailure: 'cancel' });
    const patient = await enqueueChild(context, [child], 3, { onParentFailure: 'wait' });
    const brave = await enqueueChild(context, [child], 4, { onParentFailure: 'run' });
    await worker.fail(parent, { status: 'dead' });
    assert.equal(idOf(await claimOne(worker)), idOf(brave), 'a child of it that runs anyway');
    await becomes(store, child, 'cancelled');
    await becomes(store, grandchild, 'cancelled');
    assert.equal(await statusOf(store, patient), 'blocked');
    assert.deepEqual(await worker.claim(10), []);
  },

  'a late outcome of a cancelled parent does not free its child': async (context) => {
    const { store } = context;
    for (const asRow of [false, true]) {
      const { worker, parent, child } = await runningParent(context, 'wait', { asRow });
      assert.equal((await store.change('cancel', [ref(parent)])).length, 1);
      await worker.done([parent], '"late"');
      await assertBlocked(store, worker, child);
      const second = await enqueueChild(context, [parent], 2, { onParentFailure: 'wait' });
      await assertBlocked(store, worker, second);
      await store.change('cancel', [ref(child), ref(second)]);
    }
  },

  'run: a child runs when its parent is dead, cancelled or quarantined': async (context) => {
    const { store, queue } = context;
    const { worker, parent, child } = await runningParent(context, 'run');
    await worker.fail(parent, { status: 'dead' });
    assert.equal(idOf(await claimOne(worker)), idOf(child));

    const waiting = await enqueueRow(context, { delayMs: 60_000 });
    const second = await enqueueChild(context, [waiting], 2, { onParentFailure: 'run' });
    await store.change('cancel', [ref(waiting)]);
    assert.equal(idOf(await claimOne(worker)), idOf(second));

    const poison = await enqueueRow(context);
    const third = await enqueueChild(context, [poison], 3, { onParentFailure: 'run' });
    const mortal = await startMortal(store, queue);
    await mortal.claim(1);
    const { quarantined } = await recoverFrom(store, mortal, 1);
    assert.deepEqual(idsOf(quarantined), [idOf(poison)]);
    assert.equal(idOf(await claimOne(worker)), idOf(third));
  },

  'run: all parents have come to an end before it runs': async (context) => {
    const { store, queue } = context;
    const parents = await enqueuePlain(store, newJobs(context, 2));
    const child = await enqueueChild(context, parents, 2, { onParentFailure: 'run' });
    const worker = await startWorker(store, queue);
    const [one, two] = (await worker.claim(10)) as [ClaimedJob, ClaimedJob];
    await worker.fail(one, { status: 'dead' });
    await assertBlocked(store, worker, child);
    await worker.done([two]);
    assert.equal(idOf(await claimOne(worker)), idOf(child));
  },

  'a parent that failed before its child came decides by the policy': async (context) => {
    const { store, queue } = context;
    const failures: Partial<JobFailure>[] = [{ status: 'dead' }, { status: 'cancelled' }];
    const worker = await startWorker(store, queue);
    for (const failure of failures) {
      await enqueuePlain(store, newJobs(context, 1));
      const parent = await claimOne(worker);
      await worker.fail(parent, failure);
      const wait = await enqueueChild(context, [parent], 1, { onParentFailure: 'wait' });
      const cancel = await enqueueChild(context, [parent], 2, { onParentFailure: 'cancel' });
      const run = await enqueueChild(context, [parent], 3, { onParentFailure: 'run' });
      const job = await claimOne(worker);
      assert.equal(idOf(job), idOf(run));
      await worker.done([job]);
      await becomes(store, cancel, 'cancelled');
      assert.equal(await statusOf(store, wait), 'blocked');
    }
  },

  'a child may be of another queue, tenant and process': async (context) => {
    const [one, two] = await twoStores(context);
    const { queue, tenant } = context;
    const [parent] = await enqueuePlain(one, newJobs(context, 1));
    const place = { ...context, store: two, queue: `${queue}-b`, tenant: `${tenant}-b` };
    const child = await enqueueChild(place, [parent as JobRef], 1);
    const other = await startWorker(two, `${queue}-b`);
    await assertBlocked(two, other, child);
    const worker = await startWorker(one, queue);
    await worker.done([await claimOne(worker)]);
    assert.equal(idOf(await claimOne(other)), idOf(child));
  },

  'a parent that loses its worker runs again, and only then its child': async (context) => {
    const { store, queue } = context;
    const [parent] = await enqueuePlain(store, newJobs(context, 1));
    const child = await enqueueChild(context, [parent as JobRef], 1);
    const mortal = await startMortal(store, queue);
    await mortal.claim(1);
    assert.equal((await recoverFrom(store, mortal)).jobs.length, 1);
    const worker = await startWorker(store, queue);
    const again = await claimOne(worker);
    assert.equal(idOf(again), idOf(parent as JobRef));
    await assertBlocked(store, worker, child);
    await worker.done([again]);
    assert.equal(idOf(await claimOne(worker)), idOf(child));
  },

  'a child that is cancelled does not come when its parents are done': async (context) => {
    const { store } = context;
    const { worker, parent, child } = await runningParent(context, 'run');
    assert.equal((await store.change('cancel', [ref(child)])).length, 1);
    await worker.done([parent]);
    assert.deepEqual(await worker.claim(10), []);
    assert.equal(await statusOf(store, child), 'cancelled');
  },

  'a race between enqueueing children and ending parents loses no child': async (context) => {
    const { queue, t } = context;
    const random = seededRandom(t);
    const [one, two] = await twoStores(context);
    const worker = await startWorker(one, queue);
    for (let round = 0; round < 15; round += 1) {
      await enqueuePlain(one, newJobs(context, 3, { key: `k${round % 3}` }));
      const parents = await worker.claim(3);
      assert.equal(parents.length, 3);
      const dead = parents.filter(() => random.chance(0.2));
      const done = parents.filter((job) => !dead.includes(job));
      const [a, b] = await Promise.all([
        enqueueChild({ ...context, store: two }, parents, 1, { onParentFailure: 'run' }),
        enqueueChild({ ...context, store: two }, done, 2),
        worker.settle({
          done: done.map((job) => doneWith(job)),
          failed: dead.map((job) => failedWith(job, { status: 'dead' })),
        }),
      ]);
      const ran = [await claimOne(worker), await claimOne(worker)];
      assert.deepEqual(byId(ran), byId([a, b]), `round ${round}`);
      await worker.done(ran);
      assert.deepEqual(await worker.claim(10), [], 'each child once');
    }
  },

  'a long chain runs link by link over two workers': async (context) => {
    const { queue } = context;
    const stores = await twoStores(context);
    const workers = await Promise.all(stores.map((store) => startWorker(store, queue)));
    const chain: JobRef[] = [await enqueueRow(context, {}, 0)];
    for (const n of upTo(14, 1)) chain.push(await enqueueChild(context, chain.slice(-1), n));
    for (const n of upTo(15)) {
      const worker = workers[n % 2] as TestWorker;
      const job = await claimOne(worker);
      assert.deepEqual(numbersOf([job]), [n]);
      await worker.done([job]);
    }
    const { history } = context.store.capabilities;
    if (history) assert.ok((await statusesOf(stores[0], chain)).every((s) => s === 'completed'));
  },
};

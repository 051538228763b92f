/** Cases for lanes: what they are named by, who goes first, and who is not left waiting. */
import assert from 'node:assert/strict';
import {
  claimOne,
  configure,
  countsOf,
  doneWith,
  drain,
  enqueuePlain,
  enqueueRow,
  enqueueRows,
  idsOf,
  type JobCases,
  newJobs,
  numbersOf,
  ref,
  startWorker,
  statusesOf,
  twoStores,
  upTo,
} from './jobs.fixtures.conformance.ts';
import type { ClaimedJob } from './jobs.ts';

export const laneCases: JobCases = {
  'a lane is the same for ever, and made once by whoever comes first': async (context) => {
    const stores = await twoStores(context);
    const { queue, tenant } = context;
    const names = [
      {},
      { key: 'k' },
      { priority: 1 },
      { tenantId: `${tenant}-b` },
      { queue: `${queue}-b` },
      { tenantId: `${tenant}:`, key: 'b' },
      { tenantId: tenant, key: ':b' },
    ];
    const lanes = await Promise.all(
      names.map(async (name) => {
        const tries = upTo(4).map((i) =>
          enqueuePlain(stores[i % 2] as never, newJobs(context, 1, name)),
        );
        const refs = (await Promise.all(tries)).flat();
        assert.deepEqual(refs.map(({ offset }) => offset).sort(), upTo(4, 1), JSON.stringify(name));
        assert.equal(new Set(refs.map(({ lane }) => lane)).size, 1, JSON.stringify(name));
        return refs[0]?.lane;
      }),
    );
    assert.equal(new Set(lanes).size, names.length, 'lanes differ when anything differs');
  },

  'the smaller priority runs first, state row or not': async (context) => {
    const { store, queue } = context;
    const plain = [5, -3, 0, 2_000_000_000];
    for (const priority of plain) {
      await enqueuePlain(store, newJobs(context, 2, { priority, from: priority }));
    }
    const rows = [-2_000_000_000, 3, 0, 6];
    for (const priority of rows) {
      await enqueueRows(store, newJobs(context, 2, { priority, from: priority }));
    }
    const wanted = [...plain, ...rows].flatMap((p) => [p, p]).sort((a, b) => a - b);
    const worker = await startWorker(store, queue);
    const claimed = [
      ...(await worker.claim(1)),
      ...(await worker.claim(1)),
      ...(await worker.claim(5)),
      ...(await worker.claim(100)),
    ];
    assert.deepEqual(
      claimed.map(({ priority }) => priority),
      wanted,
    );
  },

  'an urgent job overtakes what waits already': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 50, { priority: 5 }));
    const worker = await startWorker(store, queue);
    await worker.claim(10);
    await enqueuePlain(store, newJobs(context, 1, { priority: 1, from: 100 }));
    await enqueueRow(context, { priority: 2 }, 200);
    assert.deepEqual(numbersOf(await worker.claim(3)), [100, 200, 10]);
  },

  'jobs with a state row and one priority run in the order of their enqueue': async (context) => {
    const { store, queue } = context;
    for (const n of upTo(5)) await enqueueRow(context, {}, n);
    await enqueueRows(store, newJobs(context, 3, { from: 5 }));
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue), 3)), upTo(8));
  },

  'lanes of one priority take turns while claims are small': async (context) => {
    const { store, queue } = context;
    const keys = ['a', 'b', 'c'];
    for (const key of keys) await enqueuePlain(store, newJobs(context, 40, { key }));
    const worker = await startWorker(store, queue);
    const turns = new Map<string, number>();
    for (let n = 0; n < 24; n += 1) {
      const [job] = await worker.claim(1);
      assert.ok(job);
      turns.set(job.key, (turns.get(job.key) ?? 0) + 1);
    }
    for (const key of keys) {
      const count = turns.get(key) ?? 0;
      assert.ok(count >= 6 && count <= 10, `${key} had ${count} of 24 turns`);
    }
  },

  'a tenant with few jobs does not wait for one with many': async (context) => {
    const { store, queue, tenant } = context;
    await enqueuePlain(store, newJobs(context, 2_000));
    const workers = await Promise.all(
      (await twoStores(context)).map((one) => startWorker(one, queue)),
    );
    await workers[0]?.claim(10);
    await enqueuePlain(store, newJobs(context, 5, { tenantId: `${tenant}-small`, from: 5_000 }));
    let claims = 0;
    for (let small = 0; small < 5; claims += 1) {
      assert.ok(claims < 20, `after ${claims} claims ${small} of the 5 jobs had come`);
      const claimed = await workers[claims % 2]?.claim(10);
      small += claimed?.filter(({ tenantId }) => tenantId !== tenant).length ?? 0;
    }
  },

  'lanes with jobs are listed, the most urgent first, and no others': async (context) => {
    const { store, queue, another } = context;
    assert.deepEqual(await store.readyLanes(queue), []);
    const lanes: number[] = [];
    for (const priority of [2, 0, 1]) {
      const [at] = await enqueuePlain(store, newJobs(context, 2, { priority }));
      lanes[priority] = at?.lane as number;
    }
    await enqueuePlain(store, newJobs({ ...context, queue: `${queue}-b` }, 1));
    assert.deepEqual(await store.readyLanes(queue), lanes);
    assert.deepEqual(await (await another()).readyLanes(queue), lanes);
    const worker = await startWorker(store, queue);
    const claimed = await worker.claim(3);
    assert.deepEqual(await store.readyLanes(queue), lanes.slice(1));
    await worker.claim(3);
    await worker.done(claimed);
    assert.deepEqual(await store.readyLanes(queue), []);
  },

  'a claim says which lanes have jobs left': async (context) => {
    const { store, queue } = context;
    const [at] = await enqueuePlain(store, newJobs(context, 5));
    const lane = at?.lane as number;
    const worker = await startWorker(store, queue);
    assert.deepEqual((await worker.exchange(2, { lanes: [lane] })).lanesLeft, [lane]);
    assert.deepEqual((await worker.exchange(10, { lanes: [lane] })).lanesLeft, []);
    assert.deepEqual((await worker.exchange(10, { lanes: [lane] })).lanesLeft, []);
  },

  'what a claim of state rows leaves behind is announced': async (context) => {
    const { store, queue } = context;
    await enqueueRows(store, newJobs(context, 3));
    const worker = await startWorker(store, queue);
    const { claimed, nextDueMs, lanesLeft } = await worker.exchange(1);
    assert.equal(claimed.length, 1);
    assert.ok(nextDueMs === 0 || lanesLeft.length > 0, 'there is more');
    const rest = await worker.exchange(10);
    assert.equal(rest.claimed.length, 2);
    assert.equal(rest.nextDueMs, null);
  },

  'a lane that is named by mistake, or of another queue, gives nothing': async (context) => {
    const { store, queue } = context;
    const [foreign] = await enqueuePlain(store, newJobs({ ...context, queue: `${queue}-b` }, 3));
    const worker = await startWorker(store, queue);
    const lanes = [foreign?.lane as number, 2_000_000_000];
    assert.deepEqual(await worker.claim(10, { lanes }), []);
    assert.deepEqual(await countsOf(store, `${queue}-b`), { waiting: 3 });
  },

  'released jobs come first, in their order, without a try counted': async (context) => {
    const { store, queue, another } = context;
    await enqueuePlain(store, newJobs(context, 8));
    const worker = await startWorker(store, queue);
    const claimed = await worker.claim(6);
    const back = [claimed[5], claimed[2], claimed[3], claimed[4]] as ClaimedJob[];
    await worker.settle({
      done: claimed.slice(0, 2).map((job) => doneWith(job)),
      released: back.map(ref),
    });
    assert.deepEqual(await statusesOf(store, back), Array(4).fill('waiting'));
    const other = await startWorker(await another(), queue);
    const again = [...(await other.claim(3)), ...(await other.claim(100))];
    assert.deepEqual(numbersOf(again), upTo(6, 2));
    for (const { failures, crashes } of again) assert.deepEqual([failures, crashes], [0, 0]);
    await other.done(again);
    assert.deepEqual(await worker.claim(10), []);
  },

  'a job can be released again and again': async (context) => {
    const { store, queue } = context;
    const [plain] = await enqueuePlain(store, newJobs(context, 1));
    const row = await enqueueRow(context, { priority: 1 });
    const worker = await startWorker(store, queue);
    for (let round = 0; round < 4; round += 1) {
      const claimed = await worker.claim(10);
      assert.deepEqual(idsOf(claimed), idsOf([plain as never, row]), `round ${round}`);
      await worker.settle({ released: claimed.map(ref) });
    }
    assert.equal((await drain(worker)).length, 2);
  },

  'jobs released by many are claimed by others once': async (context) => {
    const { store, queue } = context;
    const refs = await enqueuePlain(store, newJobs(context, 40));
    const workers = await Promise.all(
      (await twoStores(context)).map((one) => startWorker(one, queue)),
    );
    for (const worker of workers) {
      const claimed = await worker.claim(15);
      await worker.settle({ released: claimed.filter((_, i) => i % 2 === 0).map(ref) });
      await worker.done(claimed.filter((_, i) => i % 2 === 1));
    }
    const seen = await Promise.all(workers.map((worker) => drain(worker, 4)));
    const all = idsOf(seen.flat());
    assert.equal(new Set(all).size, all.length);
    assert.equal(all.length, 40 - 14);
    const { completed, ...others } = await countsOf(store, queue);
    assert.deepEqual(others, {});
    if (store.capabilities.history) assert.equal(completed, refs.length);
  },

  'lanes take turns in a queue that gets every second claim of its worker': async (context) => {
    const { store, queue } = context;
    const keys = ['a', 'b', 'c', 'd'];
    for (const key of keys) await enqueuePlain(store, newJobs(context, 20, { key }));
    const worker = await startWorker(store, queue);
    const seen: string[] = [];
    for (let claimNo = 2; claimNo <= 16; claimNo += 2) {
      const claimed = await worker.claim(1, { claimNo });
      await worker.done(claimed);
      seen.push(...claimed.map(({ key }) => key));
    }
    const turns = keys.map((key) => seen.filter((one) => one === key).length);
    assert.deepEqual(turns, [2, 2, 2, 2], `${seen}: the others are claims of other queues`);
  },

  'of very many lanes none is forgotten that a claim did not look at': async (context) => {
    const { store, queue } = context;
    const jobs = upTo(600).flatMap((n) => newJobs(context, 1, { key: `k${n}`, from: n }));
    await enqueuePlain(store, jobs);
    const worker = await startWorker(store, queue);
    let lanes = await store.readyLanes(queue);
    assert.equal(lanes.length, 600);
    const seen: number[] = [];
    while (lanes.length > 0) {
      const { claimed, lanesLeft } = await worker.exchange(100, { lanes });
      seen.push(...numbersOf(claimed));
      await worker.done(claimed);
      lanes = lanesLeft;
    }
    assert.equal(new Set(seen).size, 600);
  },

  'a paused queue takes jobs, settles them, and gives none': async (context) => {
    const { store, queue, another } = context;
    await enqueuePlain(store, newJobs(context, 3));
    await enqueueRow(context, {}, 3);
    const worker = await startWorker(store, queue);
    const held = await worker.claim(1);
    await configure(context, { paused: true });
    const paused = await worker.exchange(10);
    assert.deepEqual([paused.paused, paused.claimed], [true, []]);
    assert.equal((await store.queues()).find((one) => one.queue === queue)?.paused, true);
    await worker.done(held);
    await enqueuePlain(await another(), newJobs(context, 1, { from: 10 }));
    assert.deepEqual(await worker.claim(10), []);
    await configure(context, { paused: false });
    const { paused: still, claimed } = await worker.exchange(10);
    assert.equal(still, false);
    assert.deepEqual(numbersOf([...held, ...claimed]).sort(), [0, 1, 10, 2, 3]);
  },

  'settings are changed one by one, and seen by everybody': async (context) => {
    const { store, queue, another } = context;
    const limits = { concurrency: 5, rate: { max: 10, perMs: 1_000 } };
    await configure(context, {});
    await configure(context, { limits, keyLimits: { concurrency: 1 }, lengthMax: 100 });
    await configure(context, { paused: true });
    await configure(context, { keyLimits: null });
    await configure(context, {});
    const known = await (await another()).queues();
    const state = known.find((one) => one.queue === queue);
    assert.deepEqual(state?.limits, limits);
    assert.deepEqual(
      [state?.paused, state?.lengthMax, state?.keyLimits ?? null],
      [true, 100, null],
    );
    assert.equal((await store.queries.counts()).has(queue), true, 'a known queue is counted');
  },

  'two processes claim one job by one': async (context) => {
    const { queue } = context;
    const stores = await twoStores(context);
    const workers = await Promise.all(stores.map((store) => startWorker(store, queue)));
    for (let n = 0; n < 20; n += 1) {
      const [at] = await enqueuePlain(stores[n % 2] as never, newJobs(context, 1, { from: n }));
      const lanes = [at?.lane as number];
      const tries = workers.map((worker) => worker.claim(1, { lanes }));
      const claimed = (await Promise.all(tries)).flat();
      if (claimed.length === 0) claimed.push(await claimOne(workers[0] as never));
      assert.deepEqual(numbersOf(claimed), [n], 'one of the two has it');
    }
  },
};

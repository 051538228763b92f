/** Cases for unique keys: what each of the five modes does, and that races change nothing in it. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NewJob, UniqueMode } from '../core/job.ts';
import {
  byId,
  claimOne,
  code,
  configure,
  countsOf,
  drain,
  enqueueRow,
  enqueueRows,
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
  statusOf,
  twoStores,
  upTo,
} from './jobs.fixtures.conformance.ts';
import type { ClaimedJob, EnqueueResult } from './jobs.ts';

const duplicate = code('JOB_DUPLICATE');
const windowMs = 250;

const once = (mode: UniqueMode, key = 'only one'): Pick<NewJob, 'unique'> => ({
  unique: { key, mode, windowMs: mode === 'throttle' || mode === 'debounce' ? windowMs : 0 },
});

/** Enqueues with a unique key of the case; `n` is the payload. */
function enqueuer(context: JobCaseContext, mode: UniqueMode) {
  return (n: number, rest: Partial<NewJob> = {}) =>
    enqueueRow(context, { ...once(mode), ...rest }, n);
}

/** Many enqueues of one key at once, from two stores; refusals are null. */
async function race(context: JobCaseContext, mode: UniqueMode, key: string, rest = {}) {
  const stores = await twoStores(context);
  const tries = upTo(8).map(async (n) => {
    const jobs = newJobs(context, 1, { from: n, ...once(mode, key), ...rest });
    return enqueueRows(stores[n % 2] as never, jobs).then(
      ([one]) => one as EnqueueResult,
      (error) => {
        assert.ok(duplicate(error), String(error));
        return null;
      },
    );
  });
  return Promise.all(tries);
}

export const uniqueCases: JobCases = {
  'reject: refused while one is unfinished, whatever its state': async (context) => {
    const { store, queue } = context;
    const enqueue = enqueuer(context, 'reject');
    await enqueue(0, { delayMs: 60_000 });
    await assert.rejects(enqueue(1), duplicate, 'while it is delayed');
    const [first] = (await store.queries.list({ queue }, { limit: 10, after: null })).jobs;
    assert.ok(first);
    await store.change('run', [ref(first)]);
    await assert.rejects(enqueue(1), duplicate, 'while it waits');
    const worker = await startWorker(store, queue);
    await worker.fail(await claimOne(worker), { delayMs: 60_000 });
    await assert.rejects(enqueue(1), duplicate, 'while it is to be retried');
    await store.change('run', [ref(first)]);
    const running = await claimOne(worker);
    await assert.rejects(enqueue(1), duplicate, 'while it runs');
    await worker.settle({ released: [ref(running)] });
    await assert.rejects(enqueue(1), duplicate, 'when it was released');
    assert.deepEqual(await countsOf(store, queue), { waiting: 1 });
    const last = await claimOne(worker); // what was refused may hold its locks for a moment longer
    assert.deepEqual(numbersOf([last]), [0]);
    await worker.done([last]);
    assert.deepEqual(await worker.claim(10), []);
  },

  'reject: once one is completed, dead or cancelled the next is taken': async (context) => {
    const { store, queue } = context;
    const enqueue = enqueuer(context, 'reject');
    const worker = await startWorker(store, queue);
    await enqueue(0);
    await drain(worker);
    await enqueue(1);
    await worker.fail(await claimOne(worker), { status: 'dead' });
    const { duplicate: known, ...at } = await enqueue(2);
    assert.equal(known, false);
    assert.equal((await store.change('cancel', [at])).length, 1);
    await enqueue(3);
    assert.deepEqual(numbersOf(await drain(worker)), [3]);
  },

  'reject: nothing of a batch with a duplicate is stored': async (context) => {
    const { store, queue } = context;
    await enqueuer(context, 'reject')(0);
    const batch = [
      ...newJobs(context, 2, { from: 1 }),
      ...newJobs(context, 1, { from: 3, ...once('reject') }),
      ...newJobs(context, 1, { from: 4, ...once('reject', 'another') }),
    ];
    await assert.rejects(enqueueRows(store, batch), duplicate);
    const twice = newJobs(context, 2, { from: 5, ...once('reject', 'another') });
    await assert.rejects(enqueueRows(store, twice), duplicate, 'two of one key');
    assert.deepEqual(await countsOf(store, queue), { waiting: 1 });
    await enqueueRows(
      store,
      batch.filter((_, i) => i !== 2),
    );
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [0, 1, 2, 4]);
  },

  'reject: an enqueue that was accepted answers so when it is sent again': async (context) => {
    const { store, queue } = context;
    const jobs = newJobs(context, 1, once('reject'));
    const enqueueId = crypto.randomUUID();
    const [first] = await store.enqueue(jobs, { enqueueId, again: false });
    const [again] = await store.enqueue(jobs, { enqueueId, again: true });
    assert.deepEqual(again && { ...again }, first && { ...first });
    assert.deepEqual(await countsOf(store, queue), { waiting: 1 });
  },

  'keep: the unfinished one stands and is answered': async (context) => {
    const { store, queue } = context;
    const enqueue = enqueuer(context, 'keep');
    const first = await enqueue(0);
    assert.equal(first.duplicate, false);
    const worker = await startWorker(store, queue);
    for (const n of [1, 2]) {
      const other = await enqueue(n, { priority: 9 });
      assert.deepEqual([idOf(other), other.duplicate], [idOf(first), true]);
      const found = await findJob(store, first);
      assert.deepEqual([numbersOf([found]), found.priority], [[0], 0]);
      if (n === 1) assert.equal((await worker.claim(1)).length, 1); // the next comes as it runs
    }
    await store.change('cancel', [ref(first)]);
    const next = await enqueue(3);
    assert.equal(next.duplicate, false);
    assert.notEqual(idOf(next), idOf(first));
  },

  'keep: the same key twice in a batch is one job': async (context) => {
    const { store, queue } = context;
    const jobs = [...newJobs(context, 2, once('keep')), ...newJobs(context, 1, { from: 2 })];
    const [one, two, three] = await enqueueRows(store, jobs);
    assert.deepEqual([one?.duplicate, two?.duplicate, three?.duplicate], [false, true, false]);
    assert.equal(idOf(two as EnqueueResult), idOf(one as EnqueueResult));
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [0, 2]);
  },

  'replace: what waits gets the new payload': async (context) => {
    const { store, queue } = context;
    const enqueue = enqueuer(context, 'replace');
    const first = await enqueue(0);
    const second = await enqueue(1);
    assert.deepEqual([idOf(second), second.duplicate], [idOf(first), true]);
    assert.deepEqual(numbersOf([await findJob(store, first)]), [1]);
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [1]);
    const later = await enqueue(2, { delayMs: 60_000 });
    assert.notEqual(idOf(later), idOf(first));
    assert.equal(idOf(await enqueue(3, { delayMs: 60_000 })), idOf(later), 'a delayed one as well');
    assert.deepEqual(numbersOf([await findJob(store, later)]), [3]);
  },

  'replace: beside a running one a new one is stored, and replaced': async (context) => {
    const { store, queue } = context;
    const enqueue = enqueuer(context, 'replace');
    const first = await enqueue(0);
    const worker = await startWorker(store, queue);
    const running = await claimOne(worker);
    const second = await enqueue(1);
    assert.equal(second.duplicate, false);
    assert.notEqual(idOf(second), idOf(first));
    const third = await enqueue(2);
    assert.deepEqual([idOf(third), third.duplicate], [idOf(second), true]);
    assert.deepEqual(numbersOf([await findJob(store, first)]), [0], 'the running one is untouched');
    await worker.done([running]);
    assert.deepEqual(numbersOf(await drain(worker)), [2]);
  },

  'throttle: one per window from its enqueue, finished or not': async (context) => {
    const { store, queue } = context;
    const enqueue = enqueuer(context, 'throttle');
    const startedAt = performance.now();
    const first = await enqueue(0);
    const worker = await startWorker(store, queue);
    const second = await enqueue(1);
    await drain(worker);
    const third = await enqueue(2);
    if (performance.now() - startedAt < windowMs - 20) {
      assert.deepEqual([idOf(second), second.duplicate], [idOf(first), true], 'while it waits');
      assert.deepEqual([idOf(third), third.duplicate], [idOf(first), true], 'when it is done');
    }
    await sleep(windowMs + 50);
    const next = await enqueue(3);
    assert.equal(next.duplicate, false);
    assert.notEqual(idOf(next), idOf(first));
    assert.deepEqual(numbersOf(await drain(worker)).at(-1), 3);
  },

  'throttle: a job that waits longer than the window does not stop the next': async (context) => {
    const { store, queue } = context;
    const enqueue = enqueuer(context, 'throttle');
    await enqueue(0);
    await sleep(windowMs + 50);
    assert.equal((await enqueue(1)).duplicate, false);
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [0, 1]);
  },

  'debounce: the last payload runs when the window ends quietly': async (context) => {
    const { store, queue } = context;
    const enqueue = enqueuer(context, 'debounce');
    const worker = await startWorker(store, queue);
    const first = await enqueue(0);
    let gapMax = 0;
    let lastAt = performance.now();
    const refs: EnqueueResult[] = [];
    for (let n = 1; n <= 4; n += 1) {
      await sleep(windowMs / 3);
      refs.push(await enqueue(n));
      gapMax = Math.max(gapMax, performance.now() - lastAt);
      lastAt = performance.now();
      if (gapMax < windowMs) assert.deepEqual(await worker.claim(10), [], 'the window is open');
    }
    if (gapMax > windowMs - 20) return context.t.skip('this machine is too slow for the window');
    for (const one of refs) assert.deepEqual([idOf(one), one.duplicate], [idOf(first), true]);
    const job = await claimOne(worker);
    assert.ok(performance.now() - lastAt > windowMs - 50, 'it waited for the end of the window');
    assert.deepEqual([idOf(job), numbersOf([job])], [idOf(first), [4]]);
    const next = await enqueue(9);
    assert.notEqual(idOf(next), idOf(first), 'a running one is not postponed');
    assert.equal(next.duplicate, false);
    await worker.done([job]);
    assert.deepEqual(numbersOf([await claimOne(worker)]), [9]);
  },

  'a key is of its queue and tenant': async (context) => {
    const { store, queue, tenant } = context;
    const places = [
      context,
      { queue: `${queue}-b`, tenant },
      { queue, tenant: `${tenant}-b` },
      { queue: `${queue}-b`, tenant: `${tenant}-b` },
    ];
    for (const place of places) {
      await enqueueRows(store, newJobs(place, 1, once('reject')));
      await assert.rejects(enqueueRows(store, newJobs(place, 1, once('reject'))), duplicate);
      // Another name, priority or fairness key is still the same unique key.
      const rest = { ...once('reject'), name: 'conformance.other', priority: 3, key: 'k' };
      await assert.rejects(enqueueRows(store, newJobs(place, 1, rest)), duplicate);
    }
    for (const key of ['ONLY ONE', 'only one ', '\u00e9', 'e\u0301', '\'"\\{}:%']) {
      await enqueueRows(store, newJobs(context, 1, once('reject', key)));
    }
  },

  'the key is shown with its job': async (context) => {
    const { store } = context;
    const at = await enqueuer(context, 'keep')(0);
    assert.equal((await findJob(store, at)).uniqueKey, 'only one');
    assert.equal((await findJob(store, await enqueueRow(context))).uniqueKey, null);
  },

  'of many enqueues at once from two processes, one job comes': async (context) => {
    const { store, queue } = context;
    const worker = await startWorker(store, queue);
    for (let round = 0; round < 4; round += 1) {
      for (const mode of ['reject', 'keep', 'replace', 'throttle'] as const) {
        const answers = await race(context, mode, `${mode} ${round}`);
        const stored = answers.filter((one) => one !== null);
        const made = stored.filter((one) => !one.duplicate);
        assert.equal(made.length, 1, `${mode}: ${made.length} were made`);
        assert.equal(stored.length, mode === 'reject' ? 1 : 8, mode);
        assert.equal(new Set(idsOf(stored)).size, 1, `${mode}: all are led to the one`);
        assert.deepEqual(byId(await drain(worker)), byId(made), mode);
      }
    }
  },

  'of many debounced at once one job comes, with one of the payloads': async (context) => {
    const { store, queue } = context;
    const answers = await race(context, 'debounce', 'at once');
    assert.equal(new Set(idsOf(answers as EnqueueResult[])).size, 1);
    assert.equal(answers.filter((one) => one?.duplicate === false).length, 1);
    const worker = await startWorker(store, queue);
    const job = await claimOne(worker);
    assert.ok((numbersOf([job])[0] ?? -1) >= 0);
    await worker.done([job]);
    await sleep(windowMs + 50);
    assert.deepEqual(await worker.claim(10), []);
  },

  'a race between an enqueue that replaces and a claim loses no payload': async (context) => {
    const { store, queue, another } = context;
    const other = await another();
    const worker = await startWorker(store, queue);
    const made = [await enqueuer(context, 'replace')(0)];
    const ran: ClaimedJob[] = [];
    for (let n = 1; n <= 25; n += 1) {
      const jobs = newJobs(context, 1, { from: n, ...once('replace') });
      const [[at], held] = await Promise.all([enqueueRows(other, jobs), worker.claim(1)]);
      if (at?.duplicate === false) made.push(at);
      ran.push(...held);
      await worker.done(held);
    }
    ran.push(...(await drain(worker)));
    assert.deepEqual(idsOf(ran), idsOf(made), 'each that was stored ran once');
    assert.equal(numbersOf(ran).at(-1), 25, 'the newest payload ran last');
    const payloads = numbersOf(ran);
    assert.deepEqual(
      payloads,
      payloads.toSorted((a, b) => a - b),
      'and no older one after it',
    );
  },

  'a key stays taken while its job is recovered from a dead worker': async (context) => {
    const { store, queue } = context;
    const enqueue = enqueuer(context, 'reject');
    const at = await enqueue(0);
    const mortal = await startMortal(store, queue);
    await mortal.claim(1);
    await recoverFrom(store, mortal);
    assert.equal(await statusOf(store, at), 'waiting');
    await assert.rejects(enqueue(1), duplicate);
    await drain(await startWorker(store, queue));
    await enqueue(2);
  },

  'a unique job of a paused queue is replaced as well': async (context) => {
    const { store, queue } = context;
    await configure(context, { paused: true });
    const enqueue = enqueuer(context, 'replace');
    const first = await enqueue(0);
    assert.equal(idOf(await enqueue(1)), idOf(first));
    await configure(context, { paused: false });
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [1]);
  },
};

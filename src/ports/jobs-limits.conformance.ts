/** Cases for limits: how many at a time and in a while, by queue and key, and how many wait. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../test/support/eventually.ts';
import { type Random, seededRandom } from '../../test/support/random.ts';
import {
  claimOne,
  code,
  configure,
  countsOf,
  doneWith,
  drain,
  enqueuePlain,
  enqueueRow,
  enqueueRows,
  failedWith,
  idsOf,
  type JobCaseContext,
  type JobCases,
  newExchange,
  newJobs,
  numbersOf,
  recoverFrom,
  ref,
  settlementOf,
  startMortal,
  startWorker,
  statusOf,
  type TestWorker,
  twoStores,
  upTo,
} from './jobs.fixtures.conformance.ts';
import type { ClaimedJob, JobRef } from './jobs.ts';

const full = code('BACKPRESSURE');

/** Jobs of the queue in three keys and two priorities, plain and with state rows. */
async function fillQueue(context: JobCaseContext, count: number, random: Random) {
  const { store } = context;
  const some = () => newJobs(context, 1, { key: `k${random.below(3)}`, priority: random.below(2) });
  await enqueuePlain(store, upTo(Math.ceil(count / 2)).flatMap(some));
  await enqueueRows(store, upTo(Math.floor(count / 2)).flatMap(some));
}

/** Counts what runs, by what the limit is about, and remembers the most. */
class Gauge {
  readonly running = new Map<string, number>();
  readonly most = new Map<string, number>();
  readonly #scopeOf: (job: ClaimedJob) => string;

  constructor(scopeOf: (job: ClaimedJob) => string) {
    this.#scopeOf = scopeOf;
  }

  add(jobs: readonly ClaimedJob[], by: number): void {
    for (const job of jobs) {
      const scope = this.#scopeOf(job);
      const now = (this.running.get(scope) ?? 0) + by;
      this.running.set(scope, now);
      this.most.set(scope, Math.max(now, this.most.get(scope) ?? 0));
    }
  }
}

/** Claims and settles at random until everything is completed; the gauge sees what runs. */
async function workUnderLimit(
  worker: TestWorker,
  random: Random,
  gauge: Gauge,
  over: (completed: number) => boolean,
): Promise<void> {
  let held: readonly ClaimedJob[] = [];
  for (;;) {
    const ended = held.filter(() => random.chance(0.7));
    const kinds = ended.map((job) => ({ job, dice: random.next() }));
    const done = kinds.filter(({ dice }) => dice < 0.7).map(({ job }) => job);
    const failed = kinds.filter(({ dice }) => dice >= 0.7 && dice < 0.85).map(({ job }) => job);
    const released = kinds.filter(({ dice }) => dice >= 0.85).map(({ job }) => job);
    gauge.add(ended, -1); // before the store knows: what is counted here never runs too long
    const { claimed } = await worker.exchange(1 + random.below(6), {
      settle: {
        done: done.map((job) => doneWith(job)),
        failed: failed.map((job) => failedWith(job)),
        released: released.map(ref),
      },
    });
    gauge.add(claimed, 1);
    held = [...held.filter((job) => !ended.includes(job)), ...claimed];
    if (over(done.length)) break;
    if (random.chance(0.2)) await sleep(random.below(3));
  }
  gauge.add(held, -1);
  await worker.done(held);
}

async function loadTwoStores(context: JobCaseContext, count: number, gauge: Gauge) {
  const random = seededRandom(context.t);
  await fillQueue(context, count, random);
  const stores = await twoStores(context);
  const workers = await Promise.all(
    [...stores, ...stores].map((store) => startWorker(store, context.queue)),
  );
  let completed = 0;
  const deadline = performance.now() + 20_000;
  const over = (more: number) => {
    completed += more;
    assert.ok(performance.now() < deadline, `${completed} of ${count} in 20 s: it is stuck`);
    // The last ones may be held by a worker that has gone home with them.
    return completed > count - 30;
  };
  await Promise.all(workers.map((worker) => workUnderLimit(worker, random, gauge, over)));
  const last = await startWorker(stores[0], context.queue);
  await eventually('the rest is done', async () => {
    await drain(last);
    const { waiting = 0, retrying = 0 } = await countsOf(stores[0], context.queue);
    return waiting + retrying === 0;
  });
}

/** What can become of a job that runs; none of them leaves it waiting. */
function endings({ store }: JobCaseContext) {
  const cancel = (job: ClaimedJob) => store.change('cancel', [ref(job)]);
  const ends: Record<string, (worker: TestWorker, job: ClaimedJob) => Promise<unknown>> = {
    done: (worker, job) => worker.done([job]),
    retried: (worker, job) => worker.fail(job, { delayMs: 60_000 }),
    dead: (worker, job) => worker.fail(job, { status: 'dead' }),
    snoozed: (worker, job) => worker.fail(job, { delayMs: 60_000, counts: false }),
    'cancelled by its handler': (worker, job) => worker.fail(job, { status: 'cancelled' }),
    released: async (worker, job) => {
      await worker.settle({ released: [ref(job)] });
      await cancel(job);
    },
    'cancelled, then done': async (worker, job) => {
      await cancel(job);
      await worker.done([job]);
    },
    'cancelled, then failed': async (worker, job) => {
      await cancel(job);
      await worker.fail(job);
    },
    'cancelled, then retired': async (worker, job) => {
      await cancel(job);
      await store.retire(worker.epoch);
    },
    retired: async (worker, job) => {
      await store.retire(worker.epoch);
      await cancel(job);
    },
    recovered: async (worker, job) => {
      await recoverFrom(store, worker);
      await cancel(job);
    },
  };
  return ends;
}

export const limitCases: JobCases = {
  'no more run at a time than the limit of the queue': async (context) => {
    await configure(context, { limits: { concurrency: 5 } });
    const gauge = new Gauge(() => 'all');
    await loadTwoStores(context, 160, gauge);
    const most = gauge.most.get('all') ?? 0;
    assert.ok(most >= 3 && most <= 5, `${most} ran at a time`);
  },

  'no more of a key run at a time than its limit, over all processes': async (context) => {
    await configure(context, { keyLimits: { concurrency: 2 } });
    const gauge = new Gauge(({ key }) => key);
    await loadTwoStores(context, 160, gauge);
    for (const [key, most] of gauge.most) assert.ok(most <= 2, `${most} of ${key} at a time`);
    assert.ok(Math.max(...gauge.most.values()) === 2, 'and not less either');
  },

  'a claim gets what the limit leaves, and hears when to look again': async (context) => {
    const { store, queue, another } = context;
    await configure(context, { limits: { concurrency: 3 } });
    await enqueuePlain(store, newJobs(context, 6));
    const worker = await startWorker(store, queue);
    const other = await startWorker(await another(), queue);
    const first = await worker.claim(2);
    const second = await other.exchange(5);
    assert.equal(second.claimed.length, 1);
    const none = await other.exchange(5);
    assert.deepEqual([none.claimed, none.limitedMs], [[], 0], 'when one is settled');
    const settle = { done: first.map((job) => doneWith(job)) };
    const next = await worker.exchange(5, { settle });
    assert.deepEqual(numbersOf(next.claimed), [3, 4], 'settled and claimed in one exchange');
  },

  'a permit comes back whatever becomes of its job, and once': async (context) => {
    const { store, queue } = context;
    await configure(context, { limits: { concurrency: 2 }, keyLimits: { concurrency: 2 } });
    await enqueuePlain(store, newJobs(context, 1));
    await claimOne(await startWorker(store, queue)); // one of the two runs all the time
    for (const [how, end] of Object.entries(endings(context))) {
      for (const asRow of [false, true]) {
        const title = `${how}${asRow ? ', with a state row' : ''}`;
        if (asRow) await enqueueRows(store, newJobs(context, 3));
        else await enqueuePlain(store, newJobs(context, 3));
        const start = how === 'recovered' ? startMortal : startWorker;
        const worker = await start(store, queue);
        const [job, ...more] = await worker.claim(10);
        assert.ok(job && more.length === 0, `${title}: two at a time`);
        await end(worker, job);
        const other = await startWorker(store, queue);
        for (let n = 0; n < 2; n += 1) {
          const next = await other.claim(10);
          assert.equal(next.length, 1, `${title}: ${next.length} were free`);
          await other.done(next);
        }
        assert.deepEqual(await other.claim(10), []);
      }
    }
  },

  'a permit comes back once, however often the exchange is sent': async (context) => {
    const { store, queue } = context;
    await configure(context, { limits: { concurrency: 2 } });
    await enqueuePlain(store, newJobs(context, 6));
    const worker = await startWorker(store, queue);
    const [one] = (await worker.claim(2)) as [ClaimedJob];
    const claim = await worker.request(10);
    const settle = settlementOf({ done: [doneWith(one)] });
    const exchange = newExchange(queue, { epoch: worker.epoch, settle, claim });
    const first = await store.exchange(exchange);
    assert.equal(first.claimed.length, 1);
    for (let n = 0; n < 2; n += 1) {
      const { claimed } = await store.exchange({ ...exchange, again: true });
      assert.deepEqual(idsOf(claimed), idsOf(first.claimed));
    }
    assert.deepEqual(await worker.claim(10), [], 'two of two run');
  },

  'a key at its limit does not hold up the others': async (context) => {
    const { store, queue, tenant } = context;
    await configure(context, { keyLimits: { concurrency: 1 } });
    const places = [
      { key: 'a' },
      { key: 'b' },
      { key: 'b:c' },
      { tenantId: `${tenant}-b`, key: 'a' },
      { tenantId: `${tenant}:b`, key: 'c' },
      { key: '' },
    ];
    for (const place of places) {
      await enqueuePlain(store, newJobs(context, 20, place));
      await enqueueRows(store, newJobs(context, 2, { ...place, priority: 1 }));
    }
    const worker = await startWorker(store, queue);
    const claimed = [...(await worker.claim(100)), ...(await worker.claim(100))];
    const scopes = claimed.map(({ tenantId, key }) => JSON.stringify([tenantId, key]));
    assert.equal(new Set(scopes).size, scopes.length, 'each key once');
    assert.equal(scopes.length, places.length, 'and all of them');
  },

  'rows of a key at its limit do not hide those of another': async (context) => {
    const { store, queue } = context;
    await configure(context, { keyLimits: { concurrency: 1 } });
    await enqueueRows(store, newJobs(context, 300, { key: 'busy' }));
    await enqueueRow(context, { key: 'calm' }, 1000);
    const worker = await startWorker(store, queue);
    const seen = [...(await worker.claim(2)), ...(await worker.claim(2))];
    assert.deepEqual(seen.map(({ key }) => key).sort(), ['busy', 'calm']);
  },

  'no more start in a while than the rate allows': async (context) => {
    const { store, queue } = context;
    const rate = { max: 5, perMs: 250 };
    await configure(context, { limits: { rate } });
    await enqueuePlain(store, newJobs(context, 40));
    await enqueueRows(store, newJobs(context, 10, { from: 40 }));
    const workers = await Promise.all(
      (await twoStores(context)).map((one) => startWorker(one, queue)),
    );
    const startedAt = performance.now();
    let started = 0;
    let waits = 0;
    while (started < 22) {
      const asked = performance.now();
      const worker = workers[waits % 2] as TestWorker;
      const { claimed, limitedMs } = await worker.exchange(4);
      await worker.done(claimed);
      started += claimed.length;
      const elapsed = performance.now() - startedAt;
      const allowed = rate.max + (elapsed / rate.perMs) * rate.max;
      assert.ok(started <= allowed + 0.01, `${started} in ${elapsed} ms, ${allowed} are allowed`);
      if (claimed.length > 0) continue;
      waits += 1;
      assert.ok(limitedMs !== null && limitedMs > 0 && limitedMs <= rate.perMs, `${limitedMs}`);
      assert.ok(waits < 200, 'the time it names is too short');
      await sleep(Math.max(0, limitedMs - (performance.now() - asked)));
    }
    const elapsed = performance.now() - startedAt;
    assert.ok(elapsed < 5_000, `22 of them took ${elapsed} ms: the rate is not used`);
  },

  'a rate by key is of each key by itself': async (context) => {
    const { store, queue } = context;
    const rate = { max: 3, perMs: 60_000 };
    await configure(context, { keyLimits: { rate } });
    for (const key of ['a', 'b']) {
      await enqueuePlain(store, newJobs(context, 10, { key }));
      await enqueueRows(store, newJobs(context, 5, { key, priority: 1 }));
    }
    const worker = await startWorker(store, queue);
    const drained = await drain(worker, 4);
    const of = (key: string) => drained.filter((job) => job.key === key).length;
    assert.deepEqual([of('a'), of('b')], [3, 3], 'done or not, a start is a start');
    const { limitedMs } = await worker.exchange(10);
    assert.ok(limitedMs !== null && limitedMs > 0 && limitedMs <= 60_000, `${limitedMs}`);
    await enqueuePlain(store, newJobs(context, 1, { key: 'c', from: 99 }));
    assert.deepEqual(numbersOf(await worker.claim(10)), [99]);
  },

  'limits that are set again as they were give no new tokens': async (context) => {
    const { store, queue } = context;
    const rate = { max: 3, perMs: 3_600_000 };
    const limits = { limits: { rate }, keyLimits: { rate: { max: 2, perMs: 3_600_000 } } };
    await configure(context, limits);
    for (const key of ['a', 'b']) await enqueuePlain(store, newJobs(context, 5, { key }));
    const worker = await startWorker(store, queue);
    const started = (await drain(worker, 10)).length;
    assert.equal(started, 3);
    await configure(context, limits); // as each process does when it starts
    await configure(context, { limits: { rate, concurrency: 5 } });
    assert.deepEqual(await worker.claim(10), []);
    await configure(context, { limits: { concurrency: 5 } });
    assert.equal((await worker.claim(10)).length, 1, 'the bucket of its key has one token left');
    await configure(context, { keyLimits: null });
    assert.equal((await worker.claim(10)).length, 4, 'as many as the concurrency allows');
  },

  'a limit of the queue and one of the key hold together': async (context) => {
    const { store, queue } = context;
    await configure(context, { limits: { concurrency: 3 }, keyLimits: { concurrency: 2 } });
    for (const key of ['a', 'b', 'c']) await enqueuePlain(store, newJobs(context, 5, { key }));
    const worker = await startWorker(store, queue);
    const held = [...(await worker.claim(10)), ...(await worker.claim(10))];
    assert.equal(held.length, 3);
    for (const key of ['a', 'b', 'c']) {
      assert.ok(held.filter((job) => job.key === key).length <= 2, key);
    }
    const seen = [...held];
    await worker.done(held);
    await eventually('all have run', async () => {
      const claimed = await worker.claim(10);
      assert.ok(claimed.length <= 3);
      await worker.done(claimed);
      seen.push(...claimed);
      return seen.length === 15;
    });
  },

  'a limit that is set while jobs run counts them, and one removed lets go': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 12));
    const worker = await startWorker(store, queue);
    const held = await worker.claim(4);
    await configure(context, { limits: { concurrency: 5 } });
    const next = await worker.claim(10);
    assert.equal(next.length, 1, 'four ran already');
    await worker.done(held);
    const more = await worker.claim(10);
    assert.equal(more.length, 4);
    await configure(context, { limits: { concurrency: 2 } });
    await worker.done(next);
    assert.deepEqual(await worker.claim(10), [], 'four run still');
    await configure(context, { limits: null });
    assert.equal((await worker.claim(10)).length, 3);
  },

  'a retry or a delayed job waits for a permit like another': async (context) => {
    const { store, queue } = context;
    await configure(context, { limits: { concurrency: 1 } });
    await enqueueRow(context, { delayMs: 1 }, 1);
    await enqueuePlain(store, newJobs(context, 1));
    const worker = await startWorker(store, queue);
    const order: number[] = [];
    for (let n = 0; n < 4; n += 1) {
      const job = await claimOne(worker);
      order.push(...numbersOf([job]));
      assert.deepEqual(await worker.claim(10), []);
      if (job.failures === 0) await worker.fail(job);
      else await worker.done([job]);
    }
    assert.deepEqual(order.sort(), [0, 0, 1, 1]);
  },

  'enqueue is refused when too many wait, and as a whole': async (context) => {
    const { store, queue } = context;
    await configure(context, { lengthMax: 5 });
    await enqueuePlain(store, newJobs(context, 3));
    await enqueueRows(store, newJobs(context, 2, { from: 3 }));
    await assert.rejects(enqueuePlain(store, newJobs(context, 1)), full);
    await assert.rejects(enqueueRows(store, newJobs(context, 1)), full);
    assert.deepEqual(await countsOf(store, queue), { waiting: 5 });
    const worker = await startWorker(store, queue);
    const held = await worker.claim(2);
    const settle = settlementOf({ done: held.map((job) => doneWith(job)) });
    const tooMany = newExchange(queue, {
      epoch: worker.epoch,
      settle,
      enqueue: newJobs(context, 3, { from: 5 }),
    });
    await assert.rejects(store.exchange(tooMany), full);
    assert.equal(await statusOf(store, held[0] as ClaimedJob), 'running', 'not settled either');
    assert.equal((await countsOf(store, queue)).waiting, 3, 'what runs does not wait');
    await store.exchange(newExchange(queue, { epoch: worker.epoch, settle }));
    await enqueuePlain(store, newJobs(context, 2, { from: 5 }));
    await assert.rejects(enqueuePlain(store, newJobs(context, 1)), full);
    await configure(context, { lengthMax: null });
    await enqueuePlain(store, newJobs(context, 20, { from: 7 }));
    assert.equal((await drain(worker)).length, 25);
  },

  'what was cancelled or removed does not wait any more': async (context) => {
    const { store, queue } = context;
    await configure(context, { lengthMax: 6 });
    const plain = await enqueuePlain(store, newJobs(context, 3));
    const rows = await enqueueRows(store, newJobs(context, 3, { from: 3 }));
    await store.change(
      'cancel',
      [plain[0], rows[0]].map((job) => ref(job as JobRef)),
    );
    await store.change(
      'remove',
      [plain[1], rows[1]].map((job) => ref(job as JobRef)),
    );
    await enqueuePlain(store, newJobs(context, 4, { from: 6 }));
    await assert.rejects(enqueuePlain(store, newJobs(context, 1)), full);
    assert.deepEqual(
      numbersOf(await drain(await startWorker(store, queue))).sort(),
      [2, 5, 6, 7, 8, 9],
    );
  },

  'no more wait than allowed when two processes enqueue at once': async (context) => {
    const { store, queue } = context;
    await configure(context, { lengthMax: 10 });
    const stores = await twoStores(context);
    const tries = upTo(24).map((n) => {
      const one = stores[n % 2] as (typeof stores)[0];
      const jobs = newJobs(context, 1, { from: n, key: `k${n % 3}` });
      const stored = n % 4 === 0 ? enqueueRows(one, jobs) : enqueuePlain(one, jobs);
      return stored.then(
        () => 1,
        (error) => {
          assert.ok(full(error), String(error));
          return 0;
        },
      );
    });
    const accepted: number = (await Promise.all<number>(tries)).reduce((a, b) => a + b, 0);
    assert.equal(accepted, 10);
    assert.deepEqual(await countsOf(store, queue), { waiting: 10 });
  },
};

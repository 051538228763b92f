/** Cases for the one hot call: settle, enqueue and claim in one commit. */
import assert from 'node:assert/strict';
import { eventually } from '../../test/support/eventually.ts';
import { type Random, seededRandom } from '../../test/support/random.ts';
import {
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
  type JobOutcomes,
  newExchange,
  newJobs,
  numbersOf,
  recoverFrom,
  ref,
  settlementOf,
  startMortal,
  startWorker,
  statusesOf,
  statusOf,
  type TestWorker,
  twoStores,
  upTo,
} from './jobs.fixtures.conformance.ts';
import type { ClaimedJob, Exchange, JobRef } from './jobs.ts';

const leaseLost = code('LEASE_LOST');

/** Settles what it held, claims anew, and goes on until everything has come and nothing is left. */
async function workAtRandom(
  worker: TestWorker,
  random: Random,
  over: () => boolean,
): Promise<readonly ClaimedJob[]> {
  const seen: ClaimedJob[] = [];
  let held: readonly ClaimedJob[] = [];
  for (;;) {
    const last = over();
    const released = held.filter(() => random.chance(0.1));
    const done = held.filter((job) => !released.includes(job)).map((job) => doneWith(job));
    seen.push(...held.filter((job) => !released.includes(job)));
    const settle = { done, released: released.map(ref) };
    held = (await worker.exchange(1 + random.below(20), { settle })).claimed;
    if (last && held.length === 0) return seen;
  }
}

export const hotCases: JobCases = {
  'jobs of a lane stand from offset 1 without a gap and are claimed in that order': async (c) => {
    const { store, queue } = c;
    const first = await enqueuePlain(store, newJobs(c, 3));
    const enqueued = [...first, ...(await enqueuePlain(store, newJobs(c, 4, { from: 3 })))];
    const lane = first[0]?.lane as number;
    assert.ok(Number.isInteger(lane) && lane >= 1);
    assert.deepEqual(
      enqueued.map(ref),
      upTo(7, 1).map((offset) => ({ lane, offset })),
    );
    const worker = await startWorker(store, queue);
    const claimed = [...(await worker.claim(5)), ...(await worker.claim(5))];
    assert.deepEqual(numbersOf(claimed), upTo(7));
    assert.deepEqual(idsOf(claimed), idsOf(enqueued));
    assert.deepEqual(await worker.claim(5), []);
    await worker.done(claimed);
    assert.deepEqual(await worker.claim(5), [], 'what is done does not come again');
  },

  'a claimed job is the one that was enqueued': async (context) => {
    const { store, queue } = context;
    const [job] = newJobs(context, 1, {
      key: 'a key',
      priority: -7,
      name: 'conformance.other',
      version: 3,
      payloadJson: '{"a":[1,2.5,"x",null],"b":{"c":true}}',
      optionsJson: '{"attempts":7,"metadata":{"by":"me"}}',
    });
    assert.ok(job);
    const [at] = await enqueuePlain(store, [job]);
    const worker = await startWorker(store, queue);
    const [claimed] = await worker.claim(1);
    assert.ok(claimed && at);
    const { payloadJson, optionsJson, enqueuedAt, ...rest } = claimed;
    assert.deepEqual(JSON.parse(payloadJson), JSON.parse(job.payloadJson));
    assert.deepEqual(JSON.parse(optionsJson ?? ''), JSON.parse(job.optionsJson ?? ''));
    assert.ok(Math.abs(enqueuedAt - Date.now()) < 60_000, `enqueued at ${enqueuedAt}`);
    const { tenantId, key, priority, name, version } = job;
    assert.deepEqual(rest, {
      ...ref(at),
      ...{ queue, tenantId, key, priority, name, version },
      failures: 0,
      crashes: 0,
      claimNo: 1,
      exceptional: false,
    });
  },

  'an exchange with nothing in it does nothing': async ({ store, queue }) => {
    const { enqueued, claimed, lanesLeft } = await store.exchange(newExchange(queue));
    assert.deepEqual([enqueued, claimed, lanesLeft], [[], [], []]);
  },

  'positions are answered in the order of the jobs, whatever their lanes': async (context) => {
    const { store } = context;
    const jobs = upTo(60).flatMap((n) =>
      newJobs(context, 1, { from: n, key: `k${n % 3}`, priority: n % 2 }),
    );
    const enqueued = await enqueuePlain(store, jobs);
    const found = await store.queries.find(enqueued);
    assert.deepEqual(
      found.map((job) => [job?.key, job?.priority, job?.payloadJson]),
      jobs.map((job) => [job.key, job.priority, job.payloadJson]),
    );
    const lanes = new Set(enqueued.map(({ lane }) => lane));
    assert.equal(lanes.size, 6, 'one lane for each key and priority');
  },

  'thousands of jobs go through in large batches': async (context) => {
    const { store, queue } = context;
    const count = 6_000;
    await enqueuePlain(store, newJobs(context, count));
    const worker = await startWorker(store, queue);
    const first = await worker.exchange(4_000);
    assert.deepEqual(numbersOf(first.claimed), upTo(4_000));
    const settle = { done: first.claimed.map((job) => doneWith(job)) };
    const { claimed } = await worker.exchange(4_000, { settle });
    assert.deepEqual(numbersOf(claimed), upTo(2_000, 4_000));
    await worker.done(claimed);
    assert.deepEqual(await worker.claim(1), []);
    const { completed = 0 } = await countsOf(store, queue);
    if (store.capabilities.history) assert.equal(completed, count);
  },

  'an exchange settles, then enqueues, then claims': async (context) => {
    const { store, queue } = context;
    await enqueuePlain(store, newJobs(context, 2));
    const worker = await startWorker(store, queue);
    const [one, two] = (await worker.claim(2)) as [ClaimedJob, ClaimedJob];
    const { enqueued, claimed } = await store.exchange(
      newExchange(queue, {
        epoch: worker.epoch,
        settle: settlementOf({ done: [doneWith(one)], released: [ref(two)] }),
        enqueue: newJobs(context, 2, { from: 2 }),
        claim: await worker.request(10, { lanes: [one.lane] }),
      }),
    );
    assert.deepEqual(numbersOf(claimed), [1, 2, 3], 'what it released, then what it enqueued');
    assert.deepEqual(idsOf(claimed.slice(1)), idsOf(enqueued));
    assert.deepEqual(await statusesOf(store, claimed), Array(3).fill('running'));
  },

  'what an exchange enqueues it claims, in new lanes as well': async (context) => {
    const { store, queue } = context;
    const worker = await startWorker(store, queue);
    for (let n = 0; n < 3; n += 1) {
      const { enqueued, claimed } = await store.exchange(
        newExchange(queue, {
          epoch: worker.epoch,
          enqueue: [...newJobs(context, 2), ...newJobs(context, 1, { key: `k${n}`, priority: 1 })],
          claim: await worker.request(10, { lanes: [] }),
        }),
      );
      assert.deepEqual(idsOf(claimed), idsOf(enqueued));
      assert.deepEqual(await statusesOf(store, claimed), Array(3).fill('running'));
      await worker.done(claimed);
    }
  },

  'of two processes no job goes to both, and none is lost': async (context) => {
    const { t, queue } = context;
    const random = seededRandom(t);
    const stores = await twoStores(context);
    const workers = await Promise.all(
      [...stores, ...stores].map((store) => startWorker(store, queue)),
    );
    const enqueued: JobRef[] = [];
    let producing = true;
    const producers = Promise.all(
      [...stores, ...stores].map(async (store, p) => {
        for (let n = 0; n < 8; n += 1) {
          const jobs = upTo(1 + random.below(25)).flatMap((i) =>
            newJobs(context, 1, { from: p * 1000 + n * 50 + i, key: `k${random.below(4)}` }),
          );
          enqueued.push(...(await enqueuePlain(store, jobs)));
        }
      }),
    ).finally(() => {
      producing = false;
    });
    const work = workers.map((worker) => workAtRandom(worker, random, () => !producing));
    const [, ...seen] = await Promise.all([producers, ...work]);
    const rest = await drain(workers[0] as TestWorker); // released as the others went home
    const all = idsOf([...seen.flat(), ...rest]);
    assert.equal(new Set(all).size, all.length, 'no job twice');
    assert.deepEqual(all.sort(), idsOf(enqueued).sort());
    const { completed, ...others } = await countsOf(context.store, queue);
    assert.deepEqual(others, {}, 'nothing is left');
    if (context.store.capabilities.history) assert.equal(completed, enqueued.length);
  },

  'many producers of one lane leave no gap, and each keeps its order': async (context) => {
    const stores = await twoStores(context);
    const written = await Promise.all(
      upTo(6).map(async (p) => {
        const refs: JobRef[] = [];
        for (let n = 0; n < 10; n += 1) {
          const jobs = newJobs(context, 1 + ((p + n) % 4), { from: p * 100 + n * 10 });
          refs.push(...(await enqueuePlain(stores[p % 2] as never, jobs)));
        }
        return refs;
      }),
    );
    const offsets = written.flat().map(({ offset }) => offset);
    assert.deepEqual(
      offsets.sort((a, b) => a - b),
      upTo(offsets.length, 1),
    );
    for (const refs of written) {
      const own = refs.map(({ offset }) => offset);
      assert.deepEqual(
        own,
        own.toSorted((a, b) => a - b),
      );
    }
    const claimed = await drain(await startWorker(context.store, context.queue), 7);
    assert.deepEqual(
      claimed.map(({ offset }) => offset),
      upTo(offsets.length, 1),
    );
  },

  'a stale epoch is refused as a whole, with its enqueue': async (context) => {
    const { store, queue, another } = context;
    await enqueuePlain(store, newJobs(context, 3));
    const mortal = await startMortal(store, queue);
    const held = await mortal.claim(2);
    assert.equal((await recoverFrom(await another(), mortal)).jobs.length, 2);
    const late: Partial<Exchange> = {
      epoch: mortal.epoch,
      settle: settlementOf({ done: held.map((job) => doneWith(job, '"late"')) }),
      enqueue: newJobs(context, 2, { from: 3 }),
    };
    await assert.rejects(store.exchange(newExchange(queue, late)), leaseLost);
    await assert.rejects(store.exchange(newExchange(queue, { ...late, again: true })), leaseLost);
    await assert.rejects(mortal.settle({ failed: held.map((job) => failedWith(job)) }), leaseLost);
    await assert.rejects(mortal.settle({ released: held.map(ref) }), leaseLost);
    await assert.rejects(mortal.claim(10), leaseLost, 'and it gets nothing any more');
    assert.deepEqual(await countsOf(store, queue), { waiting: 3 });
    assert.deepEqual(await store.queries.results(held), [null, null]);
  },

  'an epoch that never was is refused': async ({ store, queue }) => {
    const claim = { queue, max: 1, lanes: [], suspects: true, claimNo: 1 };
    await assert.rejects(store.exchange(newExchange(queue, { epoch: 2 ** 40, claim })), leaseLost);
  },

  'nobody settles what another holds': async (context) => {
    const { store, queue, another } = context;
    await enqueuePlain(store, newJobs(context, 2));
    await enqueueRow(context, {}, 2);
    const worker = await startWorker(store, queue);
    const stranger = await startWorker(await another(), queue);
    const held = await worker.claim(3);
    const claims: JobOutcomes[] = [
      { done: held.map((job) => doneWith(job, '"stolen"')) },
      { failed: held.map((job) => failedWith(job, { status: 'dead' })) },
      { released: held.map(ref) },
    ];
    for (const claim of claims) {
      // Refused, or without effect.
      await stranger.settle(claim).catch((error) => assert.ok(leaseLost(error), String(error)));
      assert.deepEqual(await statusesOf(store, held), Array(3).fill('running'));
      assert.deepEqual(await stranger.claim(10), []);
    }
    await worker.done(held, '"own"');
    if (!store.capabilities.history) return;
    assert.deepEqual(await store.queries.results(held), Array(3).fill('"own"'));
  },

  'what one process enqueued another claims, completes and shows': async (context) => {
    const [one, two] = await twoStores(context);
    const [at] = await enqueuePlain(one, newJobs(context, 1));
    const worker = await startWorker(two, context.queue);
    const [job] = await worker.claim(1);
    assert.ok(at && job);
    assert.equal(idOf(job), idOf(at));
    assert.equal(await statusOf(one, at), 'running');
    await worker.done([job], '{"sent":1}');
    if (!one.capabilities.history) return;
    const found = await findJob(one, at);
    assert.deepEqual([found.status, found.resultJson], ['completed', '{"sent":1}']);
  },

  'hostile text and a payload of a megabyte survive': async (context) => {
    const { store, queue } = context;
    // Names hold no control characters and payloads no \u0000: those are refused before any store.
    const nasty = `'; drop table job; -- "\\ {a,b} $1 %s :x {{q}} ü 🗝 \u2028 \u200f NULL`;
    const text = `${nasty}\t\n\r\u0001`;
    const jobs = [
      ...newJobs(context, 1, { tenantId: nasty, key: nasty, name: nasty }),
      ...newJobs(context, 1, { payloadJson: JSON.stringify({ [text]: [text, ''] }) }),
      ...newJobs(context, 1, { payloadJson: JSON.stringify('é'.repeat(500_000)) }),
      ...newJobs(context, 1, { payloadJson: 'null', optionsJson: JSON.stringify({ text }) }),
    ];
    await enqueuePlain(store, jobs.slice(0, 3));
    await enqueueRows(store, jobs);
    const worker = await startWorker(store, queue);
    const claimed = await worker.claim(100);
    assert.equal(claimed.length, 7);
    const shown = (job: Partial<ClaimedJob>) =>
      JSON.stringify([job.tenantId, job.key, job.name, job.payloadJson, job.optionsJson]);
    assert.deepEqual(claimed.map(shown).sort(), [...jobs.slice(0, 3), ...jobs].map(shown).sort());
    const result = JSON.stringify({ [text]: 'x'.repeat(1_000_000) });
    await worker.done(claimed, result);
    if (!store.capabilities.history) return;
    for (const stored of await store.queries.results(claimed)) {
      assert.deepEqual(JSON.parse(stored ?? ''), JSON.parse(result));
    }
  },

  'epochs only grow, whichever process registers': async (context) => {
    const stores = await twoStores(context);
    let newest = 0;
    for (let round = 0; round < 3; round += 1) {
      const tries = [...stores, ...stores].map((store) => startWorker(store, context.queue));
      const epochs = (await Promise.all(tries)).map(({ epoch }) => epoch);
      assert.equal(new Set(epochs).size, epochs.length);
      assert.ok(Math.min(...epochs) > newest, `${epochs} after ${newest}`);
      newest = Math.max(...epochs);
    }
  },

  'a notice reaches every listener, and none after close': async (context) => {
    const { queue } = context;
    const stores = await twoStores(context);
    const heard: string[][] = [[], []];
    const listeners = await Promise.all(
      stores.map((store, i) =>
        store.notices.listen({ onNotice: (text) => heard[i]?.push(text), onLost: () => {} }),
      ),
    );
    await stores[0].notices.send(`jobs ${queue} 1`);
    const got = (i: number, text: string) => heard[i]?.includes(text);
    const both = () => got(0, `jobs ${queue} 1`) && got(1, `jobs ${queue} 1`);
    await eventually('both hear it', both);
    await listeners[0]?.close();
    await stores[1].notices.send(`jobs ${queue} 2`);
    await eventually('the other hears the second', () => got(1, `jobs ${queue} 2`));
    assert.ok(!got(0, `jobs ${queue} 2`));
    await listeners[1]?.close();
  },

  'a store answers to a ping, and a job enqueued twice is two jobs': async (context) => {
    const { store } = context;
    await store.ping();
    const [job] = newJobs(context, 1);
    assert.ok(job);
    const [one] = await enqueuePlain(store, [job]);
    const [two] = await enqueuePlain(store, [job]);
    const three = await enqueueRow(context);
    assert.equal(new Set(idsOf([one as JobRef, two as JobRef, three])).size, 3);
  },
};

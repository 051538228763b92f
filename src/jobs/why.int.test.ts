/** Why a job does not run: every blocker, one after the other, on a real queue. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import type { JobRef } from '../core/job.ts';
import { openPostgresJobStore } from '../drivers/postgres/jobs/store.ts';
import {
  claimOne,
  enqueuePlain,
  enqueueRows,
  idOf,
  newJobs,
  recoverFrom,
  silence,
  startMortal,
  startWorker,
} from '../ports/jobs.fixtures.conformance.ts';
import type { JobStore, NewJob } from '../ports/jobs.ts';
import { explainJob } from './why.ts';

let database: TestDatabase;
let store: JobStore;
let number = 0;

before(async () => {
  database = await freshDatabase();
  store = await openPostgresJobStore({ url: database.url });
});
after(async () => {
  await store?.close();
  await database?.drop();
});

/** A queue of its own for each test. */
async function newQueue() {
  number += 1;
  const queue = `why-${number}`;
  await store.configure([{ queue }]);
  const jobs = (count: number, rest: Partial<NewJob> = {}) =>
    newJobs({ queue, tenant: 'acme' }, count, rest);
  const plain = async (count: number, rest: Partial<NewJob> = {}) =>
    enqueuePlain(store, jobs(count, rest));
  const row = async (rest: Partial<NewJob> = {}) => {
    const [job] = await enqueueRows(store, jobs(1, rest));
    return job as JobRef;
  };
  return { queue, plain, row };
}

async function why(job: JobRef | undefined) {
  assert.ok(job);
  const answer = await explainJob(store, job);
  assert.ok(answer, `${idOf(job)} is there`);
  const [first] = answer.reasons;
  return { ...first, all: answer.reasons.map(({ kind }) => kind), status: answer.status };
}

test('nobody listens, then a paused queue, then it is next', async () => {
  const { queue, plain } = await newQueue();
  const [job] = await plain(1);
  const nobody = await why(job);
  assert.equal(nobody.kind, 'no-worker');
  assert.match(nobody.text, /No worker listens to the queue why-1/);
  const worker = await startWorker(store, queue);
  assert.deepEqual((await why(job)).all, ['next']);
  await store.configure([{ queue, paused: true }]);
  const paused = await why(job);
  assert.equal(paused.kind, 'queue-paused');
  assert.match(paused.text, /paused since 2\d\d\d-/);
  assert.equal(paused.command, `queues resume ${queue}`);
  await store.configure([{ queue, paused: false }]);
  await store.retire(worker.epoch);
});

test('a silent worker is named, and then what it had is running or recovered', async () => {
  const { queue, plain } = await newQueue();
  const [held, waiting] = await plain(2);
  const worker = await startMortal(store, queue);
  await worker.claim(1);
  assert.match((await why(held)).text, /^It runs since .*, try 1, on conformance, process \d+\.$/);
  await silence(store, worker);
  assert.deepEqual((await why(held)).all, ['worker-silent', 'running']);
  assert.match((await why(waiting)).text, /The only worker .* is silent since/);
  await recoverFrom(store, worker, 1);
  const lost = await why(held);
  assert.equal(lost.kind, 'quarantined');
  assert.equal(lost.text, '1 worker died while running it, so it runs no more by itself.');
  assert.equal(lost.command, `jobs retry ${idOf(held as JobRef)}`);
});

test('a job that saw a worker die waits for another one of these', async () => {
  const { queue, plain } = await newQueue();
  const [first, second] = await plain(2);
  for (let crash = 1; crash <= 2; crash += 1) {
    const mortal = await startMortal(store, queue);
    await mortal.claim(2);
    await recoverFrom(store, mortal, 5);
  }
  const worker = await startWorker(store, queue);
  await claimOne(worker);
  const { kind, command } = await why(second);
  assert.deepEqual([kind, command], ['suspect', `jobs why ${idOf(first as JobRef)}`]);
  await store.retire(worker.epoch);
});

test('delayed, retrying, dead, cancelled and completed say when and what next', async () => {
  const { queue, plain, row } = await newQueue();
  const later = await row({ delayMs: 60_000 });
  const delayed = await why(later);
  assert.equal(delayed.command, `jobs run ${idOf(later)}`);
  assert.match(delayed.text, /^It is not to run before \d{4}-/);

  const worker = await startWorker(store, queue);
  await plain(4);
  const [one, two, three, four] = await worker.claim(4);
  assert.ok(one && two && three && four);
  await worker.fail(one, { delayMs: 60_000 });
  const retrying = await why(one);
  assert.match(retrying.text, /for try 2\. Last error: no such account.*\[BROKEN\]$/);
  await worker.fail(two, { status: 'dead' });
  const dead = await why(two);
  assert.match(dead.text, /^It failed for good at .* after 1 failed try: no such account/);
  assert.equal(dead.command, `jobs retry ${idOf(two)}`);
  await worker.done([four]);
  assert.match((await why(four)).text, /^It completed at \d/);

  await store.change('cancel', [later, three]);
  assert.deepEqual((await why(later)).all, ['cancelled']);
  assert.deepEqual((await why(three)).all, ['cancelled', 'letting-go']);
  await worker.fail(three, { status: 'cancelled', counts: false });
  assert.deepEqual((await why(three)).all, ['cancelled']);
  await store.retire(worker.epoch);
  assert.equal(await explainJob(store, { lane: 999_999, offset: 1 }), null);
});

test('a job put off by its handler, and one that no handler knows', async () => {
  const { queue, plain } = await newQueue();
  await plain(2);
  const worker = await startWorker(store, queue);
  const [snoozed, unknown] = await worker.claim(2);
  assert.ok(snoozed && unknown);
  await worker.fail(snoozed, { delayMs: 60_000, counts: false });
  assert.match((await why(snoozed)).text, /^Its handler put it off until \d{4}-/);
  const error = {
    code: 'JOB_UNKNOWN',
    message: 'no handler',
    stack: null,
    fingerprint: 'no handler',
  };
  await worker.fail(unknown, { delayMs: 60_000, counts: false, error });
  const { kind, text } = await why(unknown);
  assert.equal(kind, 'no-handler');
  assert.match(
    text,
    /^No handler named conformance\.job works on the queue why-\d+: start a process/,
  );
  await store.retire(worker.epoch);
});

test('a blocked job names its parents, the failed ones first', async () => {
  const { queue, plain, row } = await newQueue();
  const [running, failing] = await plain(2);
  assert.ok(running && failing);
  const removed = await row();
  const child = await row({ dependsOn: [running, failing, removed] });
  const worker = await startWorker(store, queue);
  const claimed = await worker.claim(3);
  const of = (job: JobRef) => claimed.find((other) => idOf(other) === idOf(job));
  await worker.fail(of(failing) as never, { status: 'dead' });
  await worker.settle({ released: [of(removed) as never] });
  await store.change('remove', [removed]);
  const { all, text, command } = await why(child);
  assert.deepEqual(all.toSorted(), ['parent', 'parent-failed', 'parent-gone']);
  assert.equal(all.at(-1), 'parent');
  assert.match(text, /It waits for job/);
  assert.match(command ?? '', /^jobs (retry|cancel) /);
  await store.retire(worker.epoch);
});

test('limits name those who use them up', async () => {
  const { queue, plain } = await newQueue();
  await store.configure([{ queue, limits: { concurrency: 2 } }]);
  const refs = await plain(3);
  const worker = await startWorker(store, queue);
  const claimed = await worker.claim(3);
  assert.equal(claimed.length, 2);
  const limited = await why(refs[2]);
  assert.equal(limited.kind, 'concurrency-limit');
  assert.match(limited.text, /2 may run at a time, and \d+-1 \(.*\), \d+-2 \(.*\) do\./);
  assert.equal(limited.command, `queues limits ${queue}`);
  await worker.done(claimed);

  await store.configure([
    { queue, limits: null, keyLimits: { concurrency: 1, rate: { max: 1, perMs: 60_000 } } },
  ]);
  const [mine, next] = await plain(2, { key: 'k' });
  const [held] = await worker.claim(10).then((jobs) => jobs.filter(({ key }) => key === 'k'));
  assert.equal(idOf(held as JobRef), idOf(mine as JobRef));
  const { all, text } = await why(next);
  assert.deepEqual(all.slice(0, 2), ['key-concurrency-limit', 'key-rate-limit']);
  assert.match(text, /key k of tenant acme/);
  await store.retire(worker.epoch);
});

test('the line in front of it is counted', async () => {
  const { queue, plain } = await newQueue();
  await plain(3, { priority: -5 });
  await plain(2, { priority: -6, key: 'x' });
  const refs = await plain(4);
  const worker = await startWorker(store, queue);
  const { kind, text } = await why(refs[3]);
  assert.equal(kind, 'line');
  assert.equal(text, 'In front of it: 3 jobs of its lane and 5 more urgent jobs in 2 lanes.');
  await store.retire(worker.epoch);
});

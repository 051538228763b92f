/**
 * Verbs and retention while workers claim, settle, die and are recovered: no job is held twice,
 * every permit comes back, and in the end counts and jobs agree.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../../../test/support/database.ts';
import { eventually } from '../../../../test/support/eventually.ts';
import { type Random, seededRandom } from '../../../../test/support/random.ts';
import { isMillraceError } from '../../../core/errors.ts';
import { formatJobId, type JobRef, jobStatuses } from '../../../core/job.ts';
import {
  drain,
  enqueuePlain,
  enqueueRows,
  idsOf,
  newJobs,
  ref,
  silence,
  startMortal,
  startWorker,
  type TestWorker,
} from '../../../ports/jobs.fixtures.conformance.ts';
import type { ClaimedJob, JobStore } from '../../../ports/jobs.ts';
import { openPostgresJobStore } from './store.ts';

let database: TestDatabase;
let stores: JobStore[];

before(async () => {
  database = await freshDatabase();
  const open = () => openPostgresJobStore({ url: database.url });
  stores = await Promise.all([open(), open()]);
});
after(async () => {
  await Promise.all(stores.map((store) => store.close()));
  await database?.drop();
});

const queue = 'races';
const of = { queue, tenant: 'acme' };
const roundsMax = 60;

/** As the runtime does: who was undone to end a circle of waiting begins again. */
async function again<T>(step: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await step();
    } catch (error) {
      if (!isMillraceError(error) || error.code !== 'STORE_CONFLICT') throw error;
    }
  }
}

/** Claims, settles and loses its lease now and then, until the others are done. */
async function work(store: JobStore, running: () => boolean, random: Random, held: Set<string>) {
  let worker: TestWorker = await startWorker(store, queue);
  while (running()) {
    const jobs = await again(() => worker.claim(1 + random.below(10)));
    for (const job of jobs) {
      const id = formatJobId(job);
      // Who has it twice at the same time would be seen here.
      assert.ok(!held.has(id), `${id} is held twice`);
      held.add(id);
    }
    await Promise.resolve();
    for (const job of jobs) held.delete(formatJobId(job));
    await settle(worker, jobs, random);
    if (random.chance(0.05)) {
      await again(() => store.retire(worker.epoch));
      worker = await startWorker(store, queue);
    }
  }
  await store.retire(worker.epoch);
}

async function settle(worker: TestWorker, jobs: readonly ClaimedJob[], random: Random) {
  const [failed, rest] = [jobs.filter(() => random.chance(0.2)), [...jobs]];
  for (const job of failed) {
    const status = random.pick(['retrying', 'dead', 'cancelled'] as const);
    const delayMs = random.pick([0, 5]);
    await again(() => worker.fail(job, { status, delayMs }));
  }
  const done = rest.filter((job) => !failed.includes(job));
  const released = random.chance(0.1);
  await again(() =>
    released ? worker.settle({ released: done.map(ref) }) : worker.done(done, '"done"'),
  );
}

/** Jobs of all kinds, and verbs on any of them. */
async function disturb(store: JobStore, refs: JobRef[], random: Random) {
  for (let round = 0; round < roundsMax; round += 1) {
    refs.push(...(await enqueuePlain(store, newJobs(of, 5, { key: random.pick(['', 'a']) }))));
    const dependsOn = refs.filter(() => random.chance(0.01)).slice(0, 3);
    const rest = { dependsOn, delayMs: random.pick([0, 0, 3]), onParentFailure: 'run' as const };
    refs.push(...(await again(() => enqueueRows(store, newJobs(of, 2, rest)))).map(ref));
    const verb = random.pick(['cancel', 'retry', 'run', 'remove'] as const);
    const some = refs.filter(() => random.chance(0.1)).sort(() => random.next() - 0.5);
    await again(() => store.change(verb, some));
    if (random.chance(0.2)) await again(() => store.prune({ olderThanMs: 50, limit: 20 }));
    if (random.chance(0.3)) await again(() => store.recover({ crashesMax: 2 }));
  }
}

/** Dies with jobs in its hands. */
async function die(store: JobStore, running: () => boolean, random: Random) {
  while (running()) {
    const mortal = await startMortal(store, queue);
    await mortal.claim(1 + random.below(5)).catch(() => {});
    await silence(store, mortal);
    await again(() => store.recover({ crashesMax: 2 }));
  }
}

test('verbs race with workers, deaths and retention', async (t) => {
  const random = seededRandom(t);
  const [one, two] = stores as [JobStore, JobStore];
  await one.configure([{ queue, keyLimits: { concurrency: 8 } }]);
  const refs: JobRef[] = [];
  const held = new Set<string>();
  let disturbers = 2;
  const running = () => disturbers > 0;
  const disturber = (store: JobStore) =>
    disturb(store, refs, random).finally(() => {
      disturbers -= 1;
    });
  await Promise.all([
    disturber(one),
    disturber(two),
    work(one, running, random, held),
    work(two, running, random, held),
    die(two, running, random),
  ]);
  await one.recover({ crashesMax: 2 });
  const found = (await one.queries.find(refs)).filter((job) => job !== null);
  const counts = (await one.queries.counts([queue])).get(queue);
  for (const status of jobStatuses) {
    const those = found.filter((job) => job.status === status);
    assert.equal(counts?.[status], those.length, status);
  }
  assert.equal(counts?.running, 0, 'nobody is left who has one');
  // Every permit came back: as many run at a time as may.
  await one.change('cancel', found.map(ref));
  const fresh = await enqueuePlain(one, newJobs(of, 8, { key: 'a' }));
  const worker = await startWorker(one, queue);
  const claimed: ClaimedJob[] = [];
  await eventually('all that may run are claimed', async () => {
    // A claim that met only what was cancelled gives nothing; the next one goes on behind it.
    claimed.push(...(await worker.claim(20)));
    return claimed.length >= fresh.length;
  });
  assert.deepEqual(idsOf(claimed).sort(), idsOf(fresh).sort());
  await one.retire(worker.epoch);
  await drain(await startWorker(two, queue));
});

/**
 * Counts and lists against the jobs one by one: whatever happened to a queue, the arithmetic on its
 * lanes and the sources of the pages must say the same as `find` says of every single job.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../../../test/support/database.ts';
import { ask } from '../../../../test/support/mill.ts';
import { type Random, seededRandom } from '../../../../test/support/random.ts';
import { formatJobId, type JobRef, type JobStatus, jobStatuses } from '../../../core/job.ts';
import type { JobFilter, JobSnapshot } from '../../../ports/job-queries.ts';
import {
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
let store: JobStore;

before(async () => {
  database = await freshDatabase();
  store = await openPostgresJobStore({ url: database.url });
});
after(async () => {
  await store?.close();
  await database?.drop();
});

/** All pages of a filter. */
async function listAll(filter: JobFilter, limit = 7): Promise<JobSnapshot[]> {
  const jobs: JobSnapshot[] = [];
  let after: string | null = null;
  do {
    const page = await store.queries.list(filter, { limit, after });
    jobs.push(...page.jobs);
    after = page.next;
  } while (after !== null);
  return jobs;
}

/** What `find` says of each, against the counts and the pages. */
async function compare(queue: string, refs: readonly JobRef[], step: string): Promise<void> {
  const found = (await store.queries.find(refs)).filter((job) => job !== null);
  const counts = (await store.queries.counts([queue])).get(queue);
  for (const status of jobStatuses) {
    const wanted = found.filter((job) => job.status === status);
    assert.equal(counts?.[status], wanted.length, `${step}: count of ${status}`);
    const listed = await listAll({ queue, status });
    assert.deepEqual(idsOf(listed).sort(), idsOf(wanted).sort(), `${step}: list of ${status}`);
  }
  assert.deepEqual(idsOf(await listAll({ queue })).sort(), idsOf(found).sort(), `${step}: all`);
  for (const key of ['', 'a', 'b']) {
    const wanted = found.filter((job) => job.key === key);
    assert.deepEqual(idsOf(await listAll({ queue, key })).sort(), idsOf(wanted).sort(), step);
  }
}

/** Something happens to the queue; answers with jobs that are new. */
async function happen(
  queue: string,
  worker: TestWorker,
  state: { refs: JobRef[]; held: ClaimedJob[] },
  random: Random,
): Promise<void> {
  const { refs, held } = state;
  const some = () => refs.filter(() => random.chance(0.15));
  const of = { queue, tenant: random.pick(['one', 'two']) };
  const shape = { key: random.pick(['', 'a', 'b']), priority: random.below(3) - 1 };
  switch (random.below(9)) {
    case 0:
    case 1:
      refs.push(...(await enqueuePlain(store, newJobs(of, 1 + random.below(8), shape))));
      return;
    case 2: {
      const parents = some().slice(0, 2);
      const delayMs = random.chance(0.5) ? 60_000 : 0;
      const rest = { ...shape, delayMs, dependsOn: random.chance(0.3) ? parents : [] };
      refs.push(...(await enqueueRows(store, newJobs(of, 1 + random.below(3), rest))).map(ref));
      return;
    }
    case 3:
      held.push(...(await worker.claim(1 + random.below(10))));
      return;
    case 4:
      await worker.done(held.splice(0, random.below(8)));
      return;
    case 5:
      for (const job of held.splice(0, random.below(4))) {
        const status = random.pick(['retrying', 'dead', 'cancelled'] as const);
        await worker.fail(job, { status, delayMs: random.pick([0, 60_000]) });
      }
      return;
    case 6:
      await worker.settle({ released: held.splice(0, random.below(3)).map(ref) });
      return;
    case 7:
      await store.change(random.pick(['cancel', 'retry', 'run'] as const), some());
      return;
    default:
      await store.change('remove', some().slice(0, 3));
  }
}

test('counts and lists say what find says, whatever happened', async (t) => {
  const random = seededRandom(t);
  for (let round = 0; round < 6; round += 1) {
    const queue = `random-${round}`;
    await store.configure([{ queue }]);
    const mortal = random.chance(0.5);
    const worker = await (mortal ? startMortal : startWorker)(store, queue);
    const beat = mortal && setInterval(() => void beatOf(worker), 40);
    const state = { refs: [], held: [] };
    for (let step = 0; step < 40; step += 1) await happen(queue, worker, state, random);
    await compare(queue, state.refs, `round ${round}`);
    if (beat) clearInterval(beat);
    if (mortal) {
      await silence(store, worker);
      await store.recover({ crashesMax: 1 + random.below(2) });
    } else await store.retire(worker.epoch);
    await compare(queue, state.refs, `round ${round}, afterwards`);
    await store.prune({ olderThanMs: 60_000, limit: 1_000 });
    await compare(queue, state.refs, `round ${round}, nothing old enough`);
    await compareRetention(queue, state.refs, `round ${round}`, random);
  }
});

async function beatOf({ epoch }: TestWorker): Promise<void> {
  const { openBeater } = (await import(store.beater.module)) as typeof import('./beater.ts');
  const beater = await openBeater(store.beater.options as never);
  await beater.beat(epoch, { running: 1, concurrency: 1, oldestClaimNo: 0 });
  await beater.close();
}

const over = new Set<JobStatus>(['completed', 'dead', 'cancelled', 'quarantined']);

async function compareRetention(
  queue: string,
  refs: readonly JobRef[],
  step: string,
  random: Random,
): Promise<void> {
  const before = (await store.queries.find(refs)).filter((job) => job !== null);
  const unfinished = before.filter(({ status }) => !over.has(status));
  for (;;) if ((await store.prune({ olderThanMs: -1, limit: 1 + random.below(20) })) === 0) break;
  await compare(queue, refs, `${step}, pruned`);
  const left = (await store.queries.find(refs)).filter((job) => job !== null);
  const kept = new Set(idsOf(left));
  for (const job of unfinished)
    assert.ok(kept.has(formatJobId(job)), `${step}: ${formatJobId(job)}`);
  // The rest is over too: then nothing is left of it but a row for each lane.
  const worker = await startWorker(store, queue);
  await store.change('cancel', unfinished);
  while ((await store.readyLanes(queue)).length > 0) await worker.claim(100);
  await store.retire(worker.epoch);
  while ((await store.prune({ olderThanMs: -1, limit: 50 })) > 0);
  const rest = (await store.queries.find(refs)).filter((job) => job !== null);
  assert.deepEqual(idsOf(rest), [], `${step}: everything is gone`);
  await enqueuePlain(store, newJobs({ queue, tenant: 'one' }, 1));
  const [{ n: reused } = { n: -1 }] = await ask<{ n: number }>(
    database.url,
    `select count(*)::int as n from millrace.job j join millrace.job_claim c
     on c.lane_id = j.lane_id and j."offset" between c.from_offset and c.to_offset
     where j.name <> '' and not exists (select 1 from millrace.job_ack a where a.lane_id = j.lane_id
       and j."offset" between a.first_offset and a.last_offset)
     and not exists (select 1 from millrace.job_state s where s.lane_id = j.lane_id
       and s."offset" = j."offset")
     and j.lane_id in (select l.lane_id from millrace.job_lane l
       join millrace.job_queue q using (queue_id) where q.queue_name = $1)`,
    [queue],
  );
  assert.equal(reused, 0, `${step}: no offset is used twice`);
}

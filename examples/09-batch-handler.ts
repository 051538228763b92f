/**
 * A handler of many jobs at once answers for each of them: a result, or an error that only this job
 * is retried for. Here ten rows are written by one statement of the outside world.
 */
import { connect, defineJob } from 'millrace';

const Index = defineJob('search.index', {
  queue: 'search',
  attempts: 2,
  backoff: 10,
  batch: { max: 100, waitMs: 100 },
  handler: (jobs: readonly { payload: { id: number }; attempt: number }[]) => {
    console.log(`${jobs.length} at once, try ${jobs[0]?.attempt}`);
    return jobs.map(({ payload, attempt }) =>
      payload.id === 7 && attempt === 1 ? new Error('no such document') : payload.id * 10,
    );
  },
});

await using mill = await connect(process.env.DATABASE_URL);
const { jobs } = mill;
const ids = Array.from({ length: 10 }, (_, n) => ({ id: n + 1 }));
const enqueued = await jobs.enqueueMany(Index, ids);
jobs.work(Index);
await mill.start();
const results = [];
for (const job of enqueued) results.push(await jobs.result(job));
console.log(results.join(' '));

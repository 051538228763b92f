/** Reading jobs. What a plain job's state is follows from its chunk and from what is held. */
import { formatJobId, type JobRef, jobStatuses } from '../../core/job.ts';
import type { JobCounts, JobQueries, JobSnapshot } from '../../ports/job-queries.ts';
import type { Context } from './context.ts';
import { listJobs } from './pages.ts';
import { byQueue, knownQueues } from './queues.ts';
import { scripts } from './scripts.ts';
import { type SnapshotReply, toSnapshot } from './snapshots.ts';

/** Jobs looked at by one script, which nobody else's waits for longer than some ms. */
const findMax = 200;

export function createQueries(context: Context): JobQueries {
  const { redis, keys } = context;
  return {
    async find(refs) {
      const found = new Array<JobSnapshot | null>(refs.length).fill(null);
      for (const { queue, places } of await byQueue(context, refs, findMax)) {
        const args = places.flatMap((i) => [refs[i]?.lane as number, refs[i]?.offset as number]);
        const replies = await redis.run<(SnapshotReply | 0)[]>(
          scripts.find,
          keys.queue(queue),
          args,
        );
        for (const [k, reply] of replies.entries()) {
          if (reply !== 0) found[places[k] as number] = toSnapshot(reply, queue);
        }
      }
      return found;
    },
    list: (filter, page) => listJobs(context, filter, page),
    async counts(queues) {
      const wanted = queues ?? (await knownQueues(context));
      const entries = await Promise.all(
        wanted.map(async (queue): Promise<[string, JobCounts]> => {
          const args = [...jobStatuses];
          const counts = await redis.run<number[]>(scripts.counts, keys.queue(queue), args);
          const named = jobStatuses.map((status, i) => [status, counts[i] as number]);
          return [queue, Object.fromEntries(named) as JobCounts];
        }),
      );
      return new Map(entries);
    },
    async results(refs) {
      const results = new Array<string | null>(refs.length).fill(null);
      for (const { queue, places } of await byQueue(context, refs, 1_000)) {
        const base = keys.queue(queue);
        const ids = places.map((i) => formatJobId(refs[i] as JobRef));
        const found = await redis.send<(string | null)[]>(base, ['HMGET', `${base}:res`, ...ids]);
        for (const [k, result] of found.entries()) results[places[k] as number] = result;
      }
      return results;
    },
  };
}

/** What people do to jobs by hand, and what retention removes: some jobs of one queue at a time. */
import { formatJobId, type JobRef } from '../../core/job.ts';
import type { JobStore, JobVerb } from '../../ports/jobs.ts';
import type { Context } from './context.ts';
import { carryNews, sendNotice } from './news.ts';
import { byQueue, knownQueues } from './queues.ts';
import { scripts } from './scripts.ts';

/** Jobs changed by one script: a claim waits for it about 5 ms at most. */
const changeMax = 100;
const pruneMax = 500;

interface Changed extends JobRef {
  /** A worker has it. */
  readonly held: boolean;
}

export function createChanges(context: Context): Pick<JobStore, 'change' | 'prune' | 'progress'> {
  const { redis, keys } = context;
  return {
    async change(verb, jobs) {
      const changed = new Set<string>();
      for (const { queue, places } of await byQueue(context, jobs, changeMax)) {
        const refs = places.map((i) => jobs[i] as JobRef);
        const done = await change(context, verb, queue, refs);
        for (const job of done) changed.add(formatJobId(job));
      }
      return distinct(jobs).filter((job) => changed.has(formatJobId(job)));
    },
    async prune({ olderThanMs, limit }) {
      let removed = 0;
      for (const queue of await knownQueues(context)) {
        for (;;) {
          const max = Math.min(pruneMax, limit - removed);
          if (max <= 0) return removed;
          const args = [Math.max(0, olderThanMs), max];
          const count = await redis.run<number>(scripts.prune, keys.queue(queue), args);
          removed += count;
          if (count < max) break;
        }
      }
      return removed;
    },
    async progress(jobs) {
      for (const { queue, places } of await byQueue(context, jobs, changeMax)) {
        const args = places.flatMap((i) => {
          const { lane, offset, progressJson } = jobs[i] as (typeof jobs)[number];
          return [lane, offset, progressJson];
        });
        await redis.run(scripts.progress, keys.queue(queue), args);
      }
    },
  };
}

async function change(
  context: Context,
  verb: JobVerb,
  queue: string,
  refs: readonly JobRef[],
): Promise<Changed[]> {
  const { redis, keys } = context;
  const args = [verb, ...refs.flatMap(({ lane, offset }) => [lane, offset])];
  const [news, ...found] = await redis.run<number[]>(scripts.change, keys.queue(queue), args);
  const changed: Changed[] = [];
  for (let i = 0; i < found.length; i += 3) {
    const [lane, offset, held] = found.slice(i, i + 3) as [number, number, number];
    changed.push({ lane, offset, held: held === 1 });
  }
  if (news === 1) await carryNews(context, queue);
  const told = changed.filter(({ held }) => held).map(formatJobId);
  if (verb === 'cancel' && told.length > 0) await sendNotice(context, `cancel ${told.join(' ')}`);
  if ((verb === 'retry' || verb === 'run') && changed.length > 0) {
    await sendNotice(context, `jobs ${queue}`);
  }
  return changed;
}

function distinct(jobs: readonly JobRef[]): JobRef[] {
  const refs = jobs.map(({ lane, offset }) => ({ lane, offset }));
  return [...new Map(refs.map((job) => [formatJobId(job), job])).values()];
}

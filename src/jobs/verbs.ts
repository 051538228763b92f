/** A verb on jobs as a process does it: in the store, to what runs here, and to the others. */
import { formatJobId, type JobRef } from '../core/job.ts';
import type { JobStore, JobVerb } from '../ports/jobs.ts';
import type { Finish, Waiters } from './waiters.ts';
import type { Work } from './work.ts';

/** A notice carries so many ids at most. */
const idsMax = 200;

/** Answers with the jobs that it changed. */
export async function changeJobs(
  { store, work, waiters }: { store: JobStore; work: Work; waiters: Waiters },
  verb: JobVerb,
  refs: readonly JobRef[],
): Promise<readonly JobRef[]> {
  const changed = await store.change(verb, refs);
  if (changed.length === 0) return changed;
  const { notices } = store;
  if (verb === 'cancel') {
    work.cancelHere(changed);
    for (const ref of changed) {
      const finish: Finish = { kind: 'failed', status: 'cancelled', error: null };
      waiters.finish(formatJobId(ref), finish);
    }
    for (let from = 0; from < changed.length; from += idsMax) {
      const ids = changed.slice(from, from + idsMax).map(formatJobId);
      await notices.send(`cancel ${ids.join(' ')}`).catch(() => {});
    }
  } else if (verb === 'retry' || verb === 'run') {
    work.wakeAll();
    await notices.send('look').catch(() => {});
  }
  return changed;
}

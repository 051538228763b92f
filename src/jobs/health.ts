/** How a process that works on queues is doing: the store's answer, the worker's session. */
import type { JobStore } from '../ports/jobs.ts';
import { sleep } from '../runtime/bell.ts';
import type { JobsHealth } from './options.ts';
import type { Work } from './work.ts';

/** No answer within the limit is an answer too. */
const pingMsMax = 3_000;

export interface HealthSources
  extends Pick<JobsHealth, 'mode' | 'listening' | 'reconnects' | 'errors' | 'lastError'> {
  readonly store: JobStore;
  readonly work: Work;
  readonly workerId: string;
  readonly started: boolean;
  /** Notices are wanted. */
  readonly listens: boolean;
  /** Aborted when the process stops. */
  readonly signal: AbortSignal;
}

export async function jobsHealth(sources: HealthSources): Promise<JobsHealth> {
  const { store, work, workerId, started, listens, signal, ...facts } = sources;
  const problems: string[] = [];
  const ping = store.ping().then(
    () => true,
    () => false,
  );
  const answered = await Promise.race([ping, sleep(pingMsMax, signal).then(() => false)]);
  if (!answered) problems.push('the store does not answer');
  const { session } = work;
  if (started && session.epoch === null) problems.push('the lease is lost');
  const mustListen = started && listens && facts.mode !== 'PollingOnly';
  if (mustListen && !facts.listening) problems.push('the listener is reconnecting');
  return {
    ready: started && answered && session.epoch !== null,
    problems,
    workerId,
    epoch: session.epoch,
    workers: session.workers,
    ...work.load(),
    queues: work.queues,
    ...facts,
  };
}

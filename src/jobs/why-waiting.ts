/**
 * Why a job that could run does not: what keeps the whole queue, then what keeps it in particular,
 * then who is in front of it. Looks at a bounded number of jobs.
 */
import { formatJobId, isSuspect } from '../core/job.ts';
import type { JobFilter, JobSnapshot } from '../ports/job-queries.ts';
import type { Limits, QueueState, WorkerInfo } from '../ports/jobs.ts';
import { count, placeOf, type Reason, reason, type Why, type WhyStore } from './reason.ts';

/** Jobs looked at for one question; beyond it the answer says "more than". */
const lookMax = 1_000;
/** Names given of those who use up a limit. */
const namesMax = 3;

export async function explainWaiting(store: WhyStore, job: JobSnapshot): Promise<Why['reasons']> {
  const [queues, workers] = await Promise.all([store.queues(), store.workers()]);
  const queue: PausedQueue | undefined = queues.find(({ queue }) => queue === job.queue);
  const listening = workers.filter(({ queues, alive }) => alive && queues.includes(job.queue));
  const reasons = [
    ...explainPause(job, queue),
    ...explainNobody(job, workers, listening),
    ...(await explainLimits(store, job, queue)),
    ...(await explainSuspect(store, job)),
  ];
  const line = await explainLine(store, job, listening);
  const [first, ...rest] = reasons;
  if (first === undefined) return [line];
  // First in line says nothing while the line does not move.
  return [first, ...rest, ...(line.kind === 'next' ? [] : [line])];
}

/** Where the store knows it, since when. */
type PausedQueue = QueueState & { readonly pausedAt?: string | null };

function explainPause({ queue: name }: JobSnapshot, queue: PausedQueue | undefined): Reason[] {
  if (!queue?.paused) return [];
  const since = queue.pausedAt ? ` since ${queue.pausedAt}` : '';
  return [reason('queue-paused', `The queue ${name} is paused${since}.`, `queues resume ${name}`)];
}

function explainNobody(
  { queue }: JobSnapshot,
  workers: readonly WorkerInfo[],
  listening: readonly WorkerInfo[],
): Reason[] {
  if (listening.length > 0) return [];
  const silent = workers.find((worker) => !worker.alive && worker.queues.includes(queue));
  const text = silent
    ? `The only worker of the queue ${queue} (${placeOf(silent)}) is silent since ` +
      `${silent.heartbeatAt}: start it again.`
    : `No worker listens to the queue ${queue}: start a process whose jobs.work(…) includes it.`;
  return [reason('no-worker', text, 'workers list')];
}

async function explainLimits(
  store: WhyStore,
  job: JobSnapshot,
  queue: QueueState | undefined,
): Promise<Reason[]> {
  const { queue: name, tenantId, key } = job;
  const own = key === '' ? `tenant ${tenantId}` : `key ${key} of tenant ${tenantId}`;
  return [
    ...(await explainLimit(store, queue?.limits, {
      filter: { queue: name },
      scope: `the queue ${name}`,
      kinds: ['concurrency-limit', 'rate-limit'],
    })),
    ...(await explainLimit(store, queue?.keyLimits, {
      filter: { queue: name, tenantId, key },
      scope: `${own} in the queue ${name}`,
      kinds: ['key-concurrency-limit', 'key-rate-limit'],
    })),
  ];
}

interface LimitScope {
  readonly filter: JobFilter & { readonly queue: string };
  readonly scope: string;
  readonly kinds: readonly [concurrency: Reason['kind'], rate: Reason['kind']];
}

async function explainLimit(
  { queries }: WhyStore,
  limits: Limits | null | undefined,
  { filter, scope, kinds }: LimitScope,
): Promise<Reason[]> {
  if (!limits) return [];
  const { concurrency, rate } = limits;
  const command = `queues limits ${filter.queue}`;
  const list = async (status: 'running' | 'completed') =>
    (await queries.list({ ...filter, status }, { limit: lookMax, after: null })).jobs;
  const running = await list('running');
  const reasons: Reason[] = [];
  if (concurrency !== undefined && running.length >= concurrency) {
    const names = running
      .slice(0, namesMax)
      .map((other) => `${formatJobId(other)} (${other.name})`);
    const others = running.length > namesMax ? ` and ${running.length - namesMax} more` : '';
    const text =
      `Of ${scope} ${concurrency} may run at a time, and ` +
      `${names.join(', ')}${others} ${running.length === 1 ? 'does' : 'do'}.`;
    reasons.push(reason(kinds[0], text, command));
  }
  if (rate !== undefined) {
    const since = Date.now() - rate.perMs;
    const started = [...running, ...(await list('completed'))].filter(
      ({ startedAt }) => startedAt !== null && Date.parse(startedAt) >= since,
    );
    if (started.length >= Math.min(rate.max, lookMax)) {
      const text =
        `Of ${scope} ${rate.max} may start in ${rate.perMs.toLocaleString('en-US')} ms, and ` +
        `${started.length} did.`;
      reasons.push(reason(kinds[1], text, command));
    }
  }
  return reasons;
}

async function explainSuspect({ queries }: WhyStore, job: JobSnapshot): Promise<Reason[]> {
  if (!isSuspect(job)) return [];
  const { queue } = job;
  const { jobs } = await queries.list(
    { queue, status: 'running' },
    { limit: lookMax, after: null },
  );
  const other = jobs.find(isSuspect);
  if (other === undefined) return [];
  const text =
    `${count(job.crashes, 'worker')} died while running it, so it runs alone among such jobs, ` +
    `one at a time in each worker; now ${formatJobId(other)} does.`;
  return [reason('suspect', text, `jobs why ${formatJobId(other)}`)];
}

/** Who is in front of it: more urgent ones, and its own lane. */
async function explainLine(
  { queries }: WhyStore,
  job: JobSnapshot,
  listening: readonly WorkerInfo[],
): Promise<Reason> {
  const { queue, lane, offset, priority } = job;
  const { jobs, next } = await queries.list(
    { queue, status: 'waiting' },
    { limit: lookMax, after: null },
  );
  const ahead = jobs.filter((other) => other.lane === lane && other.offset < offset).length;
  const urgent = jobs.filter((other) => other.priority < priority);
  const lanes = new Set(urgent.map((other) => other.lane)).size;
  const reached = jobs.some((other) => other.lane === lane && other.offset === offset);
  const more = next !== null && !reached ? 'more than ' : '';
  if (ahead + urgent.length > 0) {
    const parts = [
      ...(ahead > 0 ? [`${more}${count(ahead, 'job')} of its lane`] : []),
      ...(urgent.length > 0
        ? [`${more}${count(urgent.length, 'more urgent job')} in ${count(lanes, 'lane')}`]
        : []),
    ];
    return reason('line', `In front of it: ${parts.join(' and ')}.`, 'queues list');
  }
  const isBusy = (one: WorkerInfo) => one.concurrency > 0 && one.running >= one.concurrency;
  const busy = listening.length > 0 && listening.every(isBusy);
  if (busy) {
    const running = listening.reduce((sum, one) => sum + one.running, 0);
    const text =
      `${listening.length === 1 ? 'The worker' : `All ${listening.length} workers`} of the queue ` +
      `${queue} ${listening.length === 1 ? 'is' : 'are'} busy with ${count(running, 'job')}.`;
    return reason('workers-busy', text, `jobs list --queue ${queue} --status running`);
  }
  const text = 'It is next in line: a worker takes it within moments.';
  return reason('next', text, `jobs show ${formatJobId(job)}`);
}

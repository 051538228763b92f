/** What the cases of the job port are given: a queue of their own, jobs, and workers by hand. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../test/support/eventually.ts';
import type { JobStatus, NewJob } from '../core/job.ts';
import type { JobSnapshot } from './job-queries.ts';
import type {
  Beater,
  ClaimedJob,
  ClaimRequest,
  Exchange,
  ExchangeResult,
  JobDone,
  JobErrorRecord,
  JobFailure,
  JobRef,
  JobSettlement,
  JobStore,
  JobVerb,
  QueueSettings,
  Recovery,
} from './jobs.ts';
import type { SqlTransaction } from './store.ts';

/** Runs `work` in a transaction of a caller's own connection; committed when it resolves. */
export type CallerTransaction = <T>(work: (tx: SqlTransaction) => Promise<T>) => Promise<T>;

export interface JobCaseContext {
  /** A store that all cases of the suite share; only the names below belong to the case. */
  readonly store: JobStore;
  /** A second instance on the same data, as another process would have it; shared as well. */
  another(): Promise<JobStore>;
  /** Null where the store has no SQL transactions. */
  readonly transaction: CallerTransaction | null;
  readonly queue: string;
  readonly tenant: string;
  readonly t: TestContext;
}

/** Title → test. The titles are what `skip` names. */
export type JobCases = Readonly<Record<string, (context: JobCaseContext) => Promise<void>>>;

/** Looks again so often at most when a claim got nothing. */
const idleMax = 5;

/** Silence after which a worker that is made to die counts as dead. */
const mortalMs = 150;

/** True for an error with that code. */
export const code = (wanted: string) => (error: unknown) =>
  (error as { code?: string }).code === wanted;

/** Two stores on the same data, as two processes have them. */
export async function twoStores({ store, another }: JobCaseContext): Promise<[JobStore, JobStore]> {
  return [store, await another()];
}

/** `count` jobs of the case, numbered from `from` in the payload. */
export function newJobs(
  { queue, tenant }: Pick<JobCaseContext, 'queue' | 'tenant'>,
  count: number,
  { from = 0, ...rest }: Partial<NewJob> & { from?: number } = {},
): NewJob[] {
  return Array.from({ length: count }, (_, i) => ({
    queue,
    tenantId: tenant,
    key: '',
    priority: 0,
    name: 'conformance.job',
    version: 1,
    payloadJson: JSON.stringify({ n: from + i }),
    optionsJson: null,
    delayMs: 0,
    unique: null,
    dependsOn: [],
    onParentFailure: 'wait',
    ...rest,
  }));
}

/** Nothing in it unless said. */
export function newExchange(queue: string, rest: Partial<Exchange> = {}): Exchange {
  const nothing = { epoch: null, settle: null, enqueue: [], claim: null, again: false };
  return { queue, enqueueId: crypto.randomUUID(), ...nothing, ...rest };
}

/** Enqueues plain jobs of one queue, as the hot path does. */
export async function enqueuePlain(store: JobStore, jobs: readonly NewJob[]) {
  const [{ queue } = { queue: 'none' }] = jobs;
  return (await store.exchange(newExchange(queue, { enqueue: jobs }))).enqueued;
}

/** Enqueues jobs of any kind, each with a state row. */
export function enqueueRows(store: JobStore, jobs: readonly NewJob[]) {
  return store.enqueue(jobs, { enqueueId: crypto.randomUUID(), again: false });
}

/** The same, of one job. */
export async function enqueueRow(context: JobCaseContext, rest: Partial<NewJob> = {}, n = 0) {
  const [stored] = await enqueueRows(context.store, newJobs(context, 1, { from: n, ...rest }));
  assert.ok(stored);
  return stored;
}

export const ref = ({ lane, offset }: JobRef): JobRef => ({ lane, offset });
export const idOf = ({ lane, offset }: JobRef) => `${lane}-${offset}`;
export const idsOf = (jobs: readonly JobRef[]) => jobs.map(idOf);
export const byId = (jobs: readonly JobRef[]) => idsOf(jobs).sort();
/** The numbers that `newJobs` gave them. */
export const numbersOf = (jobs: readonly { readonly payloadJson: string }[]) =>
  jobs.map(({ payloadJson }) => (JSON.parse(payloadJson) as { n: number }).n);
export const upTo = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

export const broken: JobErrorRecord = {
  code: 'BROKEN',
  message: 'no such account: \'42\' "x" \\ 🗝',
  stack: 'Error: no such account\n    at handler',
  fingerprint: 'no such account',
};

export const doneWith = (job: ClaimedJob, resultJson: string | null = null): JobDone => ({
  ...ref(job),
  claimNo: job.claimNo,
  exceptional: job.exceptional,
  resultJson,
});

export const failedWith = (job: ClaimedJob, rest: Partial<JobFailure> = {}): JobFailure => ({
  ...ref(job),
  claimNo: job.claimNo,
  exceptional: job.exceptional,
  status: 'retrying',
  delayMs: 0,
  error: rest.counts === false ? null : broken,
  counts: true,
  ...rest,
});

export type JobOutcomes = Partial<JobSettlement>;

export function settlementOf({ done = [], failed = [], released = [] }: JobOutcomes) {
  return { done, failed, released };
}

/** A worker without a loop: each exchange is the case's own. */
export interface TestWorker {
  readonly epoch: number;
  readonly queue: string;
  /** The next claim, with the lanes that are ready now. */
  request(max: number, rest?: Partial<ClaimRequest>): Promise<ClaimRequest>;
  /** One exchange that claims, and settles before that. */
  exchange(
    max: number,
    rest?: Partial<ClaimRequest> & { settle?: JobOutcomes },
  ): Promise<ExchangeResult>;
  /** What such an exchange claims. */
  claim(max: number, rest?: Partial<ClaimRequest>): Promise<readonly ClaimedJob[]>;
  settle(outcomes: JobOutcomes): Promise<ExchangeResult>;
  done(jobs: readonly ClaimedJob[], resultJson?: string | null): Promise<ExchangeResult>;
  fail(job: ClaimedJob, rest?: Partial<JobFailure>): Promise<ExchangeResult>;
}

export async function startWorker(
  store: JobStore,
  queue: string,
  { timeToLiveMs = 120_000 } = {},
): Promise<TestWorker> {
  const workerId = crypto.randomUUID();
  const place = { host: 'conformance', pid: process.pid };
  const epoch = await store.register({ workerId, queues: [queue], timeToLiveMs, ...place });
  let claimNo = 0;
  const request: TestWorker['request'] = async (max, rest = {}) => {
    const lanes = rest.lanes ?? (await store.readyLanes(queue));
    claimNo += 1;
    return { queue, max, lanes, suspects: true, claimNo, ...rest };
  };
  const exchange: TestWorker['exchange'] = async (max, { settle, ...rest } = {}) => {
    const claim = await request(max, rest);
    return store.exchange(
      newExchange(queue, { epoch, claim, settle: settle ? settlementOf(settle) : null }),
    );
  };
  const settle: TestWorker['settle'] = (outcomes) =>
    store.exchange(newExchange(queue, { epoch, settle: settlementOf(outcomes) }));
  return {
    epoch,
    queue,
    request,
    exchange,
    claim: async (max, rest) => (await exchange(max, rest)).claimed,
    settle,
    done: (jobs, resultJson) => settle({ done: jobs.map((job) => doneWith(job, resultJson)) }),
    fail: (job, rest) => settle({ failed: [failedWith(job, rest)] }),
  };
}

/** A worker that will count as dead a moment after its last word. */
export function startMortal(store: JobStore, queue: string): Promise<TestWorker> {
  return startWorker(store, queue, { timeToLiveMs: mortalMs });
}

/** Made as a thread makes it; closed when the case is over. */
export async function openBeater({ store, t }: JobCaseContext): Promise<Beater> {
  const { module, options } = store.beater;
  type BeaterModule = { openBeater(options: unknown): Promise<Beater> };
  const { openBeater: open } = (await import(module)) as BeaterModule;
  const beater = await open(structuredClone(options));
  t.after(() => beater.close());
  return beater;
}

/** Waits until the worker is silent for long enough. */
export async function silence(store: JobStore, { epoch }: TestWorker): Promise<void> {
  await eventually(`epoch ${epoch} is silent`, async () => {
    const known = (await store.workers()).find((worker) => worker.epoch === epoch);
    return known === undefined || !known.alive;
  });
}

/** Lets a mortal worker die; what recovery says about its queue. */
export async function recoverFrom(
  store: JobStore,
  worker: TestWorker,
  crashesMax: number | null = 3,
): Promise<Recovery> {
  await silence(store, worker);
  const recovery = await store.recover({ crashesMax });
  const jobs = recovery.jobs.filter(({ queue }) => queue === worker.queue);
  const own = new Set(idsOf(jobs));
  return {
    workers: recovery.workers,
    jobs,
    quarantined: recovery.quarantined.filter((job) => own.has(idOf(job))),
  };
}

/** One job that somebody claims as soon as there is one. */
export async function claimOne(
  worker: TestWorker,
  rest: Partial<ClaimRequest> = {},
): Promise<ClaimedJob> {
  return eventually('there is a job to claim', async () => (await worker.claim(1, rest))[0]);
}

/** Claims and completes until nothing comes any more; in the order of claiming. */
export async function drain(worker: TestWorker, max = 100): Promise<readonly ClaimedJob[]> {
  const drained: ClaimedJob[] = [];
  for (let idle = 0; idle < idleMax; ) {
    const { claimed, lanesLeft, nextDueMs } = await worker.exchange(max);
    drained.push(...claimed);
    await worker.done(claimed);
    if (claimed.length > 0) continue;
    // A store may pass over what somebody holds for a moment, if it says that there is more.
    const more = lanesLeft.length > 0 || (nextDueMs !== null && nextDueMs <= 20);
    idle = more ? idle + 1 : idleMax;
    if (more) await sleep(nextDueMs ?? 1);
  }
  return drained;
}

export async function findJob(store: JobStore, job: JobRef): Promise<JobSnapshot> {
  const [found] = await store.queries.find([ref(job)]);
  assert.ok(found, `${idOf(job)} is there`);
  return found;
}

export async function statusOf(store: JobStore, job: JobRef): Promise<JobStatus | null> {
  const [found] = await store.queries.find([ref(job)]);
  return found?.status ?? null;
}

export async function statusesOf(store: JobStore, jobs: readonly JobRef[]) {
  const found = await store.queries.find(jobs.map(ref));
  return found.map((job) => job?.status ?? null);
}

/** The counts of the queue that are not zero. */
export async function countsOf(store: JobStore, queue: string): Promise<Record<string, number>> {
  const counts = (await store.queries.counts([queue])).get(queue);
  assert.ok(counts, `${queue} is counted`);
  return Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== 0));
}

export function configure(
  { store, queue }: JobCaseContext,
  settings: Omit<QueueSettings, 'queue'>,
) {
  return store.configure([{ queue, ...settings }]);
}

/** What a verb makes of a state: another one, null for gone; what is left out stays. */
export const verbOutcomes: Readonly<Record<JobVerb, Partial<Record<JobStatus, JobStatus | null>>>> =
  {
    cancel: {
      blocked: 'cancelled',
      delayed: 'cancelled',
      waiting: 'cancelled',
      running: 'cancelled',
      retrying: 'cancelled',
    },
    retry: { dead: 'waiting', cancelled: 'waiting', quarantined: 'waiting' },
    run: { delayed: 'waiting', retrying: 'waiting' },
    remove: {
      blocked: null,
      delayed: null,
      waiting: null,
      retrying: null,
      completed: null,
      dead: null,
      cancelled: null,
      quarantined: null,
    },
  };

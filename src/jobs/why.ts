/**
 * Why a job is where it is, in words: what holds it up, and the command that clears it. Asked by
 * people through `jobs.why(id)`, the API and the command line; it only reads.
 *
 * The first reason is what must change for the job to go on; further ones hold it up as well.
 */
import { formatJobId, type JobRef } from '../core/job.ts';
import type { JobSnapshot } from '../ports/job-queries.ts';
import type { WorkerInfo } from '../ports/jobs.ts';
import { count, placeOf, type Reason, reason, type Why, type WhyStore } from './reason.ts';
import { explainWaiting } from './why-waiting.ts';

/** Null when there is no such job. */
export async function explainJob(store: WhyStore, ref: JobRef): Promise<Why | null> {
  const [job] = await store.queries.find([ref]);
  if (!job) return null;
  const reasons = await reasonsOf(store, job);
  return { id: formatJobId(job), status: job.status, reasons };
}

async function reasonsOf(store: WhyStore, job: JobSnapshot): Promise<Why['reasons']> {
  const id = formatJobId(job);
  switch (job.status) {
    case 'completed':
      return [reason('completed', `It completed ${at(job.finishedAt)}${afterTries(job)}.`)];
    case 'dead':
      return [
        reason(
          'dead',
          `It failed for good ${at(job.finishedAt)}${afterTries(job)}: ${errorOf(job)}`,
          `jobs retry ${id}`,
        ),
      ];
    case 'quarantined':
      return [
        reason(
          'quarantined',
          `${count(job.crashes, 'worker')} died while running it, so it runs no more by itself.`,
          `jobs retry ${id}`,
        ),
      ];
    case 'cancelled':
      return explainCancelled(store, job);
    case 'running':
      return explainRunning(store, job);
    case 'delayed':
    case 'retrying':
      return isDue(job) ? explainWaiting(store, job) : [explainLater(job)];
    case 'blocked':
      return explainBlocked(store, job);
    case 'waiting':
      return explainWaiting(store, job);
  }
}

async function explainCancelled(store: WhyStore, job: JobSnapshot): Promise<Why['reasons']> {
  const id = formatJobId(job);
  const cause = job.error === null ? '' : `: ${errorOf(job)}`;
  const cancelled = reason(
    'cancelled',
    `It was cancelled ${at(job.finishedAt)}${cause}${cause === '' ? '.' : ''}`,
    `jobs retry ${id}`,
  );
  const worker = await holderOf(store, job);
  if (worker === undefined) return [cancelled];
  const text = `Its handler on ${placeOf(worker)} was told to stop and has not let go of it yet.`;
  return [cancelled, reason('letting-go', text, 'workers list')];
}

async function explainRunning(store: WhyStore, job: JobSnapshot): Promise<Why['reasons']> {
  const id = formatJobId(job);
  const worker = await holderOf(store, job);
  const since = `It runs since ${job.startedAt ?? 'a moment ago'}, try ${job.failures + 1}`;
  if (worker === undefined) {
    return [reason('running', `${since}; its worker has just gone.`, `jobs show ${id}`)];
  }
  const running = reason('running', `${since}, on ${placeOf(worker)}.`, `jobs cancel ${id}`);
  if (worker.alive) return [running];
  const text =
    `Its worker is silent since ${worker.heartbeatAt}; ` +
    'the next live worker takes its jobs over and runs them again.';
  return [reason('worker-silent', text, 'workers list'), running];
}

function explainLater(job: JobSnapshot): Reason {
  const id = formatJobId(job);
  if (job.status === 'delayed') {
    return reason('delayed', `It is not to run before ${job.runAt}.`, `jobs run ${id}`);
  }
  const { error, name, queue, runAt, failures } = job;
  if (error?.code === 'JOB_UNKNOWN') {
    const text =
      `No handler named ${name} works on the queue ${queue}: start a process whose ` +
      `jobs.work(…) includes it. It is offered again at ${runAt}.`;
    return reason('no-handler', text, 'workers list');
  }
  if (error === null) {
    return reason('retrying', `Its handler put it off until ${runAt}.`, `jobs run ${id}`);
  }
  const text = `It waits until ${runAt} for try ${failures + 1}. Last error: ${errorOf(job)}`;
  return reason('retrying', text, `jobs run ${id}`);
}

async function explainBlocked(store: WhyStore, job: JobSnapshot): Promise<Why['reasons']> {
  const id = formatJobId(job);
  const parents = await store.queries.find(job.waitsFor);
  const reasons = job.waitsFor.map((ref, i) => explainParent(id, ref, parents[i] ?? null));
  // Who can be helped first: a failed parent stays failed until somebody acts.
  const [first, ...rest] = [
    ...reasons.filter(({ kind }) => kind !== 'parent'),
    ...reasons.filter(({ kind }) => kind === 'parent'),
  ];
  if (first) return [first, ...rest];
  const text = 'The jobs it waited for are over; it will go on in a moment.';
  return [reason('parent', text, `jobs show ${id}`)];
}

function explainParent(child: string, ref: JobRef, parent: JobSnapshot | null): Reason {
  const id = formatJobId(ref);
  if (parent === null) {
    const text = `It waits for job ${id}, which was removed before it completed.`;
    return reason('parent-gone', text, `jobs cancel ${child}`);
  }
  const text = `It waits for job ${id} (${parent.name}), which is ${parent.status}.`;
  const failed = ['dead', 'cancelled', 'quarantined'].includes(parent.status);
  return failed
    ? reason('parent-failed', text, `jobs retry ${id}`)
    : reason('parent', text, `jobs why ${id}`);
}

async function holderOf(store: WhyStore, { epoch }: JobSnapshot): Promise<WorkerInfo | undefined> {
  if (epoch === null) return undefined;
  return (await store.workers()).find((worker) => worker.epoch === epoch);
}

/** A job that became due waits, though its row says otherwise until the next claim. */
function isDue({ runAt }: JobSnapshot): boolean {
  return runAt !== null && Date.parse(runAt) <= Date.now();
}

function at(time: string | null): string {
  return time === null ? 'some time ago' : `at ${time}`;
}

function afterTries({ failures }: JobSnapshot): string {
  return failures === 0 ? '' : ` after ${count(failures, 'failed try').replace('trys', 'tries')}`;
}

function errorOf({ error }: JobSnapshot): string {
  if (error === null) return 'no error was recorded.';
  const code = error.code === null ? '' : ` [${error.code}]`;
  return `${error.message}${code}`;
}

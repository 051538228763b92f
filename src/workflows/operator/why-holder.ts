/**
 * Who works on a run: the process that holds it, or the job by which it waits for one. A run that
 * is neither held nor resting waits in its queue; what keeps its job there keeps the run.
 */
import { formatJobId, type JobStatus } from '../../core/job.ts';
import { placeOf } from '../../jobs/reason.ts';
import { explainJob } from '../../jobs/why.ts';
import type { JobSnapshot } from '../../ports/job-queries.ts';
import type { WorkerInfo } from '../../ports/jobs.ts';
import type { RunSummary } from '../../ports/workflow-queries.ts';
import { type RunReason, type RunReasonKind, runReason, workflowOf } from './reason.ts';
import type { Known, RunWhyStore } from './why.ts';

export interface HolderReasons {
  /** What somebody must act upon. */
  readonly trouble: readonly RunReason[];
  readonly held: readonly RunReason[];
}

const jobsMax = 1_000;
const openStatuses: readonly JobStatus[] = [
  'running',
  'waiting',
  'retrying',
  'delayed',
  'quarantined',
  'dead',
  'cancelled',
];

export async function explainHolder(store: RunWhyStore, known: Known): Promise<HolderReasons> {
  const { run } = known;
  if (run.resting && !isDue(known)) return { trouble: [], held: [] };
  const workers = await store.jobs.workers();
  if (run.epoch !== null) return explainEpoch(known, run.epoch, workers);
  const job = await findJob(store, known);
  if (job === null) return explainNoJob(known, workers);
  if (job.status === 'running') {
    const worker = workers.find(({ epoch }) => epoch === job.epoch);
    if (worker?.alive) return { trouble: [], held: [heldBy(known, worker)] };
  }
  return { trouble: await explainQueued(store, known, job, workers), held: [] };
}

function isDue({ run, nowMs }: Known): boolean {
  return run.wakeAt !== null && run.wakeAt <= nowMs;
}

function explainEpoch(known: Known, epoch: number, workers: readonly WorkerInfo[]): HolderReasons {
  const worker = workers.find((one) => one.epoch === epoch);
  if (worker?.alive) return { trouble: [], held: [heldBy(known, worker)] };
  const workflow = workflowOf(known.run);
  if (worker === undefined) {
    const text =
      `The process that held it is gone (epoch ${epoch}); the next one that works on ` +
      `${workflow} takes it over.`;
    return {
      trouble: [runReason('holder-gone', text, 'workers list'), ...nobody(known, workers)],
      held: [],
    };
  }
  const text =
    `The process that holds it (${placeOf(worker)}) is silent since ${worker.heartbeatAt}; ` +
    'another one takes the run over when it is declared dead.';
  return {
    trouble: [runReason('holder-silent', text, 'workers list'), ...nobody(known, workers)],
    held: [],
  };
}

function heldBy({ run }: Known, worker: WorkerInfo): RunReason {
  const text = `It is held by ${placeOf(worker)}, worker ${worker.workerId}.`;
  return runReason('held', text, `workflow steps ${run.runId}`);
}

function nobody({ run }: Known, workers: readonly WorkerInfo[]): RunReason[] {
  if (workers.some(({ alive, queues }) => alive && queues.includes(run.queue))) return [];
  return [noWorker(run.queue, workflowOf(run))];
}

function noWorker(queue: string, workflow: string): RunReason {
  const text =
    `No process works on the queue ${queue}: start one that has the workflow ${workflow}, ` +
    'such as `millrace workflow work --definitions <file>`.';
  return runReason('job-no-worker', text, 'workflow work --definitions <file>');
}

function explainNoJob(known: Known, workers: readonly WorkerInfo[]): HolderReasons {
  const { run } = known;
  const alone = nobody(known, workers);
  if (alone.length > 0) return { trouble: alone, held: [] };
  const text = `It is about to be taken by a process that works on ${run.queue}.`;
  return { trouble: [], held: [runReason('job-next', text, `workflow show ${run.runId}`)] };
}

/** The reasons of its job in the words of runs. */
async function explainQueued(
  store: RunWhyStore,
  known: Known,
  job: JobSnapshot,
  workers: readonly WorkerInfo[],
): Promise<RunReason[]> {
  const { run } = known;
  const id = formatJobId(job);
  const why = await explainJob(store.jobs, job);
  const workflow = workflowOf(run);
  return (why?.reasons ?? []).map(({ kind, text, command }): RunReason => {
    const said: RunReasonKind = `job-${kind}`;
    const where = `Its job ${id} in ${run.queue} is ${job.status}`;
    const other = runReason(said, `${where}: ${text}`, command);
    switch (kind) {
      case 'no-worker':
        return nobody(known, workers)[0] ?? noWorker(run.queue, workflow);
      case 'no-handler':
        return noVersion(run, text);
      case 'retrying':
        return wasPutOff(job) ? noVersion(run, `It is offered again at ${job.runAt}.`) : other;
      case 'quarantined': {
        const crashed =
          `${job.crashes} processes died while they held it (job ${id}), ` +
          'so nobody takes it any more by itself.';
        return runReason(said, crashed, `jobs retry ${id}`);
      }
      default:
        return other;
    }
  });
}

function noVersion(run: RunSummary, more: string): RunReason {
  const text =
    `Those who work on the queue ${run.queue} do not have ${workflowOf(run)}: ` +
    `start a process with this version of it. ${more}`;
  return runReason('job-no-handler', text, 'workflow work --definitions <file>');
}

const momentMs = 1_000;

/** For longer than a moment the job of a run is put off only by who does not know its workflow. */
function wasPutOff({ error, startedAt, runAt }: JobSnapshot): boolean {
  if (error?.code !== 'JOB_OUTCOME' || startedAt === null || runAt === null) return false;
  return Date.parse(runAt) - Date.parse(startedAt) > momentMs;
}

/** Jobs of runs carry the run's id in their payload, under the name of its workflow. */
async function findJob({ jobs }: RunWhyStore, { run }: Known): Promise<JobSnapshot | null> {
  const { queue, jobName, tenantId, runId } = run;
  for (const status of openStatuses) {
    const filter = { queue, name: jobName, tenantId, status };
    let after: string | null = null;
    for (let looked = 0; looked < jobsMax; ) {
      const page = await jobs.queries.list(filter, { limit: 500, after });
      const found = page.jobs.find(({ payloadJson }) => payloadJson.includes(runId));
      if (found) return found;
      looked += Math.max(page.jobs.length, 100);
      after = page.next;
      if (after === null) break;
    }
  }
  return null;
}

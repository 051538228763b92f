/**
 * What people do to jobs and queues by hand, and what retention removes. Verbs take the locks of
 * claims and settlements, so each sees a job in one state and leaves it in one; a chunk at a time,
 * so that nobody waits for long.
 */
import type pg from 'pg';
import { formatJobId, type JobRef } from '../../../core/job.ts';
import type { JobStore, JobVerb, Limits, QueueState, WorkerInfo } from '../../../ports/jobs.ts';
import type { Database, Statement } from '../connection.ts';
import { patiently } from '../patiently.ts';
import { sql } from '../statements.ts';
import { pruneJobs } from './retention.ts';
import { refParameters } from './snapshots.ts';

/** Jobs of one transaction: a claim waits for its locks about 20 ms at most. */
const chunkMax = 500;

/** `unfinished`, for a removal: it had not come to an end, and who waits for it must know. */
interface Changed extends JobRef {
  readonly unfinished: boolean;
}

type Send = <Row extends unknown[]>(statement: Statement, values: unknown[]) => Promise<Row[]>;

export function createChanges(
  database: Database,
): Pick<JobStore, 'change' | 'prune' | 'workers' | 'queues'> {
  return {
    async change(verb, jobs) {
      const changed = new Set<string>();
      for (const chunk of chunksOf(jobs)) {
        const done = await patiently(() =>
          database.transaction((client) => apply(senderOf(client), verb, chunk)),
        );
        for (const job of done) changed.add(formatJobId(job));
      }
      return distinct(jobs).filter((job) => changed.has(formatJobId(job)));
    },
    prune: (options) => pruneJobs(database, options),
    async workers() {
      return (await database.rows<WorkerRow>(sql.jobWorkers)).map(toWorkerInfo);
    },
    async queues() {
      return (await database.rows<QueueRow>(sql.jobQueues)).map(toQueueState);
    },
  };
}

async function apply(send: Send, verb: JobVerb, jobs: readonly JobRef[]): Promise<Changed[]> {
  const ask = async (statement: Statement) => {
    const rows = await send<[number, number, boolean?]>(statement, refParameters(jobs));
    return rows.map(([lane, offset, unfinished = false]) => ({ lane, offset, unfinished }));
  };
  switch (verb) {
    case 'cancel': {
      await hold(send, jobs);
      const cancelled = await ask(sql.jobCancel);
      await failParents(send, cancelled);
      return cancelled;
    }
    case 'retry':
      await send(sql.jobChangeTurn, [jobs.map(({ lane }) => lane)]);
      await send(sql.jobRetryLocks, refParameters(jobs));
      return ask(sql.jobRetry);
    case 'run':
      return ask(sql.jobRun);
    case 'remove': {
      await hold(send, jobs);
      const removed = await ask(sql.jobRemovable);
      await failParents(
        send,
        removed.filter(({ unfinished }) => unfinished),
      );
      await send(sql.jobErase, refParameters(removed));
      return removed;
    }
  }
}

/** Nobody claims, settles or recovers these jobs until the end of the transaction. */
async function hold(send: Send, jobs: readonly JobRef[]): Promise<void> {
  const parameters = refParameters(jobs);
  await send(sql.jobChangeTurn, [parameters[0]]);
  await send(sql.jobChangeUncounted, parameters);
  await send(sql.jobChangeLocks, parameters);
  await send(sql.jobChangeRows, parameters);
  await send(sql.jobChangeQueues, [parameters[0]]);
}

async function failParents(send: Send, jobs: readonly JobRef[]): Promise<void> {
  if (jobs.length > 0) await send(sql.jobFailParents, refParameters(jobs));
}

function senderOf(client: pg.ClientBase): Send {
  return async <Row extends unknown[]>(statement: Statement, values: unknown[]) =>
    (await client.query({ ...statement, values, rowMode: 'array' })).rows as unknown as Row[];
}

/** By lane and offset, each once: two callers can then never wait for each other in a circle. */
function* chunksOf(jobs: readonly JobRef[]): Generator<readonly JobRef[]> {
  const sorted = distinct(jobs).sort((a, b) => a.lane - b.lane || a.offset - b.offset);
  for (let from = 0; from < sorted.length; from += chunkMax) {
    yield sorted.slice(from, from + chunkMax);
  }
}

function distinct(jobs: readonly JobRef[]): JobRef[] {
  return [
    ...new Map(
      jobs.map(({ lane, offset }) => [formatJobId({ lane, offset }), { lane, offset }]),
    ).values(),
  ];
}

type WorkerRow = [
  epoch: number,
  workerId: string,
  queues: string[],
  startedAt: string,
  heartbeatAt: string,
  alive: boolean,
  running: number,
  concurrency: number,
  host: string,
  pid: number,
];

function toWorkerInfo(row: WorkerRow): WorkerInfo {
  const [epoch, workerId, queues, startedAt, heartbeatAt, alive] = row;
  const [running, concurrency, host, pid] = [row[6], row[7], row[8], row[9]];
  const who = { epoch, workerId, queues, startedAt, heartbeatAt, alive };
  return { ...who, running, concurrency, host, pid };
}

type QueueRow = [
  queue: string,
  pausedAt: string | null,
  concurrency: number | null,
  rateMax: number | null,
  ratePerMs: number | null,
  keyConcurrency: number | null,
  keyRateMax: number | null,
  keyRatePerMs: number | null,
  lengthMax: number | null,
];

function toQueueState(row: QueueRow): QueueState & { readonly pausedAt: string | null } {
  const [queue, pausedAt, concurrency, max, perMs, keyConcurrency, keyMax, keyPerMs, lengthMax] =
    row;
  return {
    queue,
    paused: pausedAt !== null,
    pausedAt,
    limits: toLimits(concurrency, max, perMs),
    keyLimits: toLimits(keyConcurrency, keyMax, keyPerMs),
    lengthMax,
  };
}

function toLimits(
  concurrency: number | null,
  max: number | null,
  perMs: number | null,
): Limits | null {
  if (concurrency === null && max === null) return null;
  return {
    ...(concurrency !== null && { concurrency }),
    ...(max !== null && perMs !== null && { rate: { max, perMs } }),
  };
}

/** Rows of job-find.sql as snapshots: the one place where a job is read from the database. */
import type { JobRef, JobStatus } from '../../../core/job.ts';
import type { JobSnapshot } from '../../../ports/job-queries.ts';
import type { JobErrorRecord } from '../../../ports/jobs.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';

type SnapshotRow = [
  n: number,
  lane: number,
  offset: number,
  queue: string,
  tenantId: string,
  key: string,
  priority: number,
  name: string,
  version: number,
  payload: string,
  options: string | null,
  status: JobStatus,
  failures: number,
  crashes: number,
  enqueuedAt: string,
  runAt: string | null,
  startedAt: string | null,
  finishedAt: string | null,
  epoch: number | null,
  error: string | null,
  result: string | null,
  progress: string | null,
  uniqueKey: string | null,
  waitsFor: string | null,
];

/** Null for each that is not there, in the order asked. */
export async function findJobs(
  rows: Database['rows'],
  refs: readonly JobRef[],
): Promise<(JobSnapshot | null)[]> {
  const jobs = new Array<JobSnapshot | null>(refs.length).fill(null);
  if (refs.length === 0) return jobs;
  const found = await rows<SnapshotRow>(sql.jobFind, refParameters(refs));
  for (const row of found) jobs[row[0] - 1] = toSnapshot(row);
  return jobs;
}

/** Lanes and offsets, as every statement about certain jobs takes them. */
export function refParameters(refs: readonly JobRef[]): [lanes: number[], offsets: number[]] {
  return [refs.map(({ lane }) => lane), refs.map(({ offset }) => offset)];
}

function toSnapshot(row: SnapshotRow): JobSnapshot {
  const [, lane, offset, queue, tenantId, key, priority, name, version, payloadJson] = row;
  const waitsFor = row[23] === null ? [] : (JSON.parse(row[23]) as [number, number][]);
  return {
    lane,
    offset,
    queue,
    tenantId,
    key,
    priority,
    name,
    version,
    payloadJson,
    optionsJson: row[10],
    status: row[11],
    failures: row[12],
    crashes: row[13],
    enqueuedAt: row[14],
    runAt: row[15],
    startedAt: row[16],
    finishedAt: row[17],
    epoch: row[18],
    error: row[19] === null ? null : toError(row[19]),
    resultJson: row[20],
    progressJson: row[21],
    uniqueKey: row[22],
    waitsFor: waitsFor.map(([parent, at]) => ({ lane: parent, offset: at })),
  };
}

/** What SQL functions write themselves has no stack. */
function toError(text: string): JobErrorRecord {
  const { code, message, stack, fingerprint } = JSON.parse(text) as Partial<JobErrorRecord>;
  return {
    code: code ?? null,
    message: message ?? 'unknown',
    stack: stack ?? null,
    fingerprint: fingerprint ?? 'unknown',
  };
}

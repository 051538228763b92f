/** Jobs as find.lua and list.lua show them, as snapshots. */
import { type JobStatus, parseJobId } from '../../core/job.ts';
import type { JobSnapshot } from '../../ports/job-queries.ts';
import type { JobErrorRecord } from '../../ports/jobs.ts';
import { parseRecord } from './records.ts';

/** '' stands for nothing. Numbers may come as text. */
export type SnapshotReply = [
  lane: number,
  offset: number,
  tenantId: string,
  key: string,
  priority: number,
  record: string,
  status: JobStatus,
  failures: number,
  crashes: number,
  enqueuedAt: number,
  orderedBy: number | '',
  startedAt: number | string,
  finishedAt: number | string,
  epoch: string,
  error: string,
  result: string,
  progress: string,
  uniqueKey: string,
  parents: string,
  isUnique: number,
];

export function toSnapshot(reply: SnapshotReply, queue: string): JobSnapshot {
  const [lane, offset, tenantId, key, priority, record, status, failures, crashes] = reply;
  const [, , , , , , , , , enqueuedAt, orderedBy, startedAt, finishedAt, epoch] = reply;
  const [error, result, progress, uniqueKey, parents, isUnique] = reply.slice(14) as [
    string,
    string,
    string,
    string,
    string,
    number,
  ];
  const isDue = status === 'delayed' || status === 'retrying';
  return {
    lane,
    offset,
    queue,
    tenantId,
    key,
    priority,
    ...parseRecord(record),
    status,
    failures,
    crashes,
    enqueuedAt: new Date(enqueuedAt).toISOString(),
    runAt: isDue ? toTime(orderedBy) : null,
    startedAt: toTime(startedAt),
    finishedAt: toTime(finishedAt),
    epoch: epoch === '' ? null : Number(epoch),
    error: error === '' ? null : (JSON.parse(error) as JobErrorRecord),
    resultJson: textOrNull(result),
    progressJson: textOrNull(progress),
    uniqueKey: isUnique === 1 ? uniqueKey : null,
    waitsFor: parents === '' ? [] : parents.split(' ').map(parseJobId),
  };
}

function toTime(ms: number | string): string | null {
  return ms === '' || Number(ms) === 0 ? null : new Date(Number(ms)).toISOString();
}

const textOrNull = (text: string): string | null => (text === '' ? null : text);

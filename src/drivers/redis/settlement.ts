/**
 * A settlement as arguments of a script: what completed as ranges, the rest one by one. Called for
 * every exchange, so the usual case (plain jobs done in order) builds no object per job.
 */
import { formatJobId } from '../../core/job.ts';
import type { ClaimedJob, JobDone, JobRef, JobSettlement } from '../../ports/jobs.ts';
import type { Arguments } from './connection.ts';

export function settlementArguments(settlement: JobSettlement): Arguments {
  const { done, failed, released } = settlement;
  const plain = done.every(({ exceptional }) => !exceptional)
    ? done
    : done.filter(({ exceptional }) => !exceptional);
  const ranges = rangesOf(plain);
  const results = done.filter(({ resultJson }) => resultJson !== null);
  const rows = plain === done ? [] : done.filter(({ exceptional }) => exceptional);
  const args: (string | number)[] = [ranges.length / 4, ...ranges, results.length];
  for (const job of results) args.push(formatJobId(job), job.resultJson as string);
  args.push(rows.length + failed.length + released.length);
  for (const { lane, offset, claimNo } of rows) {
    args.push(lane, offset, claimNo, 'completed', 0, '', '', '');
  }
  for (const { lane, offset, claimNo, status, delayMs, counts, error } of failed) {
    const errorJson = error === null ? '' : JSON.stringify(error);
    const times = [Math.max(0, Math.ceil(delayMs)), counts ? '1' : ''] as const;
    args.push(lane, offset, claimNo, status, ...times, errorJson, error?.fingerprint ?? '');
  }
  for (const job of released) {
    args.push(job.lane, job.offset, claimOf(job), 'released', 0, '', '', '');
  }
  return args;
}

/** Claim, lane, first and last offset of each range; ascending in each claim and lane. */
function rangesOf(done: readonly JobDone[]): number[] {
  const ranges: number[] = [];
  let previous: JobDone | undefined;
  for (const job of inOrder(done)) {
    const follows =
      previous?.lane === job.lane &&
      previous.offset + 1 === job.offset &&
      previous.claimNo === job.claimNo;
    if (follows) ranges[ranges.length - 1] = job.offset;
    else ranges.push(job.claimNo, job.lane, job.offset, job.offset);
    previous = job;
  }
  return ranges;
}

/** Sorted by lane and offset; the list itself when it is already. */
function inOrder(jobs: readonly JobDone[]): readonly JobDone[] {
  for (let i = 1; i < jobs.length; i += 1) {
    const before = jobs[i - 1] as JobDone;
    const job = jobs[i] as JobDone;
    if (before.lane > job.lane || (before.lane === job.lane && before.offset > job.offset)) {
      return [...jobs].sort((a, b) => a.lane - b.lane || a.offset - b.offset);
    }
  }
  return jobs;
}

/** Mostly it is a claimed job as it came, which says its claim; '' when it is a bare reference. */
function claimOf(job: JobRef & Partial<ClaimedJob>): number | '' {
  return job.claimNo ?? '';
}

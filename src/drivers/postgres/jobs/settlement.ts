/**
 * A settlement as parameters of settle_jobs: what completed as ranges, what did not as rows.
 * Called for every exchange, so the usual case (plain jobs done in order) builds no object per job.
 */
import type { JobDone, JobRef, JobSettlement } from '../../../ports/jobs.ts';
import { bigintArray, intArray, oid, textArray } from '../array-writer.ts';

export interface AckRanges {
  readonly lanes: number[];
  readonly first: number[];
  readonly last: number[];
}

/** Ranges that never reach over the end of a claim: recovery subtracts them claim by claim. */
export function ackRanges(done: readonly JobDone[]): AckRanges {
  const ranges: AckRanges = { lanes: [], first: [], last: [] };
  let plain = done;
  for (const job of done) {
    if (job.exceptional) {
      plain = done.filter(({ exceptional }) => !exceptional);
      break;
    }
  }
  let at = -1;
  let previous: JobDone | undefined;
  for (const job of inOrder(plain)) {
    const follows =
      previous?.lane === job.lane &&
      previous.offset + 1 === job.offset &&
      previous.claimNo === job.claimNo;
    if (!follows) {
      at += 1;
      ranges.lanes.push(job.lane);
      ranges.first.push(job.offset);
    }
    ranges.last[at] = job.offset;
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

interface SettledRow {
  readonly l: number;
  readonly o: number;
  /** Number of its claim; null where it is not known. */
  readonly n: number | null;
  readonly s: string;
  readonly d: number;
  readonly e: unknown;
  readonly f: string | null;
  readonly c: boolean;
}

/** Everything that needs a state row, as JSON; null when nothing does. */
function rowsOf({ done, failed, released }: JobSettlement): string | null {
  const rows: SettledRow[] = [];
  for (const { lane, offset, claimNo, exceptional } of done) {
    if (exceptional) {
      rows.push(rowOf({ lane, offset, claimNo }, 'completed'));
    }
  }
  for (const { lane, offset, claimNo, status, delayMs, error, counts } of failed) {
    const f = error?.fingerprint ?? null;
    const base = rowOf({ lane, offset, claimNo }, status);
    rows.push({ ...base, d: delayMs, e: error, f, c: counts });
  }
  for (const ref of released) rows.push(rowOf(ref, 'released'));
  return rows.length === 0 ? null : JSON.stringify(rows);
}

function rowOf({ lane, offset, claimNo }: JobRef & { claimNo?: number }, s: string): SettledRow {
  return { l: lane, o: offset, n: claimNo ?? null, s, d: 0, e: null, f: null, c: false };
}

const nothing = [null, null, null, null, null, null, null] as const;

/** Parameters 3 to 9 of settle_jobs: ranges, results, rows. */
export function settleParameters(settlement: JobSettlement | null): readonly unknown[] {
  if (settlement === null) return nothing;
  const { lanes, first, last } = ackRanges(settlement.done);
  const acks =
    lanes.length === 0
      ? [null, null, null]
      : [intArray(lanes), bigintArray(first), bigintArray(last)];
  return [...acks, ...resultParameters(settlement.done), rowsOf(settlement)];
}

function resultParameters(done: readonly JobDone[]): readonly unknown[] {
  const results = done.filter(({ resultJson }) => resultJson !== null);
  if (results.length === 0) return [null, null, null];
  return [
    intArray(results.map(({ lane }) => lane)),
    bigintArray(results.map(({ offset }) => offset)),
    textArray(
      oid.json,
      results.map(({ resultJson }) => resultJson),
      64,
    ),
  ];
}

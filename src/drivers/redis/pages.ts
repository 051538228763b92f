/**
 * Pages of jobs by filter: queue by queue in the order of their names, each as list.lua orders it.
 *
 * Invariant: a page costs a bounded number of scripts, each of which looks at a bounded number of
 * jobs. When the filter passes few of them, a page is short and `next` goes on.
 */
import { MillraceError } from '../../core/errors.ts';
import { jobStatuses } from '../../core/job.ts';
import type { JobFilter, JobPage, JobSnapshot } from '../../ports/job-queries.ts';
import type { Context } from './context.ts';
import { knownQueues } from './queues.ts';
import { scripts } from './scripts.ts';
import { type SnapshotReply, toSnapshot } from './snapshots.ts';

const limitMax = 1_000;
const scriptsMax = 10;
/** Stands for every key: '' is one that can be asked for. */
const anyKey = '\u0001';

interface Cursor {
  readonly queue: string;
  readonly lane: string;
  readonly offset: string;
  readonly time: string;
}

type Reply = [lane: string, offset: string, time: string, end: number, found: SnapshotReply[]];

export async function listJobs(
  context: Context,
  filter: JobFilter,
  { limit, after }: { readonly limit: number; readonly after: string | null },
): Promise<JobPage> {
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= limitMax)) {
    throw invalid(`limit is ${limit}, not a whole number from 1 to ${limitMax}.`);
  }
  const wanted = filterArguments(filter);
  const queues = filter.queue === undefined ? await knownQueues(context) : [filter.queue];
  let cursor = after === null ? null : readCursor(after);
  let at = cursor === null ? 0 : queues.findIndex((queue) => queue >= (cursor as Cursor).queue);
  const jobs: JobSnapshot[] = [];
  for (let runs = 0; at >= 0 && at < queues.length; runs += 1) {
    const queue = queues[at] as string;
    if (runs === scriptsMax) return { jobs, next: writeCursor(cursor ?? startOf(queue)) };
    const { lane, offset, time } = cursor?.queue === queue ? cursor : startOf(queue);
    const args = [...wanted, limit - jobs.length, lane, offset, time];
    const base = context.keys.queue(queue);
    const reply = await context.redis.run<Reply>(scripts.list, base, args);
    jobs.push(...reply[4].map((found) => toSnapshot(found, queue)));
    cursor = { queue, lane: reply[0], offset: reply[1], time: reply[2] };
    if (reply[3] === 1) {
      at += 1;
      cursor = at < queues.length ? startOf(queues[at] as string) : null;
    }
    if (jobs.length >= limit) break;
  }
  return { jobs, next: cursor === null ? null : writeCursor(cursor) };
}

const startOf = (queue: string): Cursor => ({ queue, lane: '', offset: '', time: '' });

function filterArguments(filter: JobFilter): (string | number)[] {
  const { status, name = '', tenantId = '', key, fingerprint = '', from, to } = filter;
  if (status !== undefined && !jobStatuses.includes(status)) {
    throw invalid(`status is '${status}'; it can be ${jobStatuses.join(', ')}.`);
  }
  const times = [timeOf(from, 'from'), timeOf(to, 'to')];
  return [status ?? '', name, tenantId, fingerprint, key ?? anyKey, ...times];
}

function timeOf(value: string | undefined, name: string): number | '' {
  if (value === undefined) return '';
  const time = Date.parse(value);
  if (!Number.isNaN(time)) return time;
  throw invalid(`${name} is '${value}', not an ISO 8601 time.`);
}

function writeCursor({ queue, lane, offset, time }: Cursor): string {
  return Buffer.from(JSON.stringify([queue, lane, offset, time])).toString('base64url');
}

function readCursor(text: string): Cursor {
  try {
    const parts = JSON.parse(Buffer.from(text, 'base64url').toString()) as string[];
    const [queue, lane, offset, time] = parts as [string, string, string, string];
    const numbers = [lane, offset, time].every((part) => /^\d{0,16}$/.test(part));
    if (parts.length === 4 && typeof queue === 'string' && numbers) {
      return { queue, lane, offset, time };
    }
  } catch {
    // Not even ours: refused below.
  }
  throw invalid(`'${text}' is not the 'next' of an earlier page of the same filter.`);
}

function invalid(message: string): MillraceError {
  return new MillraceError('REQUEST_INVALID', message);
}

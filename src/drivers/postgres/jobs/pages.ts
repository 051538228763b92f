/**
 * Pages of jobs by filter. Each status has its own source of candidates, in an order of its own
 * that no job changes while it keeps the status; the snapshots are read afterwards.
 *
 * Invariant: a page costs a bounded number of rows. A source that must look at jobs which the
 * filter does not want gives up after `scanMax` of them: such a page is short, and `next` goes on.
 */
import { MillraceError } from '../../../core/errors.ts';
import { type JobRef, type JobStatus, jobStatuses } from '../../../core/job.ts';
import type { JobFilter, JobPage, JobSnapshot } from '../../../ports/job-queries.ts';
import type { Database, Statement } from '../connection.ts';
import { sql } from '../statements.ts';
import { findJobs } from './snapshots.ts';

type CandidateRow = [lane: number, offset: number, matches: boolean, first?: number | string];

/** Where a page ended: lane and offset, behind the first column of the order if it has another. */
type Cursor = readonly [first: number | string | null, lane: number, offset: number];

interface Source {
  readonly statement: Statement;
  /** Whether the order has a first column before lane and offset, and of which type. */
  readonly first: 'time' | 'priority' | null;
  /** Begins before everything. */
  readonly start: readonly (number | string | null)[];
  /** Parameters behind the cursor. */
  readonly more: readonly unknown[];
}

const limitMax = 1_000;
const stretchRows = 1_000;
const scanMax = 20_000;
const everyLane = 2_147_483_647;
const everyOffset = '9223372036854775807';
const leastPriority = -2_147_483_648;

/** Sends one statement of the page's transaction. */
type Ask = <Row extends unknown[]>(statement: Statement, values: unknown[]) => Promise<Row[]>;

/**
 * Every source reads an index in its order and stops at the limit. While a table has grown and is
 * not analysed yet, the planner thinks a lane is short and would rather sort all of it: 600 ms
 * instead of 3 with 200,000 jobs waiting. Without bitmaps the order of the index is always cheaper.
 */
const inOrder = 'set local enable_bitmapscan = off';

export async function listJobs(
  database: Pick<Database, 'transaction'>,
  filter: JobFilter,
  { limit, after }: { readonly limit: number; readonly after: string | null },
): Promise<JobPage> {
  if (!(Number.isInteger(limit) && limit >= 1 && limit <= limitMax)) {
    throw invalid(`limit is ${limit}, not a whole number from 1 to ${limitMax}.`);
  }
  const source = sourceOf(filter);
  const { found, next } = await database.transaction(async (client) => {
    await client.query(inOrder);
    const ask: Ask = async <Row extends unknown[]>(statement: Statement, values: unknown[]) =>
      (await client.query({ ...statement, values, rowMode: 'array' })).rows as unknown as Row[];
    const page = await collect(ask, { source, filter, limit, after });
    return { found: await findJobs(ask, page.refs), next: page.next };
  });
  const { status } = filter;
  const jobs = found.filter(
    (job): job is JobSnapshot => job !== null && (status === undefined || job.status === status),
  );
  return { jobs, next };
}

interface PageRequest {
  readonly source: Source;
  readonly filter: JobFilter;
  readonly limit: number;
  readonly after: string | null;
}

async function collect(
  ask: Ask,
  { source, filter, limit, after }: PageRequest,
): Promise<{ refs: readonly JobRef[]; next: string | null }> {
  const wanted = filterParameters(filter);
  const refs: JobRef[] = [];
  let cursor: Cursor | null = after === null ? null : readCursor(after, source);
  let scanned = 0;
  for (let stretch = limit + 1; scanned < scanMax; stretch = Math.max(limit + 1, stretchRows)) {
    // Without a name: planned for these parameters, so that filters not given cost nothing.
    const found = await ask<CandidateRow>({ text: source.statement.text }, [
      ...wanted,
      stretch,
      ...(cursor === null ? source.start : cursorParameters(cursor, source)),
      ...source.more,
    ]);
    for (const [lane, offset, matches, first] of found) {
      if (matches && refs.length === limit) return { refs, next: writeCursor(cursor) };
      if (matches) refs.push({ lane, offset });
      cursor = [first ?? null, lane, offset];
    }
    if (found.length < stretch) return { refs, next: null };
    scanned += found.length;
  }
  return { refs, next: writeCursor(cursor) };
}

const over: ReadonlySet<JobStatus> = new Set(['dead', 'cancelled', 'quarantined']);

function sourceOf(filter: JobFilter): Source {
  const { status } = filter;
  const fingerprint = filter.fingerprint ?? null;
  if (status !== undefined && !jobStatuses.includes(status)) {
    throw invalid(`status is '${status}'; it can be ${jobStatuses.join(', ')}.`);
  }
  if (status !== undefined && over.has(status)) {
    const start = [null, everyLane, everyOffset];
    return { statement: sql.jobListOver, first: 'time', start, more: [status, fingerprint] };
  }
  const newest = { first: null, start: [everyLane, everyOffset] };
  if (fingerprint !== null) {
    return { statement: sql.jobListRows, ...newest, more: [status ?? null, fingerprint] };
  }
  switch (status) {
    case undefined:
      return { statement: sql.jobListStored, ...newest, more: [] };
    case 'completed':
      return { statement: sql.jobListCompleted, ...newest, more: [] };
    case 'waiting': {
      const start = [leastPriority, 0, 0];
      return { statement: sql.jobListWaiting, first: 'priority', start, more: [] };
    }
    case 'running':
      return { statement: sql.jobListRunning, first: 'time', start: [null, 0, 0], more: [] };
    default:
      return { statement: sql.jobListRows, ...newest, more: [status, null] };
  }
}

/** Parameters 1 to 6 of every source. */
function filterParameters({ queue, tenantId, key, name, from, to }: JobFilter): unknown[] {
  return [
    queue ?? null,
    tenantId ?? null,
    key ?? null,
    name ?? null,
    from === undefined ? null : checkTime(from, 'from'),
    to === undefined ? null : checkTime(to, 'to'),
  ];
}

function cursorParameters([first, lane, offset]: Cursor, source: Source) {
  return source.first === null ? [lane, offset] : [first, lane, offset];
}

function writeCursor(cursor: Cursor | null): string | null {
  if (cursor === null) return null;
  return Buffer.from(JSON.stringify(cursor)).toString('base64url');
}

function readCursor(text: string, { first: kind }: Source): Cursor {
  try {
    const cursor = JSON.parse(Buffer.from(text, 'base64url').toString()) as Cursor;
    const [first, lane, offset] = cursor;
    const numbers = [lane, offset, ...(kind === 'priority' ? [first] : [])];
    const time = kind !== 'time' || (typeof first === 'string' && /^[\d :.+-]{10,40}$/.test(first));
    if (cursor.length === 3 && time && numbers.every(Number.isSafeInteger)) return cursor;
  } catch {
    // Not even ours: refused below.
  }
  throw invalid(`'${text}' is not the 'next' of an earlier page of the same filter.`);
}

function checkTime(value: string, name: string): string {
  const time = Date.parse(value);
  if (!Number.isNaN(time)) return new Date(time).toISOString();
  throw invalid(`${name} is '${value}', not an ISO 8601 time.`);
}

function invalid(message: string): MillraceError {
  return new MillraceError('REQUEST_INVALID', message);
}

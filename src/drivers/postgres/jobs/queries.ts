/**
 * Looking at jobs on Postgres. What a plain job's state is follows from its lane: beyond the last
 * claim it waits, in an acknowledged range it is completed, in between it runs. A state row, where
 * there is one, says otherwise.
 */
import { jobStatuses } from '../../../core/job.ts';
import type { JobCounts, JobQueries } from '../../../ports/job-queries.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';
import { listJobs } from './pages.ts';
import { findJobs, refParameters } from './snapshots.ts';

type CountRow = [queue: string, ...counts: number[]];

/** In the order of the columns of job-counts.sql. */
const countColumns = [
  'completed',
  'waiting',
  'running',
  'delayed',
  'retrying',
  'blocked',
  'dead',
  'cancelled',
  'quarantined',
] as const satisfies (typeof jobStatuses)[number][];

export function createQueries(database: Database): JobQueries {
  const { rows } = database;
  return {
    find: (refs) => findJobs(rows, refs),
    list: (filter, page) => listJobs(database, filter, page),
    async counts(queues) {
      const found = await rows<CountRow>(sql.jobCounts, [queues ?? null]);
      return new Map(found.map(([queue, ...counts]) => [queue, toCounts(counts)]));
    },
    async results(refs) {
      if (refs.length === 0) return [];
      const found = await rows<[string | null]>(sql.jobResults, refParameters(refs));
      return found.map(([result]) => result);
    },
  };
}

function toCounts(counts: readonly number[]): JobCounts {
  const entries = jobStatuses.map((status) => [status, counts[countColumns.indexOf(status)] ?? 0]);
  return Object.fromEntries(entries) as JobCounts;
}

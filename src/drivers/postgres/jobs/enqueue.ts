/** Jobs with a state row: delayed, unique, dependent, or in a caller's own transaction. */
import { MillraceError } from '../../../core/errors.ts';
import type { JobStore, NewJob } from '../../../ports/jobs.ts';
import { type Database, translate } from '../connection.ts';
import { sql } from '../statements.ts';

type EnqueuedRow = [lane: number, offset: number, duplicate: boolean];

export function createEnqueue(database: Database): JobStore['enqueue'] {
  /** Queue and tenant of lanes that are there. */
  const made = new Set<string>();
  const makeLanes = async (jobs: readonly NewJob[]) => {
    const missing = jobs.filter((job) => !made.has(laneName(job)));
    if (missing.length === 0) return;
    const queues = missing.map(({ queue }) => queue);
    await database.rows(sql.rowLanes, [queues, missing.map(({ tenantId }) => tenantId)]);
    for (const job of missing) made.add(laneName(job));
  };
  return async (jobs, { enqueueId, again, tx }) => {
    if (jobs.length === 0) return [];
    const text = JSON.stringify(jobs);
    await makeLanes(jobs);
    if (tx) {
      type Row = { lane_id: number; offset: string | number; duplicate: boolean };
      const rows = await tx
        .query<Row>(sql.enqueueJobs.text, [text, null])
        .catch((error) => refuse(error));
      // The caller's own client may parse bigint as text.
      return rows.map(({ lane_id, offset, duplicate }) => ({
        lane: lane_id,
        offset: Number(offset),
        duplicate,
      }));
    }
    const attempt = () =>
      database.rows<EnqueuedRow>(sql.enqueueJobs, [text, enqueueId]).catch(refuse);
    // Two tries of one call may meet: the second finds what the first has stored by then.
    const rows = await attempt().catch((error) => {
      if (again && (error as { code?: string }).code === '23505') return attempt();
      throw error;
    });
    if (jobs.some(({ dependsOn }) => dependsOn.length > 0)) await database.rows(sql.countParents);
    return rows.map(([lane, offset, duplicate]) => ({ lane, offset, duplicate }));
  };
}

const laneName = ({ queue, tenantId }: NewJob) => `${queue}\u0001${tenantId}`;

/** A taken unique key, with the job that has it. */
function refuse(error: unknown): never {
  const { code, detail, message } = error as { code?: string; detail?: string; message?: string };
  if (code === 'MR006') {
    throw new MillraceError('JOB_DUPLICATE', message ?? 'The unique key is taken.', {
      details: { id: detail },
      cause: error,
    });
  }
  throw translate(error);
}

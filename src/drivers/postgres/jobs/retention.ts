/**
 * Removes jobs that came to an end before the retention: of a lane everything from its first job
 * up to the first that is unfinished or too young, of the others their rows. Bounded, so that it
 * can be called often and never holds anybody up.
 */
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';

interface PruneOptions {
  readonly olderThanMs: number;
  readonly limit: number;
}

/** Lanes found by one statement. */
const lanesMax = 100;

export async function pruneJobs(database: Database, options: PruneOptions): Promise<number> {
  const { olderThanMs, limit } = options;
  let removed = 0;
  let lane = 0;
  while (removed < limit) {
    const found = await database.rows<[number]>(sql.jobPruneLanes, [
      olderThanMs,
      limit,
      lane,
      lanesMax,
    ]);
    for ([lane] of found) {
      removed += await pruneLane(database, lane, { olderThanMs, limit: limit - removed });
      if (removed >= limit) break;
    }
    if (found.length < lanesMax) break;
  }
  if (removed < limit) {
    const [row] = await database.rows<[number]>(sql.jobPruneRows, [olderThanMs, limit - removed]);
    removed += row?.[0] ?? 0;
  }
  await database.rows(sql.jobPruneEnqueues, [limit]);
  await database.rows(sql.jobPrunePermits, [limit]);
  return removed;
}

/** What may go was found without a lock; under the lock, which a retry takes too, it is so. */
async function pruneLane(
  database: Database,
  lane: number,
  { olderThanMs, limit }: PruneOptions,
): Promise<number> {
  return database.transaction(async (client) => {
    const ask = async <Row extends unknown[]>(text: string, values: unknown[]) => {
      const { rows } = await client.query({ text, values, rowMode: 'array' });
      return rows as unknown as Row[];
    };
    await ask(sql.jobPruneLock.text, [lane]);
    type End = [first: number | null, last: number | null, head: number | null];
    const [end] = await ask<End>(sql.jobPruneEnd.text, [lane, olderThanMs, limit]);
    const [first, last, head] = end ?? [null, null, null];
    let removed = 0;
    if (first !== null && last !== null && last >= first) {
      const [row] = await ask<[number]>(sql.jobPruneRange.text, [lane, first, last]);
      removed = row?.[0] ?? 0;
    }
    if (head !== null) {
      await ask(sql.jobErase.text, [[lane], [head]]);
      removed += 1;
    }
    return removed;
  });
}

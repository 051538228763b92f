/** Runs that nobody holds: woken in time, taken from the dead, pruned in the end. */
import type { WorkflowStore } from '../../../ports/workflows.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';
import type { RunAnnouncer } from './run-announcer.ts';

/** Runs recovered or pruned in one transaction. */
const batch = 2_000;

export function createLifecycle(
  database: Database,
  announcer: RunAnnouncer,
): Pick<WorkflowStore, 'hold' | 'wakeDue' | 'recover' | 'prune'> {
  return {
    async hold(epoch) {
      await database.rows(sql.holdRuns, [epoch]);
    },
    async wakeDue(limit) {
      type Row = {
        runs: number;
        next_ms: number | null;
        woken: string[] | null;
        told: string[] | null;
      };
      const [row] = await database.records<Row>(sql.wakeRuns, [limit]);
      const { runs, next_ms: nextDueMs, woken, told } = row as Row;
      announcer.tell(told);
      return { runs, nextDueMs, woken: woken ?? [] };
    },
    async recover() {
      type Row = { runs: number; more: boolean; woken: string[] | null };
      const queues = new Set<string>();
      let recovered = 0;
      for (let more = true; more; ) {
        const [row] = await database.records<Row>(sql.recoverRuns, [batch]);
        const found = row as Row;
        for (const queue of found.woken ?? []) queues.add(queue);
        recovered += found.runs;
        more = found.more;
      }
      return { runs: recovered, woken: [...queues] };
    },
    async prune({ olderThanMs, limit }) {
      let pruned = 0;
      for (let found = batch; found === batch && pruned < limit; ) {
        const most = Math.min(batch, limit - pruned);
        const [row] = await database.rows<[number]>(sql.pruneRuns, [olderThanMs, most]);
        found = (row as [number])[0];
        pruned += found;
      }
      return pruned;
    },
  };
}

/** Runs that wait in their queues for long get more urgent, so that none waits for ever. */
import type { WorkflowStore } from '../../../ports/workflows.ts';
import type { Database } from '../connection.ts';
import { sql } from '../statements.ts';

export function createAgeing(database: Database): Pick<WorkflowStore, 'age'> {
  return {
    async age({ queues, everyMs, limit }) {
      type Row = [queue: string, jobs: number];
      const rows = await database.rows<Row>(sql.ageRuns, [everyMs, [...queues], limit]);
      return rows.reduce((sum, [, jobs]) => sum + jobs, 0);
    },
  };
}

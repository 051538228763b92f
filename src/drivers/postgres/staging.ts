/** Events staged in a caller's own transaction, and the sequencer that appends them afterwards. */
import type { StagingStore } from '../../ports/store.ts';
import { intArray } from './array-writer.ts';
import type { Database } from './connection.ts';
import { eventColumns } from './event-columns.ts';
import { sql } from './statements.ts';

export function createStaging(database: Database): StagingStore {
  /** Transactions older than this are finished, and what they staged has been moved. */
  let floor = '0';
  return {
    async stage(tx, events) {
      if (events.length === 0) return;
      const partitions = intArray(events.map(({ partition }) => partition));
      await tx.query(sql.stage.text, [partitions, ...eventColumns(events)]);
    },
    async sequence(limit) {
      const [row] = await database.rows<[number, string, number[]]>(sql.sequence, [floor, limit]);
      const [moved, next, partitions] = row as [number, string, number[]];
      floor = next;
      return { moved, partitions };
    },
  };
}

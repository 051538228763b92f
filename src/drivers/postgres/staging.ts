/** Events staged in a caller's own transaction, and the sequencer that appends them afterwards. */
import type { StagingStore } from '../../ports/store.ts';
import { intArray } from './array-writer.ts';
import type { Database } from './connection.ts';
import { eventColumns } from './event-columns.ts';
import { sql } from './statements.ts';

export function createStaging(database: Database): StagingStore {
  /** Transactions older than this are finished, and what they staged has been moved. */
  let floor = '0';
  /** When the server started that said so. */
  let serverStart = '';
  return {
    async stage(tx, events) {
      if (events.length === 0) return;
      const partitions = intArray(events.map(({ partition }) => partition));
      await tx.query(sql.stage.text, [partitions, ...eventColumns(events)]);
    },
    async sequence(limit) {
      type Row = [moved: number, floor: string, partitions: number[], start: string];
      const [row] = await database.rows<Row>(sql.sequence, [floor, limit, serverStart]);
      const [moved, next, partitions, start] = row as Row;
      [floor, serverStart] = [next, start];
      return { moved, partitions };
    },
  };
}

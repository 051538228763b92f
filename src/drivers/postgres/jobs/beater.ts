/**
 * Says that a worker lives, over a connection of its own. The heartbeat's thread imports this file
 * and calls `openBeater`, both as `JobStore.beater` names them.
 */
import type { Beater } from '../../../ports/jobs.ts';
import { openDatabase } from '../connection.ts';
import { sql } from '../statements.ts';

export interface BeaterOptions {
  readonly url: string;
}

type BeatRow = [alive: boolean, lanes: number[], offsets: number[]];

export async function openBeater({ url }: BeaterOptions): Promise<Beater> {
  // One beat is under way at a time, so it never has more than one connection.
  const database = openDatabase({ url, connectionsMax: 1, role: 'millrace_worker' });
  return {
    async beat(epoch, { running, concurrency, oldestClaimNo }) {
      const values = [epoch, running, concurrency, oldestClaimNo];
      const [row] = await database.rows<BeatRow>(sql.beatWorker, values);
      const [alive, lanes, offsets] = row as BeatRow;
      const cancelled = lanes.map((lane, i) => ({ lane, offset: offsets[i] as number }));
      return { alive, cancelled };
    },
    close: () => database.close(),
  };
}

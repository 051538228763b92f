/**
 * Retention of the log on Postgres: a function that runs as the schema's owner removes a range of
 * one partition in one short transaction; nobody else may delete from the log.
 */
import type { LogHold, RetentionStore } from '../../ports/retention.ts';
import type { Database } from './connection.ts';
import { sql } from './statements.ts';

type Trimmed = [
  removed: number,
  more: boolean,
  reason: LogHold['reason'] | null,
  group: string,
  offset: number,
];

export function createRetention({ rows }: Database, partitions: number): RetentionStore {
  return {
    async mark(everyMs) {
      await rows(sql.markLog, [partitions, everyMs]);
    },
    async trim({ olderThanMs, limit }) {
      const holds: LogHold[] = [];
      let removed = 0;
      let more = false;
      for (const [partition] of await rows<[number]>(sql.logAged, [olderThanMs])) {
        if (removed >= limit) return { removed, more: true, holds };
        const left = limit - removed;
        const [row] = await rows<Trimmed>(sql.trimLog, [partition, olderThanMs, left]);
        const [count, unfinished, reason, group, offset] = row as Trimmed;
        removed += count;
        more ||= unfinished;
        if (reason !== null) holds.push({ partition, reason, group, offset });
      }
      return { removed, more, holds };
    },
    async starts() {
      const found = await rows<[number]>(sql.logStarts, [partitions]);
      return found.map(([first]) => first);
    },
  };
}

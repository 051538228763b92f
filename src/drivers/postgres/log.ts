/**
 * The log on Postgres: append under the partition's advisory lock, read by range. The rule of the
 * hot path holds here: inserts only, the head is the maximum of the primary key.
 */
import { MillraceError } from '../../core/errors.ts';
import { isTypePattern } from '../../core/event-pattern.ts';
import type { LogStore, Position, RoutedEvent } from '../../ports/store.ts';
import { intArray } from './array-writer.ts';
import type { Database } from './connection.ts';
import { eventColumns } from './event-columns.ts';
import { likePattern } from './like-pattern.ts';
import { type EventRow, toStoredEvent } from './rows.ts';
import { sql } from './statements.ts';

/** Events sorted by partition, with what append_events needs to cut them up. */
export interface PartitionedBatch {
  readonly events: readonly RoutedEvent[];
  readonly partitions: readonly number[];
  readonly counts: readonly number[];
  /** Index in the caller's order of each sorted event; null when the order is the same. */
  readonly order: readonly number[] | null;
}

/** Ascending partitions: two appenders can then never wait for each other in a circle. */
export function byPartition(events: readonly RoutedEvent[]): PartitionedBatch {
  const first = events[0]?.partition ?? 0;
  if (events.every((event) => event.partition === first)) {
    return { events, partitions: [first], counts: [events.length], order: null };
  }
  const order = events
    .map((_, i) => i)
    .sort(
      (a, b) =>
        (events[a] as RoutedEvent).partition - (events[b] as RoutedEvent).partition || a - b,
    );
  const sorted = order.map((i) => events[i] as RoutedEvent);
  const counts = new Map<number, number>();
  for (const { partition } of sorted) counts.set(partition, (counts.get(partition) ?? 0) + 1);
  return { events: sorted, partitions: [...counts.keys()], counts: [...counts.values()], order };
}

/** Parameters of append_events and append_events_once. */
export function appendParameters(batch: PartitionedBatch): unknown[] {
  return [intArray(batch.partitions), intArray(batch.counts), ...eventColumns(batch.events)];
}

/** Positions in the caller's order, from the first offset of each partition. */
export function positionsFrom(batch: PartitionedBatch, first: readonly number[]): Position[] {
  const positions = new Array<Position>(batch.events.length);
  let i = 0;
  for (const [p, partition] of batch.partitions.entries()) {
    for (let n = 0; n < (batch.counts[p] as number); n += 1, i += 1) {
      const offset = (first[p] as number) + n;
      positions[batch.order?.[i] ?? i] = { partition, offset, duplicate: false };
    }
  }
  return positions;
}

export function createLog(database: Database, partitions: number): LogStore {
  return {
    async append(events, { once }) {
      if (events.length === 0) return [];
      const batch = byPartition(events);
      const parameters = appendParameters(batch);
      if (once) return appendOnce(database, batch, parameters);
      try {
        const [row] = await database.rows<[number[]]>(sql.append, parameters);
        return positionsFrom(batch, (row as [number[]])[0]);
      } catch (error) {
        throw asConflict(error);
      }
    },

    async read({ partition, after, limit, types }) {
      const span = Math.min(limit * 16, 65_536);
      const patterns = types?.filter(isTypePattern) ?? [];
      const rows = await database.rows<[number | null, ...EventRow]>(sql.read, [
        partition,
        after,
        limit,
        types,
        after + span,
        patterns.map(likePattern),
      ]);
      const head = rows[0]?.[0] ?? 0;
      const events = rows
        .filter((row) => row[2] !== null)
        .map((row) => toStoredEvent(row.slice(1) as EventRow));
      const last = events.at(-1);
      const scannedTo =
        events.length === limit && last
          ? last.offset
          : Math.max(after, Math.min(after + span, head));
      if (events.length > 0 || scannedTo >= head) {
        return { events, scannedTo, atHead: scannedTo >= head };
      }
      // Nothing in all that: it may have been removed. Asked here only, so that reading what is
      // there costs no more than before.
      const [start] = await database.rows<[number]>(sql.logStart, [partition]);
      return { events, scannedTo: Math.max(scannedTo, (start?.[0] ?? 1) - 1), atHead: false };
    },

    async heads() {
      const rows = await database.rows<[number, number]>(sql.heads, [partitions]);
      return rows.map(([, offset]) => offset);
    },
  };
}

async function appendOnce(
  database: Database,
  batch: PartitionedBatch,
  parameters: unknown[],
): Promise<readonly Position[]> {
  const attempt = () =>
    database.rows<[number, number, number, boolean]>(sql.appendOnce, parameters);
  // Another appender may store one of the ids between the look and the insert; look again then.
  let rows = await attempt().catch((error) => {
    if ((error as { code?: string }).code === '23505') return attempt();
    throw error;
  });
  // A known one was removed by the retention between the look and the answer: it is new again.
  if (rows.length < batch.events.length) rows = await attempt();
  const positions = new Array<Position>(batch.events.length);
  const seen = new Set<string>();
  for (const [n, partition, offset, stored] of rows) {
    const place = `${partition}/${offset}`;
    // The same id twice in one batch is stored once, too.
    const duplicate = stored || seen.has(place);
    seen.add(place);
    positions[batch.order?.[n - 1] ?? n - 1] = { partition, offset, duplicate };
  }
  return positions;
}

function asConflict(error: unknown): unknown {
  if ((error as { code?: string }).code !== '23505') return error;
  return new MillraceError('STORE_CONFLICT', 'An event with one of these ids is stored already.', {
    cause: error,
    retryable: true,
    fix: 'Append again with once: true; the stored events are found then.',
  });
}

/**
 * Groups, leases and settlements on Postgres. A settlement without effects is one statement; with
 * effects it is a transaction that the handlers wrote into first.
 */
import type { CursorState, KeyRef, Lease, StreamStore } from '../../ports/streams.ts';
import type { Database } from './connection.ts';
import { createGroupDesk } from './groups.ts';
import { beginSettlement, sender, settleBatch } from './settlement.ts';
import { sql } from './statements.ts';

export function createStreams(database: Database, partitions: number): StreamStore {
  const { rows } = database;
  return {
    async registerGroup({ group, eventTypes, from }) {
      await rows(sql.registerGroup, [group, eventTypes, from === 'end', partitions]);
    },
    async heartbeat({ workerId, groups }, timeToLiveMs) {
      const live = await rows<[string, string[]]>(sql.heartbeat, [workerId, groups, timeToLiveMs]);
      return live.map(([id, names]) => ({ workerId: id, groups: names }));
    },
    async retire(workerId) {
      await rows(sql.retire, [workerId]);
    },
    async leases(groups, timeToLiveMs) {
      const found = await rows<[string, number, number, string | null, boolean]>(sql.leases, [
        groups,
        timeToLiveMs,
        partitions,
      ]);
      return found.map(
        ([group, partition, epoch, workerId, ownerAlive]): Lease => ({
          group,
          partition,
          epoch,
          workerId,
          ownerAlive,
        }),
      );
    },
    async takeLease({ group, partition, seenEpoch, workerId }) {
      const taken = await rows(sql.takeLease, [group, partition, seenEpoch + 1, workerId]);
      return taken.length === 1;
    },
    async releaseLease({ group, partition, epoch }) {
      await rows(sql.releaseLease, [group, partition, epoch + 1]);
    },
    async openCursor({ group, partition }): Promise<CursorState> {
      const [cursor] = await rows<[number, number, number[]]>(sql.openCursor, [group, partition]);
      const [seq, position, ahead] = cursor ?? [0, 0, []];
      const keys = await rows<[string, string]>(sql.blockedKeys, [group, partition]);
      const blocked = keys.map(([tenantId, key]): KeyRef => ({ tenantId, key }));
      return { seq, position, ahead, blocked };
    },
    async settle(settlement) {
      const plain = settlement.failures.length === 0 && settlement.resolved.length === 0;
      if (plain) return settleBatch(database.rows, settlement);
      return database.transaction(async (client) => {
        await sender(client)(sql.settling);
        return settleBatch(sender(client), settlement);
      });
    },
    begin: () => beginSettlement(database),
    async positions(groups) {
      const found = await rows<[string, number, number]>(sql.positions, [groups, partitions]);
      return found.map(([group, partition, position]) => ({ group, partition, position }));
    },
    ...createGroupDesk(database, partitions),
    async prune(limit) {
      const { pool } = database;
      let removed = 0;
      for (const statement of [sql.pruneCursors, sql.pruneLeases]) {
        removed += (await pool.query({ ...statement, values: [limit] })).rowCount ?? 0;
      }
      await pool.query(sql.pruneWorkers);
      return removed;
    },
  };
}

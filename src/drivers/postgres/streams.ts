/**
 * Groups, leases and settlements on Postgres. A settlement without effects is one statement; with
 * effects it is a transaction that the handlers wrote into first.
 */
import type pg from 'pg';
import { MillraceError } from '../../core/errors.ts';
import { placeAt, type SqlTransaction } from '../../ports/store.ts';
import type {
  CursorState,
  KeyRef,
  Lease,
  Settlement,
  SettlementTransaction,
  SettleResult,
  StreamStore,
} from '../../ports/streams.ts';
import {
  answerMsMax,
  type Database,
  type Statement,
  translate,
  type Values,
} from './connection.ts';
import { appendParameters, byPartition, positionsFrom } from './log.ts';
import { sql } from './statements.ts';

/** Sends one statement and answers with its rows as arrays. */
type Send = <Row extends unknown[]>(statement: Statement, values?: Values) => Promise<Row[]>;

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

function sender(client: pg.ClientBase): Send {
  return async <Row extends unknown[]>(statement: Statement, values: Values = []) => {
    try {
      const query = {
        ...statement,
        values: [...values],
        rowMode: 'array' as const,
        query_timeout: answerMsMax,
      };
      return (await client.query(query)).rows as unknown as Row[];
    } catch (error) {
      throw translate(error);
    }
  };
}

/** Failures first: their lock is the rarer one; the append lock is held for the shortest time. */
async function settleBatch(send: Send, settlement: Settlement): Promise<SettleResult> {
  const { group, partition, epoch, seq, position, ahead, events, failures, resolved } = settlement;
  const cursor = [group, partition, epoch, seq, position, ahead.length > 0 ? ahead : null];
  let keys: SettleResult['keys'] = [];
  if (failures.length > 0 || resolved.length > 0) {
    const touched = await send<[string, string, boolean]>(sql.settleFailures, [
      group,
      partition,
      failuresJson(settlement),
      resolved,
    ]);
    keys = touched.map(([tenantId, key, blocked]) => ({ tenantId, key, blocked }));
  }
  if (events.length === 0) {
    await send(sql.settleCursor, cursor);
    return { appended: [], keys };
  }
  const batch = byPartition(events);
  const [row] = await send<[unknown, number[]]>(sql.settle, [
    ...cursor,
    ...appendParameters(batch),
  ]);
  const positions = positionsFrom(batch, (row as [unknown, number[]])[1]);
  const appended = events.map(({ event }, i) => {
    const at = positions[i] as { partition: number; offset: number };
    return placeAt(at.partition, at.offset, event);
  });
  return { appended, keys };
}

function failuresJson({ failures }: Settlement): string {
  return JSON.stringify(
    failures.map(({ event, ...failure }) => ({
      offset: event.offset,
      event_id: event.eventId,
      event_type: event.eventType,
      tenant_id: event.tenantId,
      key: event.key,
      status: failure.status,
      attempts: failure.attempts,
      delay_ms: failure.delayMs,
      reason: failure.reason,
      error_code: failure.errorCode,
      fingerprint: failure.fingerprint,
      detail: failure.detail,
    })),
  );
}

async function beginSettlement(database: Database): Promise<SettlementTransaction> {
  const { client, release } = await database.hold();
  const send = sender(client);
  let tenant: string | null = null;
  let open = true;
  let marks = 0;
  // Closed before the last statement is sent: what a slow handler sends after it would run outside
  // the transaction, or, once the connection is back in the pool, in somebody else's.
  const whileOpen: Send = (statement, values) => {
    if (!open) throw closed();
    return send(statement, values);
  };
  const rollback = async () => {
    if (!open) return;
    open = false;
    await send({ text: 'rollback' }).then(
      () => release(),
      () => release(true),
    );
  };
  const handle: SqlTransaction = {
    async query<Row>(text: string, values: Values = []) {
      if (!open) throw closed();
      return (await client.query(text, [...values])).rows as Row[];
    },
  };
  await send({ text: 'begin isolation level read committed' }).catch((error) => {
    release(true);
    throw error;
  });
  return {
    async forTenant(tenantId) {
      if (!open) throw closed();
      if (tenant !== tenantId) {
        if (tenant !== null) await whileOpen(sql.leaveTenant);
        await whileOpen(sql.enterTenant, [tenantId]);
        tenant = tenantId;
      }
      return handle;
    },
    async savepoint() {
      const name = `millrace_${++marks}`;
      await whileOpen({ text: `savepoint ${name}` });
      const before = tenant;
      return {
        release: async () => void (await whileOpen({ text: `release savepoint ${name}` })),
        // Settings return to what they were at the savepoint, the role and tenant among them.
        rollback: async () => {
          await whileOpen({ text: `rollback to savepoint ${name}` });
          tenant = before;
        },
      };
    },
    async settle(settlement) {
      try {
        await whileOpen(sql.settling);
        const result = await settleBatch(whileOpen, settlement);
        const committed = whileOpen({ text: 'commit' });
        open = false;
        await committed.catch((error) => {
          release(error instanceof MillraceError); // else a deferred constraint
          throw error;
        });
        release();
        return result;
      } catch (error) {
        await rollback();
        throw error;
      }
    },
    rollback,
  };
}

function closed(): MillraceError {
  return new MillraceError('HANDLER_FAILED', 'The transaction of this batch has ended.', {
    fix: 'Await every query before the handler returns; do not keep the transaction.',
  });
}

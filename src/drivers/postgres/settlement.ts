/**
 * One settlement: cursor, follow-up events and failures in one transaction, alone or after effects
 * that handlers wrote into the same one.
 */
import type pg from 'pg';
import { MillraceError } from '../../core/errors.ts';
import { placeAt, type SqlTransaction } from '../../ports/store.ts';
import type { Settlement, SettlementTransaction, SettleResult } from '../../ports/streams.ts';
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

export function sender(client: pg.ClientBase): Send {
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
export async function settleBatch(send: Send, settlement: Settlement): Promise<SettleResult> {
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

/** A transaction that handlers write into before it is settled. */
export async function beginSettlement(database: Database): Promise<SettlementTransaction> {
  const { client, release } = await database.hold();
  const begun = sender(client)({ text: 'begin isolation level read committed' });
  await begun.catch((error) => refuse(error, release));
  return new OpenSettlement(client, release);
}

class OpenSettlement implements SettlementTransaction {
  readonly #client: pg.ClientBase;
  readonly #release: (broken?: boolean) => void;
  readonly #sendAlways: Send;
  readonly #handle: SqlTransaction;
  #tenant: string | null = null;
  #marks = 0;
  /**
   * False before the last statement is sent: what a slow handler sends after it would run outside
   * the transaction, or, once the connection is back in the pool, in somebody else's.
   */
  #open = true;

  constructor(client: pg.ClientBase, release: (broken?: boolean) => void) {
    this.#client = client;
    this.#release = release;
    this.#sendAlways = sender(client);
    this.#handle = {
      query: async <Row>(text: string, values: Values = []) => {
        this.#assertOpen();
        return (await this.#client.query(text, [...values])).rows as Row[];
      },
    };
  }

  async forTenant(tenantId: string): Promise<SqlTransaction> {
    this.#assertOpen();
    if (this.#tenant !== tenantId) {
      if (this.#tenant !== null) await this.#send(sql.leaveTenant);
      await this.#send(sql.enterTenant, [tenantId]);
      this.#tenant = tenantId;
    }
    return this.#handle;
  }

  async savepoint(): ReturnType<SettlementTransaction['savepoint']> {
    const name = `millrace_${++this.#marks}`;
    await this.#send({ text: `savepoint ${name}` });
    const before = this.#tenant;
    return {
      release: async () => void (await this.#send({ text: `release savepoint ${name}` })),
      // Settings return to what they were at the savepoint, the role and tenant among them.
      rollback: async () => {
        await this.#send({ text: `rollback to savepoint ${name}` });
        this.#tenant = before;
      },
    };
  }

  async settle(settlement: Settlement): Promise<SettleResult> {
    try {
      await this.#send(sql.settling);
      const result = await settleBatch(this.#send, settlement);
      const committed = this.#send({ text: 'commit' });
      this.#open = false;
      await committed.then(
        () => this.#release(),
        (error) => refuse(error, this.#release),
      );
      return result;
    } catch (error) {
      await this.rollback();
      throw error;
    }
  }

  async rollback(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#sendAlways({ text: 'rollback' }).then(
      () => this.#release(),
      () => this.#release(true),
    );
  }

  readonly #send: Send = (statement, values) => {
    this.#assertOpen();
    return this.#sendAlways(statement, values);
  };

  #assertOpen(): void {
    if (!this.#open) throw closed();
  }
}

/** Gives the connection back unless the error is of its own; a deferred constraint is not. */
function refuse(error: unknown, release: (broken: boolean) => void): never {
  release(error instanceof MillraceError);
  throw error;
}

function closed(): MillraceError {
  return new MillraceError('HANDLER_FAILED', 'The transaction of this batch has ended.', {
    fix: 'Await every query before the handler returns; do not keep the transaction.',
  });
}

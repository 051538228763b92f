/**
 * A handler's own transaction as a tenant, on a connection of its own. What it was opened for is
 * settled by the last statement before its commit, in the worker's role again.
 */
import type pg from 'pg';
import { isMillraceError, MillraceError } from '../../core/errors.ts';
import type { SqlTransaction } from '../../core/sql-transaction.ts';
import {
  type Database,
  type HeldConnection,
  type Statement,
  translate,
  type Values,
} from './connection.ts';
import { sql } from './statements.ts';

export type SendInTransaction = <Row>(statement: Statement, values?: Values) => Promise<Row[]>;

/** A question that is answered true when a row is there that only one settlement writes. */
export type Witness = readonly [statement: Statement, values: Values];

/** invalid_parameter_value, as pg_xact_status says it. */
const numberInTheFuture = '22023';

export class TenantTransaction {
  readonly tx: SqlTransaction;
  readonly #client: pg.ClientBase;
  readonly #release: (broken?: boolean) => void;
  readonly #database: Database;
  /** False from the settlement on: a query that a handler forgot to await must not join it. */
  #open = true;
  #ended = false;

  private constructor(database: Database, { client, release }: HeldConnection) {
    this.#database = database;
    this.#client = client;
    this.#release = release;
    this.tx = {
      query: async <Row>(text: string, values: Values = []) => {
        if (!this.#open) throw closed();
        return (await client.query(text, [...values])).rows as Row[];
      },
    };
  }

  static async begin(database: Database, tenantId: string): Promise<TenantTransaction> {
    const transaction = new TenantTransaction(database, await database.hold());
    try {
      await transaction.#send({ text: 'begin isolation level read committed' });
      await transaction.#send(sql.enterTenant, [tenantId]);
    } catch (error) {
      await transaction.rollback();
      throw error;
    }
    return transaction;
  }

  /**
   * `settle` sends what belongs to the commit and answers with the transaction's number. When the
   * connection is lost during the commit, the witness says what became of it; null: nobody does.
   */
  async commit(
    settle: (send: SendInTransaction) => Promise<string>,
    witness: Witness | null,
  ): Promise<void> {
    if (!this.#open) throw closed();
    this.#open = false;
    let number: string;
    try {
      await this.#send(sql.leaveTenantToSettle);
      number = await settle(this.#send);
    } catch (error) {
      await this.rollback();
      throw error;
    }
    this.#ended = true;
    try {
      const { command } = await this.#client.query('commit');
      this.#release();
      if (command === 'ROLLBACK') throw undone();
    } catch (error) {
      if (error instanceof MillraceError) throw error;
      this.#release(true);
      const known = translate(error);
      if (!isAway(known) || !(await this.#wasCommitted(number, witness))) throw known;
    }
  }

  /**
   * Asks until the transaction is over, then for what it wrote. Its number alone proves nothing: a
   * server that crashed gives numbers again that it had not written down, and another transaction
   * has committed under this one (seen each time after a SIGKILL, and one job of 3,000 lost by it).
   */
  async #wasCommitted(number: string, witness: Witness | null): Promise<boolean> {
    if (witness === null) return false;
    for (let delayMs = 10; ; delayMs = Math.min(delayMs * 2, 1_000)) {
      try {
        if (!(await this.#isUnderWay(number))) {
          const [row] = await this.#database.rows<[boolean]>(...witness);
          return row?.[0] ?? false;
        }
      } catch (error) {
        // Closed meanwhile, or refused for good: nobody here will know more.
        if (this.#database.pool.ending || !isAway(error)) return false;
      }
      await new Promise((resolve) => setTimeout(resolve, delayMs));
    }
  }

  async #isUnderWay(number: string): Promise<boolean> {
    try {
      const [row] = await this.#database.rows<[string | null]>(sql.transactionStatus, [number]);
      return row?.[0] === 'in progress';
    } catch (error) {
      // The server crashed and has not yet come to this number again.
      if ((error as { code?: string }).code === numberInTheFuture) return false;
      throw error;
    }
  }

  async rollback(): Promise<void> {
    this.#open = false;
    if (this.#ended) return;
    this.#ended = true;
    await this.#client.query('rollback').then(
      () => this.#release(),
      () => this.#release(true),
    );
  }

  readonly #send: SendInTransaction = async <Row>(statement: Statement, values: Values = []) => {
    try {
      return (await this.#client.query({ ...statement, values: [...values] })).rows as Row[];
    } catch (error) {
      throw translate(error);
    }
  };
}

function isAway(error: unknown): boolean {
  return isMillraceError(error) && error.code === 'STORE_UNAVAILABLE';
}

function closed(): MillraceError {
  return new MillraceError('HANDLER_FAILED', 'The transaction of this job has ended.', {
    fix: 'Await every query before the handler returns; do not keep the transaction.',
  });
}

function undone(): MillraceError {
  return new MillraceError('HANDLER_FAILED', 'A statement of this transaction had failed.', {
    fix: 'Let the error of the failed statement pass, or put a savepoint around it.',
  });
}

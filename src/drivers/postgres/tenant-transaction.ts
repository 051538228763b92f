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
   * `settle` sends what belongs to the commit and answers with the transaction's number: when the
   * connection is lost during the commit, the server is asked what became of it.
   */
  async commit(settle: (send: SendInTransaction) => Promise<string>): Promise<void> {
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
      if (!isMillraceError(known) || known.code !== 'STORE_UNAVAILABLE') throw known;
      if (!(await this.#wasCommitted(number))) throw known;
    }
  }

  /** The connection was lost during the commit: ask until the server says what became of it. */
  async #wasCommitted(number: string): Promise<boolean> {
    for (let delayMs = 10; ; delayMs = Math.min(delayMs * 2, 1_000)) {
      try {
        const [row] = await this.#database.rows<[string | null]>(sql.transactionStatus, [number]);
        const status = row?.[0];
        if (status !== 'in progress') return status === 'committed';
      } catch {
        // Away still.
      }
      await new Promise((resolve) => setTimeout(resolve, delayMs));
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

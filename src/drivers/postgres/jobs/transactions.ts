/** A handler's own transaction as a tenant, which settles its job in the commit of its effects. */
import type pg from 'pg';
import { isMillraceError, MillraceError } from '../../../core/errors.ts';
import type { JobSettlement, JobStore, JobTransaction } from '../../../ports/jobs.ts';
import type { SqlTransaction } from '../../../ports/store.ts';
import { type Database, type Statement, translate, type Values } from '../connection.ts';
import { sql } from '../statements.ts';
import type { Lanes } from './lanes.ts';
import { settleParameters } from './settlement.ts';

export function createBegin(database: Database, lanes: Lanes): JobStore['begin'] {
  return async (epoch, tenantId) => {
    const { client, release } = await database.hold();
    const transaction = new OpenTransaction(client, release, epoch, lanes, database);
    try {
      await transaction.enter(tenantId);
    } catch (error) {
      await transaction.rollback();
      throw error;
    }
    return transaction;
  };
}

class OpenTransaction implements JobTransaction {
  readonly tx: SqlTransaction;
  readonly #client: pg.ClientBase;
  readonly #release: (broken?: boolean) => void;
  readonly #epoch: number;
  readonly #lanes: Lanes;
  readonly #database: Database;
  /** False from the settlement on: a query that a handler forgot to await must not join it. */
  #open = true;
  #ended = false;

  constructor(
    client: pg.ClientBase,
    release: (broken?: boolean) => void,
    epoch: number,
    lanes: Lanes,
    database: Database,
  ) {
    this.#client = client;
    this.#release = release;
    this.#epoch = epoch;
    this.#lanes = lanes;
    this.#database = database;
    this.tx = {
      query: async <Row>(text: string, values: Values = []) => {
        if (!this.#open) throw closed();
        return (await client.query(text, [...values])).rows as Row[];
      },
    };
  }

  async enter(tenantId: string): Promise<void> {
    await this.#send({ text: 'begin isolation level read committed' });
    await this.#send(sql.enterTenant, [tenantId]);
  }

  async commit(settlement: JobSettlement): Promise<{ woken: readonly string[] }> {
    if (!this.#open) throw closed();
    this.#open = false;
    let number = '';
    let woken: readonly number[] = [];
    try {
      const { done, failed, released } = settlement;
      const job = done[0] ?? failed[0] ?? released[0];
      if (job) await this.#lanes.load([job.lane]);
      const queueId = (job && this.#lanes.get(job.lane)?.queueId) ?? 0;
      await this.#send(sql.leaveTenantToSettle);
      type Row = { number: string; woken: number[] | null };
      const [row] = await this.#send<Row>(sql.settleJobs, [
        this.#epoch,
        queueId,
        ...settleParameters(settlement),
      ]);
      number = row?.number ?? '';
      woken = row?.woken ?? [];
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
    return { woken: woken.length > 0 ? await this.#lanes.queueNames(woken) : [] };
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

  async #send<Row>(statement: Statement, values: Values = []): Promise<Row[]> {
    try {
      return (await this.#client.query({ ...statement, values: [...values] })).rows as Row[];
    } catch (error) {
      throw translate(error);
    }
  }
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

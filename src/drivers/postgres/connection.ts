/**
 * Connections: a pool in the worker role, the translation of server errors into ours, and the one
 * way a statement is sent. Everything else in this driver calls `Database`.
 */
import pg from 'pg';
import { MillraceError } from '../../core/errors.ts';

/** A statement with a name is prepared once per connection. */
export interface Statement {
  readonly name?: string;
  readonly text: string;
}

export type Values = readonly unknown[];

/** int8 fits a number up to 2^53: 285 years of a million offsets a second. */
const parsers: Readonly<Record<number, (text: string) => unknown>> = {
  [pg.types.builtins.INT8]: Number,
  [pg.types.builtins.JSON]: (text) => text,
  [pg.types.builtins.TIMESTAMPTZ]: (text) => new Date(text).toISOString(),
  1016: (text) => (text === '{}' ? [] : text.slice(1, -1).split(',').map(Number)),
};
const types = {
  getTypeParser: (id: number, format?: 'text' | 'binary') =>
    parsers[id] ?? pg.types.getTypeParser(id, format as 'text'),
} as pg.CustomTypesConfig;

/** Loss of the connection or of the server: the outcome of what was under way is unknown. */
function isConnectionLoss(error: { code?: string; message?: string }): boolean {
  const { code = '', message = '' } = error;
  return (
    /^(08|57P0|53300|58)/.test(code) ||
    /^(ECONN|EPIPE|ENOENT|ENOTFOUND|ETIMEDOUT|EHOST|ENET|EAI_)/.test(code) ||
    /connection (terminated|ended|closed|timeout)|timeout exceeded|read timeout/i.test(message) ||
    /not queryable|client was closed/i.test(message)
  );
}

/** A second link of the same number in a group's cursor: another worker was faster. */
const chainKey = 'group_cursor_pkey';

/** Server errors in our words; an error of a handler's own SQL passes through unchanged. */
export function translate(error: unknown): unknown {
  if (error instanceof MillraceError || !(error instanceof Error)) return error;
  const { code } = error as { code?: string };
  if (isConnectionLoss(error as { code?: string; message?: string })) {
    return new MillraceError('STORE_UNAVAILABLE', `Postgres does not answer: ${error.message}`, {
      cause: error,
    });
  }
  if (code === 'MR001') {
    return new MillraceError('STORE_MISCONFIGURED', error.message, {
      cause: error,
      fix: 'Remove default_transaction_isolation from the role or the connection string.',
    });
  }
  const taken = code === '23505' && (error as { constraint?: string }).constraint === chainKey;
  if (code === 'MR002' || taken)
    return new MillraceError('LEASE_LOST', error.message, { cause: error });
  if (code === 'MR007') {
    return new MillraceError('STORE_CONFLICT', error.message, { cause: error });
  }
  if (code === 'MR004') return new MillraceError('JOB_CANCELLED', error.message, { cause: error });
  if (code === 'MR005') return new MillraceError('BACKPRESSURE', error.message, { cause: error });
  if (code === '25006' || code === '53100' || code === '53200') {
    // A failover, a full disk, a full lock table: the same call may succeed later.
    return new MillraceError('STORE_UNAVAILABLE', `Postgres cannot now: ${error.message}`, {
      cause: error,
    });
  }
  if (code === '40P01' || code === '40001') {
    return new MillraceError('STORE_CONFLICT', error.message, { cause: error, retryable: true });
  }
  return error;
}

/**
 * A statement of ours without an answer for so long is lost with its connection: a half-open one is
 * silent for ever. Long enough for an append of 1,000 large events over a slow line.
 */
export const answerMsMax = 60_000;

export interface Database {
  readonly pool: pg.Pool;
  /** Options for a connection outside the pool, for LISTEN. */
  readonly config: pg.ClientConfig;
  rows<Row extends unknown[]>(statement: Statement, values?: Values): Promise<Row[]>;
  records<Row>(statement: Statement, values?: Values): Promise<Row[]>;
  /** A transaction on one connection: committed when `work` resolves, else rolled back. */
  transaction<T>(work: (client: pg.ClientBase) => Promise<T>): Promise<T>;
  /**
   * A connection to hold on to. At most two thirds of the pool are given out like this: who holds
   * one needs others meanwhile, for a moment, and must not wait for somebody who does the same.
   */
  hold(): Promise<HeldConnection>;
  close(): Promise<void>;
}

export interface HeldConnection {
  readonly client: pg.ClientBase;
  /** Gives it back, or closes it when it is broken. */
  release(broken?: boolean): void;
}

export interface DatabaseOptions {
  readonly url: string;
  readonly connectionsMax?: number;
  /** Role taken on by every connection; null to stay what the URL says. */
  readonly role: 'millrace_worker' | null;
}

export function openDatabase({ url, connectionsMax = 12, role }: DatabaseOptions): Database {
  const config: pg.ClientConfig = {
    connectionString: url,
    application_name: 'millrace',
    keepAlive: true,
    connectionTimeoutMillis: 10_000,
    types,
    // Start-up options, so that a new connection costs no further round trip.
    ...(role && { options: startOptions(role) }),
  };
  const max = role === null ? connectionsMax : Math.max(2, connectionsMax);
  const pool = new pg.Pool({ ...config, max, idleTimeoutMillis: 60_000 });
  // A connection that dies while idle is replaced at the next query; without a listener Node exits.
  pool.on('error', () => {});
  // The same for one that dies inside a transaction between two statements: the next one fails.
  pool.on('connect', (client) => client.on('error', () => {}));
  const run = async (client: pg.ClientBase | pg.Pool, config: pg.QueryConfig) => {
    try {
      return await client.query({ ...config, query_timeout: answerMsMax } as pg.QueryConfig);
    } catch (error) {
      throw translate(error);
    }
  };
  return {
    pool,
    config,
    async rows<Row extends unknown[]>(statement: Statement, values: Values = []) {
      const result = await run(pool, {
        ...statement,
        values: [...values],
        rowMode: 'array',
      } as never);
      return result.rows as unknown as Row[];
    },
    async records<Row>(statement: Statement, values: Values = []) {
      return (await run(pool, { ...statement, values: [...values] })).rows as Row[];
    },
    async transaction(work) {
      const client = await pool.connect().catch((error) => {
        throw translate(error);
      });
      let broken = false;
      try {
        await client.query('begin isolation level read committed');
        const result = await work(client);
        const { command } = await client.query('commit');
        // The server answers a commit after a failed statement with a rollback, and no error.
        if (command === 'ROLLBACK') throw rolledBack();
        return result;
      } catch (error) {
        await client.query('rollback').catch(() => {
          broken = true;
        });
        throw translate(error);
      } finally {
        client.release(broken);
      }
    },
    hold: createHold(pool, Math.max(1, Math.floor((max * 2) / 3))),
    close: () => pool.end(),
  };
}

/** Keepalives end, within 30 s, the sessions of clients that are gone, and their locks. */
function startOptions(role: string): string {
  return [
    `-c role=${role}`,
    '-c default_transaction_isolation=read\\ committed',
    '-c tcp_keepalives_idle=15',
    '-c tcp_keepalives_interval=5',
    '-c tcp_keepalives_count=3',
  ].join(' ');
}

function createHold(pool: pg.Pool, heldMax: number): Database['hold'] {
  let held = 0;
  const line: (() => void)[] = [];
  const leave = () => {
    const next = line.shift();
    if (next) next();
    else held -= 1;
  };
  return async () => {
    if (held < heldMax) held += 1;
    else await new Promise<void>((resolve) => line.push(resolve));
    try {
      const client = await pool.connect();
      const release = (broken = false) => {
        client.release(broken);
        leave();
      };
      return { client, release };
    } catch (error) {
      leave();
      throw translate(error);
    }
  };
}

function rolledBack(): MillraceError {
  return new MillraceError(
    'STORE_CONFLICT',
    'A statement of this transaction failed, so the server undid all of it at the commit.',
    { fix: 'Let the error of the failed statement pass, or put a savepoint around it.' },
  );
}

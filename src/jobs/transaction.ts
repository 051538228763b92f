/**
 * Transactions that callers bring along, whatever library they come from. Their clients are
 * described, not imported: none is a dependency of ours. Called by enqueue and publish with `tx`.
 *
 * Invariant: values reach Postgres as given, Buffers as binary and arrays as arrays; an error has
 * the server's own code and message, as if the statement had gone through pg itself.
 */
import { describeKind } from '../core/describe.ts';
import { MillraceError } from '../core/errors.ts';
import type { SqlTransaction } from '../core/sql-transaction.ts';

/** A client of pg after `begin`, a TypeORM manager or query runner, or a SqlTransaction of ours. */
export interface QueryTransaction {
  query(text: string, values: unknown[]): PromiseLike<unknown>;
}

/** From `db.transaction().execute((tx) => …)` or `db.startTransaction().execute()`. */
export interface KyselyTransaction {
  readonly isTransaction: true;
  /** Without plugins the columns keep their names. */
  withoutPlugins(): {
    executeQuery(query: KyselyQuery): PromiseLike<{ readonly rows: readonly unknown[] }>;
  };
}

interface KyselyQuery {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  readonly query: {
    readonly kind: 'RawNode';
    readonly sqlFragments: readonly string[];
    readonly parameters: readonly [];
  };
  readonly queryId: { readonly queryId: string };
}

/** From `db.transaction(async (tx) => …)` of a Postgres driver. */
export interface DrizzleTransaction {
  readonly _: {
    readonly session: {
      prepareQuery(
        query: { readonly sql: string; readonly params: unknown[] },
        fields: undefined,
        name: undefined,
        isResponseInArrayMode: boolean,
      ): { execute(): PromiseLike<unknown> };
    };
  };
  rollback(): never;
}

/** From `knex.transaction(async (tx) => …)`. */
export interface KnexTransaction {
  raw(sql: string, bindings: unknown[]): PromiseLike<unknown>;
  isCompleted(): boolean;
}

/** From `prisma.$transaction(async (tx) => …)`. */
export interface PrismaTransaction {
  $queryRawUnsafe(text: string, ...values: unknown[]): PromiseLike<unknown>;
}

export type CallerTransaction =
  | QueryTransaction
  | KyselyTransaction
  | DrizzleTransaction
  | KnexTransaction
  | PrismaTransaction;

type Run = (text: string, values: unknown[]) => PromiseLike<unknown>;

/**
 * The transaction as our statements use it.
 * @throws MillraceError CONFIG_INVALID for what is none: a pool, a client outside of a transaction.
 */
export function asSqlTransaction(tx: CallerTransaction): SqlTransaction {
  const run = runnerOf(tx);
  return {
    async query<Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
      // Knex and Prisma refuse undefined.
      const given = values.map((value) => (value === undefined ? null : value));
      try {
        return rowsOf(await run(text, given)) as Row[];
      } catch (error) {
        throw serverError(error);
      }
    },
  };
}

/** Knex comes first: its transactions have a `query` of another meaning. */
function runnerOf(given: CallerTransaction): Run {
  const isObject = typeof given === 'object' || typeof given === 'function';
  if (!isObject || given === null) throw refuse(`is ${describeKind(given)}, not a transaction`);
  const tx = given as Members<KyselyTransaction & DrizzleTransaction & KnexTransaction> &
    Members<QueryTransaction & PrismaTransaction>;
  if (typeof tx.raw === 'function') return knexRunner(tx as KnexTransaction);
  if (typeof tx.withoutPlugins === 'function') return kyselyRunner(tx as KyselyTransaction);
  if (typeof tx.$queryRawUnsafe === 'function') return prismaRunner(tx as PrismaTransaction);
  if (tx._?.session !== undefined) return drizzleRunner(tx as DrizzleTransaction);
  if (typeof tx.query === 'function') return queryRunner(tx as QueryTransaction);
  throw refuse(`is ${describeKind(given)} that we cannot run statements with`);
}

type Members<T> = { readonly [K in keyof T]?: T[K] };

function queryRunner(tx: QueryTransaction): Run {
  const { idleCount, totalCount } = tx as { idleCount?: unknown; totalCount?: unknown };
  if (typeof idleCount === 'number' && typeof totalCount === 'number') {
    throw refuse('is a pool of pg', 'Take a client by pool.connect(), begin, and give the client.');
  }
  return (text, values) => tx.query(text, values);
}

function kyselyRunner(tx: KyselyTransaction): Run {
  if (!tx.isTransaction) {
    throw refuse('is a Kysely outside of a transaction', 'Give what execute((tx) => …) hands you.');
  }
  const plain = tx.withoutPlugins();
  const queryId = { queryId: 'millrace' };
  return (sql, parameters) => {
    const query = { kind: 'RawNode', sqlFragments: [sql], parameters: [] } as const;
    return plain.executeQuery({ sql, parameters, query, queryId });
  };
}

function drizzleRunner(tx: DrizzleTransaction): Run {
  if (typeof tx.rollback !== 'function') {
    throw refuse(
      'is a Drizzle database outside of a transaction',
      'Give what db.transaction(async (tx) => …) hands you.',
    );
  }
  const { session } = tx._;
  return (sql, params) =>
    session.prepareQuery({ sql, params }, undefined, undefined, false).execute();
}

function knexRunner(tx: KnexTransaction): Run {
  if (typeof tx.isCompleted !== 'function') {
    throw refuse(
      'is a Knex outside of a transaction',
      'Give what knex.transaction(async (tx) => …) hands you.',
    );
  }
  return async (text, values) => {
    const { sql, bindings } = toQuestionMarks(text, values);
    try {
      return await tx.raw(sql, bindings);
    } catch (error) {
      throw withoutStatement(error, sql);
    }
  };
}

/** Knex writes the statement, with its own parameters again, in front of the server's message. */
function withoutStatement(error: unknown, sql: string): unknown {
  if (!(error instanceof Error)) return error;
  let count = 0;
  const sent = sql.replace(/\\?\?/g, (mark) => {
    if (mark !== '?') return '?';
    count += 1;
    return `$${count}`;
  });
  const prefix = `${sent} - `;
  if (error.message.startsWith(prefix)) error.message = error.message.slice(prefix.length);
  return error;
}

function prismaRunner(tx: PrismaTransaction): Run {
  if (typeof (tx as { $connect?: unknown }).$connect === 'function') {
    throw refuse(
      'is a Prisma client outside of a transaction',
      'Give what prisma.$transaction(async (tx) => …) hands you.',
    );
  }
  return (text, values) => tx.$queryRawUnsafe(text, ...values);
}

function refuse(problem: string, fix?: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `tx ${problem}.`, {
    fix:
      fix ??
      'Give a pg client after begin, or a transaction of Kysely, Drizzle, Knex, Prisma or TypeORM.',
    details: { path: 'tx' },
  });
}

function rowsOf(result: unknown): readonly unknown[] {
  if (Array.isArray(result)) return result;
  const rows = (result as { rows?: unknown } | null | undefined)?.rows;
  return Array.isArray(rows) ? rows : [];
}

/** What stands between quotes and in comments has no parameters. */
const sqlToken = new RegExp(
  [
    `'(?:[^']|'')*'`,
    '"(?:[^"]|"")*"',
    String.raw`\$([A-Za-z_]\w*)?\$[\s\S]*?\$\1\$`,
    String.raw`--[^\n]*|/\*[\s\S]*?\*/`,
    String.raw`\$(\d+)|\?`,
  ].join('|'),
  'g',
);

/** `$2 … $1 … $2` becomes `? … ? … ?` with its values in that order; a `?` of SQL is escaped. */
export function toQuestionMarks(
  text: string,
  values: readonly unknown[],
): { sql: string; bindings: unknown[] } {
  const bindings: unknown[] = [];
  const sql = text.replace(sqlToken, (token: string, _tag: unknown, number?: string) => {
    if (number === undefined) return token.replaceAll('?', '\\?');
    bindings.push(values[Number(number) - 1] ?? null);
    return '?';
  });
  return { sql, bindings };
}

interface WrappedError extends Error {
  readonly code?: unknown;
  readonly meta?: {
    readonly code?: unknown;
    readonly message?: unknown;
    readonly driverAdapterError?: { readonly cause?: Readonly<Record<string, unknown>> };
  };
}

/** Some libraries wrap the server's error. */
function serverError(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown;
  const { cause, code, meta } = thrown as WrappedError;
  if (cause instanceof Error && isSqlState((cause as WrappedError).code)) return cause;
  if (isSqlState(code)) return thrown;
  const inner = meta?.driverAdapterError?.cause;
  const state = inner?.originalCode ?? inner?.code ?? meta?.code;
  if (!isSqlState(state)) return thrown;
  const message = String(inner?.originalMessage ?? inner?.message ?? meta?.message);
  return Object.assign(new Error(message, { cause: thrown }), { ...inner, code: state, message });
}

const prismaCode = /^P[1-9]\d{3}$/;

function isSqlState(code: unknown): code is string {
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && !prismaCode.test(code);
}

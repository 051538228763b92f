/**
 * Transactions of other libraries: what we write through them commits with them, or not at all.
 * Prisma's engine cannot be installed everywhere, so its interactive transaction is stood in for by
 * the same interface on pg; with its pg driver adapter it hands values to pg in the same way.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { drizzle } from 'drizzle-orm/node-postgres';
import knexOf, { type Knex } from 'knex';
import { CamelCasePlugin, Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { ask, names, openMill } from '../../test/support/mill.ts';
import { defineJob } from '../core/job-definition.ts';
import { openPostgresJobStore } from '../drivers/postgres/jobs/store.ts';
import { asSqlTransaction, type CallerTransaction } from './transaction.ts';

/** Runs `work` in a transaction, which it rolls back by throwing. */
type Library = (work: (tx: CallerTransaction) => Promise<void>) => Promise<void>;

let database: TestDatabase;
let pool: pg.Pool;
let knex: Knex;
let kysely: Kysely<unknown>;

before(async () => {
  database = await freshDatabase();
  pool = new pg.Pool({ connectionString: database.url, max: 4 });
  knex = knexOf({ client: 'pg', connection: { connectionString: database.url } });
  // A plugin that renames columns must not rename ours.
  kysely = new Kysely({ dialect: new PostgresDialect({ pool }), plugins: [new CamelCasePlugin()] });
  await ask(
    database.url,
    'create table effect (library text, ints int[], texts text[], raw bytea, document jsonb)',
  );
});

after(async () => {
  await knex.destroy();
  await kysely.destroy();
  await database.drop();
});

async function withClient(work: (client: pg.PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('begin');
    await work(client);
    await client.query('commit');
  } catch (error) {
    await client.query('rollback');
    throw error;
  } finally {
    client.release();
  }
}

const libraries: Readonly<Record<string, Library>> = {
  pg: (work) => withClient(work),
  Kysely: (work) => kysely.transaction().execute(work),
  'Kysely, controlled': async (work) => {
    const tx = await kysely.startTransaction().execute();
    const undo = async (error: unknown) => {
      await tx.rollback().execute();
      throw error;
    };
    await work(tx).catch(undo);
    await tx.commit().execute();
  },
  Drizzle: (work) => drizzle(pool).transaction(work),
  'Drizzle, on a client': async (work) => {
    const client = await pool.connect();
    await drizzle(client)
      .transaction((tx) => tx.transaction(work))
      .finally(() => client.release());
  },
  Knex: (work) => knex.transaction(work),
  'Knex, nested': (work) => knex.transaction((tx) => tx.transaction(work)),
  'Prisma (stood in for)': (work) =>
    withClient((client) =>
      work({
        $queryRawUnsafe: async (text, ...values) => (await client.query(text, values)).rows,
      }),
    ),
};

/** The binary form of int[]: one dimension, no nulls, element type 23. */
function intArrayBytes(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(20 + values.length * 8);
  const words = [1, 0, 23, values.length, 1, ...values.flatMap((value) => [4, value])];
  for (const [i, word] of words.entries()) bytes.writeInt32BE(word, i * 4);
  return bytes;
}

const insert = `insert into effect (library, ints, texts, raw, document)
  values ($1, $2, $3, $4, $5) -- is $1 read?
  returning library = $1 as same_library, ints, document ? 'a' as has_a, '$1' as quoted`;

for (const [name, transaction] of Object.entries(libraries)) {
  describe(`a transaction of ${name}`, () => {
    const write = async (tx: CallerTransaction, ints: unknown, raw: Buffer | null) =>
      asSqlTransaction(tx).query(insert, [name, ints, ['a', `b,"'?`, null], raw, { a: [1] }]);
    const written = () => ask(database.url, 'select * from effect where library = $1', [name]);

    it('takes binary arrays, arrays, bytes, null and documents, and commits them', async () => {
      await transaction(async (tx) => {
        const [row] = await write(tx, intArrayBytes([1, -2, 3]), Buffer.from([0, 255]));
        const expected = { same_library: true, ints: [1, -2, 3], has_a: true, quoted: '$1' };
        assert.deepEqual({ ...row }, expected);
        await write(tx, [4, 5], null);
        assert.deepEqual(await asSqlTransaction(tx).query('select 1 where false'), []);
        assert.deepEqual(await written(), [], 'visible before the commit');
      });
      const rest = { library: name, texts: ['a', `b,"'?`, null], document: { a: [1] } };
      assert.deepEqual(await written(), [
        { ...rest, ints: [1, -2, 3], raw: Buffer.from([0, 255]) },
        { ...rest, ints: [4, 5], raw: null },
      ]);
    });

    it('undoes what was written when it is rolled back', async () => {
      const before = await written();
      const work = async (tx: CallerTransaction) => {
        await write(tx, [6], null);
        throw new Error('changed my mind');
      };
      await assert.rejects(transaction(work), /changed my mind/);
      assert.deepEqual(await written(), before);
    });

    it('fails with the code, message and detail of the server', async () => {
      const statement = `do $$ begin
        raise exception 'taken - by 7' using errcode = 'MR006', detail = '1-2'; end $$`;
      const work = async (tx: CallerTransaction) => {
        await asSqlTransaction(tx).query(statement);
      };
      await assert.rejects(transaction(work), {
        code: 'MR006',
        message: 'taken - by 7',
        detail: '1-2',
      });
    });

    it('carries jobs that exist if and when it commits', async (t) => {
      const store = await openPostgresJobStore({ url: database.url });
      t.after(() => store.close());
      const Notify = defineJob('notify', { queue: `notify-${crypto.randomUUID()}` });
      await store.configure([{ queue: Notify.queue }]);
      const enqueue = (n: number, tx: CallerTransaction) =>
        store.enqueue([Notify.prepare({ n }, { unique: { key: `${n % 2}` } })], {
          enqueueId: crypto.randomUUID(),
          again: false,
          tx: asSqlTransaction(tx),
        });
      const waiting = async () => (await store.queries.counts()).get(Notify.queue)?.waiting;
      const undone = async (tx: CallerTransaction) => {
        await enqueue(1, tx);
        throw new Error('undone');
      };
      await assert.rejects(transaction(undone), /undone/);
      assert.equal(await waiting(), 0);
      await transaction(async (tx) => {
        const [job] = await enqueue(2, tx);
        assert.deepEqual(job && [typeof job.lane, typeof job.offset], ['number', 'number']);
        await enqueue(3, tx);
        assert.equal(await waiting(), 0, 'visible before the commit');
      });
      assert.equal(await waiting(), 2);
      const twice = async (tx: CallerTransaction) => void (await enqueue(4, tx));
      await assert.rejects(transaction(twice), { code: 'JOB_DUPLICATE' });
    });

    it('carries events that exist if and when it commits', async (t) => {
      const mill = await openMill(t, database.url);
      const { Thing, group, tenant } = names();
      const seen: number[] = [];
      mill.subscribe({
        group,
        events: [Thing],
        handle: ({ payload }) => {
          seen.push(payload.n);
        },
      });
      await mill.start();
      const publish = (n: number, tx: CallerTransaction) =>
        mill.publish(Thing, { tenantId: tenant, payload: { n }, metadata: { n } }, { tx });
      const undone = async (tx: CallerTransaction) => {
        await publish(1, tx);
        throw new Error('undone');
      };
      await assert.rejects(transaction(undone), /undone/);
      await transaction(async (tx) => {
        await publish(2, tx);
        await publish(3, tx);
      });
      await eventually('both events were handled', () => seen.length >= 2);
      assert.deepEqual(seen.toSorted(), [2, 3]);
    });
  });
}

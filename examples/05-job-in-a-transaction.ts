/**
 * Both ends of a job in a transaction of the database. It is enqueued with the order that it is
 * about: without the order there is no job. And its handler writes in the transaction that
 * completes it: after any crash the money was booked once, or not yet.
 */
import { connect, defineJob } from 'millrace';
import pg from 'pg';

await using mill = await connect(process.env.DATABASE_URL);
await mill.store.migrate('example_shop', [
  {
    name: '0001_shop.sql',
    sql: `create schema example_shop;
      create table example_shop.orders (id text primary key);
      create table example_shop.booking (order_id text, cents int);
      grant usage on schema example_shop to millrace_app;
      grant select, insert on example_shop.booking to millrace_app;`,
  },
]);

const Book = defineJob('order.book', {
  transactional: true,
  backoff: 10,
  handler: async ({ orderId, cents }: { orderId: string; cents: number }, { tx, attempt }) => {
    await tx.query('insert into example_shop.booking values ($1, $2)', [orderId, cents]);
    console.log(`try ${attempt} booked ${orderId}`);
    if (attempt === 1) throw new Error('the process stumbles after its insert');
  },
});
mill.jobs.work(Book);
await mill.start();

const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
async function placeOrder(orderId: string, end: 'commit' | 'rollback') {
  await client.query('begin');
  await client.query('insert into example_shop.orders values ($1)', [orderId]);
  const job = await mill.jobs.enqueue(Book, { orderId, cents: 990 }, { tx: client });
  await client.query(end);
  return job;
}
const undone = await placeOrder('o-1', 'rollback');
const done = await placeOrder('o-2', 'commit');
await mill.jobs.result(done);
console.log(`of the order rolled back: ${await mill.jobs.get(undone.id)}`);
const { rows } = await client.query('select order_id, cents from example_shop.booking');
console.log(rows);
await client.end();

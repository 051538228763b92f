/**
 * A handler writes to its own table in the transaction that moves its cursor: after any crash the
 * stock has gone down once per order, or not yet. The first attempt fails after its update, which
 * leaves no trace.
 */
import { connect, defineEvent } from 'millrace';
import { z } from 'zod';

const OrderPlaced = defineEvent('OrderPlaced', {
  schema: z.object({ orderId: z.string(), item: z.string(), pieces: z.number().int() }),
  key: (order) => order.item,
});

await using mill = await connect(process.env.DATABASE_URL);
await mill.store.migrate('example_stock', [
  {
    name: '0001_stock.sql',
    sql: `create schema example_stock;
      create table example_stock.stock (tenant_id text, item text, pieces int,
        primary key (tenant_id, item));
      alter table example_stock.stock enable row level security;
      create policy own_rows on example_stock.stock to millrace_app
        using (tenant_id = current_setting('millrace.tenant', true));
      grant usage on schema example_stock to millrace_app;
      grant select, insert, update on example_stock.stock to millrace_app;`,
  },
]);
await mill.store.withTenant('acme', (tx) =>
  tx.query(`insert into example_stock.stock values ('acme', 'wheel', 10)`),
);

const done = Promise.withResolvers<void>();
mill.subscribe({
  group: 'stock',
  events: [OrderPlaced],
  retry: { maxRetries: 3, initialDelayMs: 10 },
  async handle({ payload }, context) {
    const tx = await context.tx();
    await tx.query('update example_stock.stock set pieces = pieces - $1 where item = $2', [
      payload.pieces,
      payload.item,
    ]);
    console.log(`attempt ${context.attempt} took ${payload.pieces} from the stock`);
    if (context.attempt === 1) throw new Error('the process stumbles after its update');
    done.resolve();
  },
});
await mill.start();
const payload = { orderId: 'o-1', item: 'wheel', pieces: 4 };
await mill.publish(OrderPlaced, { tenantId: 'acme', payload });
await done.promise;

let left = 10;
while (left === 10) {
  [{ pieces: left } = { pieces: 10 }] = await mill.store.withTenant('acme', (tx) =>
    tx.query<{ pieces: number }>('select pieces from example_stock.stock'),
  );
}
console.log(`left: ${left}`);

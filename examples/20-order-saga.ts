/**
 * A durable function: its steps run once and their results are kept. When a later step fails for
 * good, those that say how are undone in reverse order.
 */
import { connect, defineWorkflow, MillraceError, permanentFailure } from 'millrace';
import { z } from 'zod';

const Order = defineWorkflow(
  'order',
  { input: z.object({ orderId: z.string(), cents: z.int() }) },
  async (ctx, { orderId, cents }) => {
    const stock = await ctx.run('reserve', () => `stock for ${orderId}`, {
      compensate: (reserved) => console.log(`give back: ${reserved}`),
    });
    // Retried, and after a crash perhaps called again: the key makes the charge happen once.
    const receipt = await ctx.run('charge', ({ idempotencyKey }) => pay(cents, idempotencyKey), {
      retry: { attempts: 5, backoff: { kind: 'fixed', delayMs: 10 } },
      compensate: (paid) => console.log(`pay back: ${paid}`),
    });
    await ctx.run('ship', () => {
      if (cents > 1_000) throw permanentFailure('too heavy for the bicycle');
    });
    return `${stock}, ${receipt}, shipped`;
  },
);

let tries = 0;
function pay(cents: number, idempotencyKey: string): string {
  tries += 1;
  if (tries === 1) throw new Error('the bank is busy');
  return `${cents} cents${idempotencyKey.endsWith(':charge') ? '' : '?'}`;
}

await using mill = await connect(process.env.DATABASE_URL);
mill.workflows.work(Order);
await mill.start();

const good = await mill.workflows.start(Order, { orderId: 'o-1', cents: 900 });
console.log(await good.result());
const bad = await mill.workflows.start(Order, { orderId: 'o-2', cents: 1_500 });
try {
  await bad.result();
} catch (error) {
  if (error instanceof MillraceError) console.log(error.code);
}
const run = await mill.workflows.get(bad.runId);
for (const { name, state } of run?.steps ?? []) console.log(`${name}: ${state}`);

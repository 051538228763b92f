/** A declared workflow: every step knows what the steps before it answered, types and all. */
import { connect, defineTask } from 'millrace';
import { z } from 'zod';

const order = defineTask('order', { input: z.object({ items: z.array(z.string()) }) })
  .step('validate', ({ input }) => ({ total: input.items.length * 10 }))
  .step('charge', {
    after: ['validate'],
    retry: { attempts: 5, delayMs: 100 },
    // The same key in every try: a service that knows such keys charges once.
    handler: ({ results, idempotencyKey }) => ({
      cents: results.validate.total,
      once: idempotencyKey.endsWith(':charge'),
    }),
  })
  .step('ship', {
    after: ['charge'],
    handler: async ({ results }) => `shipped for ${results.charge.cents}`,
  })
  .build();

await using mill = await connect(process.env.DATABASE_URL);
mill.workflows.work(order);
await mill.start();

const run = await mill.workflows.start(order, { items: ['a pen', 'ink'] });
const { ship } = await run.result();
console.log(ship);
const details = await mill.workflows.get(run.runId);
for (const step of details?.steps ?? []) console.log(`${step.name}: ${step.state}`);

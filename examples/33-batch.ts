/** Work that is cut into batches: they run side by side, and each is retried by itself. */
import { connect, defineTask } from 'millrace';

let interruptions = 1;

const load = defineTask<{ rows: number }>('load')
  .batch('copy', {
    size: 250,
    parallelism: 4,
    retry: { attempts: 3, delayMs: 100 },
    plan: ({ input }) => ({ totalItems: input.rows }),
    worker: async ({ batch, checkpointCursor, saveCheckpoint }) => {
      const from = Number(checkpointCursor ?? batch.start);
      if (batch.id === '002' && interruptions > 0) {
        interruptions -= 1;
        // Durable at once: the next try goes on from here, even in another process.
        await saveCheckpoint({ cursor: from + 100 });
        throw new Error('interrupted');
      }
      return { id: batch.id, from, copied: Number(batch.end) - from };
    },
  })
  .step('sum', {
    after: ['copy'],
    handler: ({ results }) => ({
      batches: results.copy.length,
      resumed: results.copy.filter(({ id, from }) => id === '002' && from === 350).length,
    }),
  })
  .build();

await using mill = await connect(process.env.DATABASE_URL);
mill.workflows.work(load);
await mill.start();

const run = await mill.workflows.start(load, { rows: 1_000 });
console.log((await run.result()).sum);
const steps = (await mill.workflows.get(run.runId))?.steps ?? [];
console.log(steps.map(({ name, attempts }) => `${name}: ${attempts}`).join(', '));

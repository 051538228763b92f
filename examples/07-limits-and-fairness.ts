/**
 * Limits hold over all workers together: for the queue, and for each tenant and key by itself. And
 * a tenant with few jobs does not wait for one with many: lanes of one priority take turns.
 */
import { connect, defineJob } from 'millrace';

let now = 0;
let most = 0;
const order: string[] = [];
const Call = defineJob('api.call', {
  queue: 'calls',
  async handler(_: { n: number }, { tenantId }) {
    order.push(tenantId);
    now += 1;
    most = Math.max(most, now);
    await new Promise((resolve) => setTimeout(resolve, 5));
    now -= 1;
  },
});

await using mill = await connect(process.env.DATABASE_URL);
const { jobs } = mill;
await jobs.configureQueue({
  queue: 'calls',
  limits: { concurrency: 2 },
  keyLimits: { rate: { max: 1_000, perMs: 1_000 } },
  lengthMax: 10_000, // beyond it enqueue is refused with BACKPRESSURE
});
const many = Array.from({ length: 12 }, (_, n) => ({ n }));
await jobs.enqueueMany(Call, many, { tenantId: 'large' });
const few = await jobs.enqueueMany(Call, many.slice(0, 3), { tenantId: 'small' });

jobs.work(Call, { concurrency: 8 });
await mill.start();
for (const job of few) await jobs.result(job);
console.log(`at a time: ${most}`);
const lastOfSmall = order.lastIndexOf('small');
console.log(`small had its turns among the first ${lastOfSmall <= 8 ? 9 : order.length}`);

/**
 * A diamond: two jobs wait for the first, and the last for both of them. It gets their results, in
 * the order of `dependsOn`. A job may depend on jobs of any queue, tenant and process.
 */
import { connect, defineJob } from 'millrace';

const Fetch = defineJob('fetch', { handler: () => [3, 1, 2] });
const Sum = defineJob('sum', {
  async handler(_: unknown, ctx) {
    const [numbers] = (await ctx.results()) as [number[]];
    return numbers.reduce((sum, n) => sum + n, 0);
  },
});
const Sort = defineJob('sort', {
  async handler(_: unknown, ctx) {
    const [numbers] = (await ctx.results()) as [number[]];
    return numbers.toSorted();
  },
});
const Report = defineJob('report', {
  async handler(_: unknown, ctx) {
    const [sum, sorted] = await ctx.results();
    return `${sorted} are ${sum} together`;
  },
});

await using mill = await connect(process.env.DATABASE_URL);
const { jobs } = mill;
const first = await jobs.enqueue(Fetch, null);
const sum = await jobs.enqueue(Sum, null, { dependsOn: [first] });
const sorted = await jobs.enqueue(Sort, null, { dependsOn: [first] });
const last = await jobs.enqueue(Report, null, { dependsOn: [sum, sorted] });
// When a job it waits for fails for good, this one is cancelled instead of waiting for a retry.
const also = { dependsOn: [sum], onParentFailure: 'cancel' } as const;
await jobs.enqueue(Report, null, also);
console.log(
  `${(await jobs.get(last.id))?.status}: ${(await jobs.why(last.id)).reasons.length} jobs`,
);

jobs.work([Fetch, Sum, Sort, Report]);
await mill.start();
console.log(await jobs.result(last));

/** A workflow calls another one and gets its result; the child's failure can be caught. */
import { connect, defineWorkflow, MillraceError } from 'millrace';
import { z } from 'zod';

const Parcel = defineWorkflow(
  'parcel',
  { input: z.object({ grams: z.number() }), result: z.object({ label: z.string() }) },
  async (ctx, { grams }) => {
    if (grams > 5_000) throw new Error('too heavy');
    return { label: await ctx.run('print', () => `${grams} g`) };
  },
);

const Shipment = defineWorkflow('shipment', {}, async (ctx, weights: number[]) => {
  const labels: string[] = [];
  for (const [i, grams] of weights.entries()) {
    try {
      const { label } = await ctx.invoke(Parcel, { grams }, { key: `parcel-${i}` });
      labels.push(label);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      labels.push(error.code);
    }
  }
  return labels;
});

await using mill = await connect(process.env.DATABASE_URL);
mill.workflows.work([Parcel, Shipment]);
await mill.start();

const { result } = await mill.workflows.start(Shipment, [100, 9_000, 300]);
console.log(await result());

/** Ours: a durable function of `ctx.run` calls on a platform as `connect` makes it. */
import { connect, defineWorkflow, type Millrace } from 'millrace';
import type { WorkflowProduct, WorkflowSession } from './product.ts';

export const Sequential = defineWorkflow(
  'sequential',
  { namespace: 'bench' },
  async (ctx, steps: number) => {
    let sum = 0;
    for (let step = 0; step < steps; step += 1) sum += await ctx.run(`step_${step}`, () => step);
    return sum;
  },
);

export interface MillraceSession extends WorkflowSession {
  readonly mill: Millrace;
}

export const millrace: WorkflowProduct = {
  name: 'millrace',
  settings: 'defaults',
  open: (url) => openMillrace(url),
};

export async function openMillrace(url: string): Promise<MillraceSession> {
  const mill = await connect(url);
  mill.workflows.work([Sequential]);
  await mill.start();
  return {
    mill,
    async runSequential(steps) {
      const run = await mill.workflows.start(Sequential, steps);
      await run.result();
    },
    close: () => mill.stop(),
  };
}

/**
 * Sleeps and signals outlive the process. Signals that come early are kept; a wait can have an end.
 */
import { connect, defineWorkflow } from 'millrace';
import { z } from 'zod';

const Trial = defineWorkflow('trial', {}, async (ctx, { user }: { user: string }) => {
  await ctx.run('welcome', () => console.log(`welcome, ${user}`));
  await ctx.sleep('a day', 50); // '1d' in real life
  const answer = await ctx.waitForSignal('answer', {
    schema: z.object({ stays: z.boolean() }),
    timeoutMs: 200,
    otherwise: null,
  });
  if (answer === null) return `${user} said nothing`;
  return answer.stays ? `${user} stays` : `${user} goes`;
});

// Runs that only wait are put away at once here, instead of after 5 seconds in memory.
await using mill = await connect(process.env.DATABASE_URL, { workflows: { residencyMs: 0 } });
const { workflows } = mill;
workflows.work(Trial);
await mill.start();

const ann = await workflows.start(Trial, { user: 'ann' });
await workflows.signal(ann.runId, 'answer', { stays: 'perhaps' }); // does not fit, and is refused
await workflows.signal(ann.runId, 'answer', { stays: true });
console.log(await ann.result());

const bob = await workflows.start(Trial, { user: 'bob' });
console.log(await bob.result());

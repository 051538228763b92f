/** A run waits until somebody decides, or for so long; no thread or connection is held for it. */
import { connect, defineWorkflow } from 'millrace';

const Expense = defineWorkflow('expense', {}, async (ctx, input: { euros: number }) => {
  if (input.euros < 50) return 'paid at once';
  const decision = await ctx.approval('manager', {
    message: `${input.euros} euros?`,
    timeoutMs: input.euros > 1_000 ? 100 : '7d',
    onTimeout: 'reject',
  });
  if (!decision.approved) return `refused by ${decision.by}`;
  return ctx.run('pay', () => `paid, said ${decision.by}`);
});

await using mill = await connect(process.env.DATABASE_URL);
const { workflows } = mill;
workflows.work(Expense);
await mill.start();

console.log(await (await workflows.start(Expense, { euros: 20 })).result());

const large = await workflows.start(Expense, { euros: 400 });
await workflows.approve(large.runId, 'manager', { approved: true, by: 'Ann' });
console.log(await large.result());

const huge = await workflows.start(Expense, { euros: 4_000 });
console.log(await huge.result()); // nobody dares

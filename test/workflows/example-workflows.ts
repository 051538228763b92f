/** Workflows whose recorded histories are replayed: what ran yesterday must fit today's code. */
import { permanentFailure } from '../../src/core/errors.ts';
import { defineWorkflow } from '../../src/workflows/functions/define-workflow.ts';

export const OrderSaga = defineWorkflow(
  'order-saga',
  {},
  async (ctx, order: { readonly id: string; readonly cents: number }) => {
    const undo = { compensate: () => 'undone' };
    const stock = await ctx.run('reserve stock', () => `stock of ${order.id}`, undo);
    const charge = await ctx.run('charge', () => ({ receipt: ctx.uuid('receipt') }), undo);
    await ctx.run('ship', { retry: { attempts: 1 } }, () => {
      if (order.cents > 1_000) throw permanentFailure('too heavy');
      return 'shipped';
    });
    return { stock, charged: charge.receipt === ctx.uuid('receipt'), at: ctx.now() > 0 };
  },
);

export const Expense = defineWorkflow(
  'expense',
  {},
  async (ctx, expense: { readonly cents: number }) => {
    if (expense.cents < 100) return 'paid at once';
    const { approved, by } = await ctx.approval('manager', { timeoutMs: '1h' });
    if (!approved) return `refused by ${by}`;
    await ctx.sleep('bank', 1);
    return ctx.run('pay', () => `paid, said ${by}`);
  },
);

export const Report = defineWorkflow(
  'report',
  {},
  async (ctx, pages: { readonly count: number }) => {
    const items = Array.from({ length: pages.count }, (_, page) => page);
    const { lines, title } = await ctx.parallel({
      lines: () => ctx.map('page', items, (page) => page * 10, { concurrency: 4 }),
      title: async () => {
        await ctx.sleep(1);
        return ctx.run('title', () => 'Report');
      },
    });
    return { title, sum: lines.reduce((a, b) => a + b, 0) };
  },
);

export const exampleWorkflows = [OrderSaga, Expense, Report] as const;

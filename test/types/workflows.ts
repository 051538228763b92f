/** What must compile of durable functions and what must not; checked by `tsc`, never run. */
import {
  connect,
  type Decision,
  defineEvent,
  defineWorkflow,
  type SqlTransaction,
  type WorkflowContext,
} from 'millrace';
import { z } from 'zod';

/** True when both are the same type, where assigning one to the other would let `any` pass. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>) => {};

const Paid = defineEvent('Paid', { schema: z.object({ cents: z.number() }) });

const Ship = defineWorkflow('ship', {}, async (_ctx, input: { orderId: string }) => ({
  parcel: `parcel of ${input.orderId}`,
}));

const Order = defineWorkflow(
  'order',
  {
    input: z.object({ orderId: z.string(), copies: z.number().default(1) }),
    key: (input) => input.orderId,
    limits: { concurrency: 5, rate: { max: 10, perMs: 1_000 } },
    waitsFor: [Paid, 'Refunded'],
  },
  async (ctx, input) => {
    same<typeof ctx, WorkflowContext>(true);
    same<typeof input, { orderId: string; copies: number }>(true);

    const charge = await ctx.run('charge', async () => ({ receipt: 'r', cents: input.copies }));
    same<typeof charge, { receipt: string; cents: number }>(true);
    const written = await ctx.run('write', { transactional: true }, async (tools) => {
      same<typeof tools.tx, SqlTransaction>(true);
      return (await tools.tx.query<{ id: number }>('insert …')).length;
    });
    same<typeof written, number>(true);
    await ctx.run('plain', (tools) => {
      // @ts-expect-error a step has a transaction only when it asks for one
      return tools.tx.query('select 1');
    });
    const booked = await ctx.run('book', (tools) => ({ seat: tools.attempt }), {
      compensate: (result) => same<typeof result, { seat: number }>(true),
    });
    same<typeof booked, { seat: number }>(true);
    await ctx.run('book again', { compensate: (seat) => seat + 1 }, () => 5);
    // @ts-expect-error what is undone has the type of the step's result
    await ctx.run('wrong', { compensate: (seat: string) => seat }, () => 5);
    // @ts-expect-error there is no such option
    await ctx.run('wrong', { tries: 5 }, () => 5);

    const { a, b } = await ctx.parallel({ a: () => ctx.run('a', () => 1), b: async () => 'b' });
    same<typeof a, number>(true);
    same<typeof b, string>(true);
    // @ts-expect-error branches are functions
    await ctx.parallel({ a: ctx.run('c', () => 1) });

    const lengths = await ctx.map('length', ['x', 'yy'], (text, index) => text.length + index);
    same<typeof lengths, number[]>(true);
    // @ts-expect-error an item has the type of the list
    await ctx.map('wrong', ['x'], (item: number) => item);

    const child = await ctx.invoke(Ship, { orderId: input.orderId });
    same<typeof child, { parcel: string }>(true);
    // @ts-expect-error the input of the child has another type
    await ctx.invoke(Ship, { orderId: 5 });
    const started = await ctx.start(Ship, { orderId: 'o' });
    same<typeof started.runId, string>(true);

    const paid = await ctx.waitForEvent(Paid, { key: 'k', timeoutMs: '1h' });
    same<typeof paid, { cents: number }>(true);
    const maybe = await ctx.waitForEvent(Paid, { timeoutMs: 5, otherwise: null });
    same<typeof maybe, { cents: number } | null>(true);
    const signal = await ctx.waitForSignal('go', { schema: z.object({ by: z.string() }) });
    same<typeof signal, { by: string }>(true);
    same<Awaited<ReturnType<typeof ctx.waitForSignal>>, unknown>(true);
    const decision = await ctx.approval('manager', { onTimeout: 'reject' });
    same<typeof decision, Decision>(true);
    // @ts-expect-error there is no such answer
    await ctx.approval('manager', { onTimeout: 'ignore' });

    same<ReturnType<typeof ctx.patch>, boolean>(true);
    await ctx.sleep('1h');
    await ctx.sleep('key', 5);
    await ctx.sleepUntil(new Date());
    // @ts-expect-error a duration is a number or text
    await ctx.sleep(new Date());
    return { total: charge.cents + booked.seat };
  },
);

defineWorkflow('checked', { result: z.object({ n: z.number() }) }, () => ({ n: 1 }));
// @ts-expect-error the result has another type than its schema says
defineWorkflow('wrong', { result: z.object({ n: z.number() }) }, () => ({ n: 'one' }));
// @ts-expect-error there is no such option
defineWorkflow('wrong', { retries: 3 }, () => 1);
// @ts-expect-error the key is made from the input's own members
defineWorkflow('wrong', { input: z.object({ a: z.string() }), key: (input) => input.b }, () => 1);

const mill = await connect();
// What the schema fills in need not be given.
const { result } = await mill.workflows.start(Order, { orderId: 'o' });
same<Awaited<ReturnType<typeof result>>, { total: number }>(true);
// @ts-expect-error a member of the input has another type
await mill.workflows.start(Order, { orderId: 5 });
// @ts-expect-error a member of the input is missing
await mill.workflows.start(Ship, {});

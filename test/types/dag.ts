/** What must compile of declared workflows and what must not; checked by `tsc`, never run. */
import {
  createSteps,
  defineDecisionHandler,
  defineHandler,
  defineTask,
  fromInput,
  fromStep,
  type RunHandle,
  success,
  type Workflows,
} from 'millrace';
import { z } from 'zod';

/** True when both are the same type, where assigning one to the other would let `any` pass. */
type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>) => {};
declare const workflows: Workflows;
type ResultOf<H> = H extends RunHandle<infer R> ? R : never;

// From step to step: input, results of the steps under `after` and of no others.
const order = defineTask('order', { input: z.object({ items: z.array(z.string()) }) })
  .step('validate', ({ input }) => {
    same<typeof input.items, readonly string[]>(true);
    // @ts-expect-error input is frozen
    input.items.push('x');
    return { total: input.items.length };
  })
  .step('stock', async () => undefined)
  .step('charge', {
    after: ['validate'],
    handler: async ({ results, signal }) => {
      same<typeof results.validate.total, number>(true);
      // @ts-expect-error it does not come after that step
      void results.stock;
      return success({ id: `${results.validate.total}`, aborted: signal.aborted });
    },
    compensate: (_step, { id }) => same<typeof id, string>(true),
  })
  .step('ship', {
    after: ['charge', 'stock'],
    handler: ({ results }) => {
      same<typeof results.stock, null>(true);
      same<typeof results.charge.id, string>(true);
      return 1;
    },
  })
  .build();
const handle = workflows.start(order, { items: ['a'] });
same<ResultOf<Awaited<typeof handle>>, { readonly ship: number }>(true);
// @ts-expect-error the input is what the schema takes
void workflows.start(order, { items: [1] });

// @ts-expect-error there is no such step
defineTask('t').step('a', { after: ['b'], handler: () => 1 });
defineTask('t')
  .step('a', () => 1)
  // @ts-expect-error there is a step of this name already
  .step('a', () => 2);
defineTask('t').step('a', {
  result: z.object({ n: z.number() }),
  // @ts-expect-error it answers something else than its schema says
  handler: () => ({ n: 'one' }),
});

// Branches are chosen by name, and need not be there afterwards.
const routed = defineTask('routed')
  .decision('route', { branches: ['x', 'y'], handler: () => ['x'] })
  .step('x', { after: ['route'], handler: () => 1 })
  .step('more', { after: ['x'], handler: ({ results }) => results.x })
  .step('y', { after: ['route'], handler: () => 'y' })
  .step('always', () => true)
  .converge('end', {
    after: ['more', 'y', 'always'],
    handler: ({ results }) => {
      same<typeof results.more, number | undefined>(true);
      same<typeof results.always, boolean>(true);
      return [results.more ?? 0, results.y ?? ''] as const;
    },
  })
  .step('loose', { after: ['y'], handler: () => 2 })
  .build();
type Routed = NonNullable<(typeof routed)['types']>['result'];
same<Routed, { readonly end: readonly [number, string]; readonly loose?: number }>(true);
defineTask('t')
  // @ts-expect-error that is no branch
  .decision('route', { branches: ['x'], handler: () => 'z' });
defineTask('t').decision('route', { branches: ['x'], handler: () => createSteps('x', { why: 1 }) });

// A batch is the list of what its workers answer.
const rows = defineTask<{ count: number }>('rows')
  .batch('load', {
    plan: ({ input }) => ({ totalItems: input.count }),
    worker: ({ batch, input }) => ({ size: batch.size, of: input.count }),
  })
  .step('sum', {
    after: ['load'],
    handler: ({ results }) => results.load.map(({ size }) => size),
  })
  .build();
same<NonNullable<(typeof rows)['types']>['result'], { readonly sum: readonly number[] }>(true);

// Handlers by name: what is asked for has the type that was given.
defineHandler(
  'Payments::Charge',
  {
    depends: { cart: fromStep<{ total: number }>('cart') },
    inputs: { card: fromInput('card', z.string()) },
  },
  ({ cart, card, context }) => {
    same<typeof cart.total, number>(true);
    same<typeof card, string>(true);
    // @ts-expect-error it did not ask for that
    void context.cart;
    return { charged: cart.total };
  },
);
// A plain name has the type that the parameter says.
defineHandler(
  'Plain',
  { depends: { cart: 'cart' } },
  ({ cart }: { cart: { n: number } }) => cart.n,
);
// @ts-expect-error only what was asked for is there
defineHandler('Wrong', { inputs: { card: 'card' } }, ({ cart }) => cart);
defineDecisionHandler('Route', {}, () => ['a', 'b']);
// @ts-expect-error a decision answers with names
defineDecisionHandler('Route', {}, () => 42);

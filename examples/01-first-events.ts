/** The twenty lines of the README: one group answers events with events, in order per key. */
import { connect, defineEvent } from 'millrace';
import { z } from 'zod';

const OrderPlaced = defineEvent('OrderPlaced', {
  schema: z.object({ orderId: z.string(), amount: z.number() }),
  key: (order) => order.orderId,
});
const OrderAccepted = defineEvent('OrderAccepted', { schema: z.object({ orderId: z.string() }) });

await using mill = await connect(process.env.DATABASE_URL);
const seen = Promise.withResolvers<void>();
mill.subscribe({
  group: 'acceptance',
  events: [OrderPlaced],
  handle({ payload }, context) {
    context.publish(OrderAccepted, { payload: { orderId: payload.orderId } });
  },
});
mill.subscribe({
  group: 'printing',
  events: [OrderAccepted],
  handle({ payload, key }) {
    console.log(`accepted ${payload.orderId}, key ${key}`);
    seen.resolve();
  },
});
await mill.start();
await mill.publish(OrderPlaced, { tenantId: 'acme', payload: { orderId: 'o-1', amount: 99 } });
await seen.promise;

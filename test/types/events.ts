/** What must compile and what must not; checked by `tsc`, never run. */
import { connect, defineEvent, type EventOf } from 'millrace';
import { z } from 'zod';

const Paid = defineEvent('Paid', {
  schema: z.object({ orderId: z.string(), cents: z.number() }),
  key: (payment) => payment.orderId,
});
const Shipped = defineEvent('Shipped', { schema: z.object({ parcel: z.string() }) });

// @ts-expect-error the key is made from the payload's own members
defineEvent('Broken', { schema: z.object({ a: z.string() }), key: (payload) => payload.b });

const mill = await connect();
await mill.publish(Paid, { tenantId: 't', payload: { orderId: 'o', cents: 1 } });
// @ts-expect-error a member of the payload has another type
await mill.publish(Paid, { tenantId: 't', payload: { orderId: 'o', cents: '1' } });
// @ts-expect-error every event has a tenant
await mill.publish(Paid, { payload: { orderId: 'o', cents: 1 } });
// @ts-expect-error the payload is that of another event
await mill.publishMany([[Paid, { tenantId: 't', payload: { parcel: 'p' } }]]);

mill.subscribe({
  group: 'single',
  events: [Paid],
  handle(event, context) {
    const cents: number = event.payload.cents;
    context.publish(Shipped, { payload: { parcel: `${cents}` } });
    // @ts-expect-error events are facts: nothing in them can be changed
    event.payload.cents = 2;
    // @ts-expect-error the follow-up has the payload of its definition
    context.publish(Shipped, { payload: { cents } });
  },
});

mill.subscribe({
  group: 'several',
  events: [Paid, Shipped],
  handleBatch(events) {
    for (const event of events) {
      const payload: EventOf<typeof Paid>['payload'] | EventOf<typeof Shipped>['payload'] =
        event.payload;
      void payload;
    }
  },
});

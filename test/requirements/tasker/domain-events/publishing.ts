/** Publishing from outside of steps, and a custom publisher. */
import type { CallerTransaction, Millrace } from 'millrace';

export async function publishing(mill: Millrace, tx: CallerTransaction): Promise<void> {
  // #region document
  mill.events.declare('billing', [
    {
      name: 'invoice.sent',
      schema: {
        type: 'object',
        properties: { invoice_id: { type: 'string' } },
        required: ['invoice_id'],
      },
      delivery: 'acknowledged',
    },
  ]);

  // Resolves when the event is durable
  await mill.events.publish('invoice.sent', { invoice_id: 'inv_1' }, { tenantId: 'acme' });

  // Goes out if and when the caller's own transaction commits
  await mill.events.publish('invoice.sent', { invoice_id: 'inv_2' }, { tenantId: 'acme', tx });
  // #endregion
}

export function acknowledging(mill: Millrace): void {
  // #region document
  mill.events.subscribe(
    'invoice.sent',
    { delivery: 'acknowledged', group: 'ledger' },
    async (event, ctx) => {
      const { invoice_id } = event.payload as { invoice_id: string };
      // This row, the follow-up and the acknowledgement commit together, or not at all
      await ctx.tx.query('insert into ledger (invoice_id) values ($1)', [invoice_id]);
      ctx.publish('invoice.booked', { invoice_id });
    },
  );
  // #endregion
}

export function customPublisher(mill: Millrace): void {
  // #region document
  mill.events.registerPublisher({
    name: 'receipts',
    shouldPublish: ({ outcome }) => outcome.success,
    transformPayload: ({ payload }) => ({ id: (payload as { paymentId: string }).paymentId }),
    additionalMetadata: ({ stepName }) => ({ published_by_step: stepName }),
    onPublishError: (error, { name }) => console.error(`${name} was not published`, error),
  });
  // #endregion
}

/**
 * A job defined once: its schema types what is enqueued and handled, its result what is awaited.
 * The first try fails and is repeated after a backoff; a payload that does not fit never leaves.
 */
import { connect, defineJob, MillraceError } from 'millrace';
import { z } from 'zod';

const SendInvoice = defineJob('invoice.send', {
  queue: 'invoices',
  schema: z.object({ invoiceId: z.string(), cents: z.number().int() }),
  attempts: 5,
  backoff: { kind: 'exponential', delayMs: 20 },
  handler: ({ invoiceId }, { attempt }) => {
    console.log(`try ${attempt} of ${invoiceId}`);
    if (attempt === 1) throw new Error('the mail server is away');
    return { invoiceId, sent: true };
  },
});

await using mill = await connect(process.env.DATABASE_URL);
const { jobs } = mill;
jobs.work(SendInvoice, { concurrency: 5 });
await mill.start();

const job = await jobs.enqueue(SendInvoice, { invoiceId: 'inv_001', cents: 4_200 });
const { sent } = await jobs.result(job);
console.log(`sent: ${sent}`);
const view = await jobs.get(job.id);
console.log(`${view?.status} after ${view?.failures} failed try`);

try {
  await jobs.enqueue(SendInvoice, { invoiceId: 'inv_002', cents: 0.5 });
} catch (error) {
  if (error instanceof MillraceError) console.log(`refused: ${error.code}`);
}

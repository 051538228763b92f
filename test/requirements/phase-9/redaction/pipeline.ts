/**
 * The whole pipeline in a process of its own, with failures and dead letters; it prints every error
 * it is told of, as a careless operator would. `PIPELINE` is { url, redaction }.
 */
import { connect, defineEvent } from 'millrace';
import { ExceptionIngested, ExceptionNormalized, installExceptions } from 'millrace/exceptions';
import { z } from 'zod';
import { createHttpServer } from '../../../../src/http/server.ts';
import { eventually as within } from '../../../support/eventually.ts';
import { canaries, exceptions } from './canaries.ts';

const { url, redaction } = JSON.parse(process.env.PIPELINE ?? '{}') as {
  url: string;
  redaction: boolean;
};
const tenantId = 'northwind';
const eventually: typeof within = (what, check) => within(what, check, 60_000);
const Charge = defineEvent('Charge', {
  schema: z.object({ card: z.string(), amount: z.number(), note: z.string().optional() }),
  retry: { maxRetries: 1, initialDelayMs: 5, maxDelayMs: 5 },
});

const mill = await connect(url, {
  partitions: 2,
  pollMs: [10, 100],
  events: [Charge],
  ...(redaction && { redaction: { default: {}, tenants: { northwind: { fields: ['note'] } } } }),
  onError: (error, where) => console.error('survived', where, error),
});
const app = await installExceptions(mill, { redaction });
const server = createHttpServer({
  routes: app.routes,
  onError: (error, where) => console.error('http', where, error),
});

/** Quotes what it was given and where it was going, as errors of clients do. */
function fail(payload: unknown): never {
  const { email, password } = canaries;
  const target = `amqp://svc:${password}@broker.internal`;
  throw new Error(`${target} refused ${JSON.stringify(payload)} for ${email}`);
}
mill.subscribe({
  group: 'mirror',
  events: [ExceptionIngested, ExceptionNormalized],
  retry: { maxRetries: 1, initialDelayMs: 5, maxDelayMs: 5 },
  handle: ({ payload }) => fail(payload),
});
mill.subscribe({
  group: 'charge',
  events: [Charge],
  handle(event, context) {
    if (event.payload.amount < 0) fail(event.payload);
    context.publish(Charge, { payload: { card: canaries.card, amount: -1 } });
  },
});
await mill.start();

const call = (method: 'GET' | 'POST', path: string, body?: unknown) =>
  server.dispatch({ method, path, body });
const sent = await call('POST', `/exceptions/${tenantId}`, { exceptions });
console.log('sent', sent.status);
const refused = await call('POST', `/exceptions/${tenantId}`, {
  exception: { exceptionId: 'C-refused', rawPayload: { a: canaries.email }, [canaries.member]: 1 },
});
console.log('refused', refused.status);
const charged = { amount: 5, card: canaries.spacedCard, note: canaries.member };
const metadata = { agent: `mail ${canaries.email}` };
await mill.publish(Charge, { tenantId, key: 'charge-1', payload: charged, metadata });

const dead = await eventually('the dead letters', async () => {
  const letters = await mill.deadLetters.list({ tenantId, limit: 1_000 });
  const ofGroup = (name: string) => letters.filter(({ group }) => group === name).length;
  const enough = ofGroup('intake') >= 2 && ofGroup('charge') > 0 && ofGroup('mirror') > 0;
  return enough && letters;
});
for (const { group, failureReason } of dead) console.log('dead', group, failureReason);
const letter = dead.find(({ group }) => group === 'charge');
if (letter) {
  const ref = { tenantId, group: 'charge', eventId: letter.eventId };
  await mill.deadLetters.editAndRetry(ref, { card: canaries.card, amount: -2 });
}
const waiting = await eventually('what waits for a person', async () => {
  const { body } = await call('GET', `/approvals/${tenantId}`);
  const { items } = body as { items: readonly { approvalId: string }[] };
  return items.length > 0 && items;
});
for (const { approvalId } of waiting) {
  await call('POST', `/approvals/${tenantId}/${approvalId}/approve`, {
    user: 'ann',
    comments: `told ${canaries.email} and ${canaries.phone}`,
  });
}
await eventually('an end', async () => {
  const { body } = await call('GET', `/exceptions/${tenantId}/C-resolved`);
  const view = body as { outcome: string | null; summary: string | null };
  if (view.outcome === null) return false;
  console.log('view', JSON.stringify(view));
  return true;
});
await eventually('everything is handled', () => mill.backlog() === 0);
console.log(JSON.stringify(await mill.health()));
await server.close();
await mill.stop();
console.log('done');

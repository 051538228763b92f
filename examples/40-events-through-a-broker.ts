/**
 * The same handlers with and without a broker: one option of connect() chooses what carries events
 * to them. KAFKA_URL, AMQP_URL or REDIS_URL names it; without one the log in Postgres does.
 */
import { connect, defineEvent, EventPublisherService, getPartitionKey, openBroker } from 'millrace';
import { z } from 'zod';

const Raised = defineEvent('ExceptionRaised', { schema: z.object({ amount: z.int() }) });
const Settled = defineEvent('ExceptionSettled', { schema: z.object({ total: z.int() }) });

const { KAFKA_URL, AMQP_URL, REDIS_URL } = process.env;
const url = KAFKA_URL ?? AMQP_URL ?? REDIS_URL ?? null;
const name = `example-${crypto.randomUUID()}`;
await using mill = await connect(process.env.DATABASE_URL, {
  broker: { url, topic: `${name}.events`, group: name, retentionMs: 60_000 },
  events: [Raised],
});
const totals = new Map<string, number>();
const done = Promise.withResolvers<void>();
mill.subscribe({
  group: 'settlement',
  events: [Raised],
  handle({ key, payload }, context) {
    const total = (totals.get(key as string) ?? 0) * 10 + payload.amount;
    totals.set(key as string, total);
    if (payload.amount === 3) context.publish(Settled, { payload: { total } });
  },
});
let settled = 0;
mill.subscribe({
  group: 'printing',
  events: [Settled],
  handle({ key, payload }) {
    console.log(`${key}: in order ${payload.total}`);
    settled += 1;
    if (settled === 2) done.resolve();
  },
});
await mill.start();

const publisher = new EventPublisherService(mill, { events: [Raised] });
const topic = mill.broker?.topics.topicOf('acme') ?? 'millrace.events';
for (const exceptionId of ['EX-1', 'EX-2']) {
  console.log('publishing with the key', getPartitionKey('acme', exceptionId));
  for (const amount of [1, 2, 3]) {
    await publisher.publishEvent(topic, {
      eventType: 'ExceptionRaised',
      tenantId: 'acme',
      exceptionId,
      payload: { amount },
    });
  }
  if (exceptionId === 'EX-1') while (settled < 1) await new Promise((next) => setTimeout(next, 5));
}
await done.promise;
await mill.stop();
if (url !== null) {
  const broker = await openBroker(url);
  await broker.deleteTopics([topic]);
  await broker.close();
}

/** An inlet whose broker is killed and comes back: with a server of its own. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Connection } from 'rabbitmq-client';
import { z } from 'zod';
import { freshDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { openMill } from '../../test/support/mill.ts';
import { noRabbitmq, RabbitmqServer } from '../../test/support/rabbitmq-server.ts';
import { defineEvent } from '../core/event.ts';
import { openRabbitmqBroker } from '../drivers/rabbitmq/broker.ts';
import { Inlet } from './inlet.ts';

const waitMs = 60_000;
const Paid = defineEvent('Paid', { schema: z.object({ n: z.int() }) });

/** Sends until the server has confirmed it: the other system does not give up either. */
async function sendAll(connection: Connection, topic: string, from: number, to: number) {
  const publisher = connection.createPublisher({ confirm: true, maxAttempts: 1 });
  for (let n = from; n <= to; n += 1) {
    const headers = {
      'cloudEvents:specversion': '1.0',
      'cloudEvents:id': `paid/${n}`,
      'cloudEvents:source': 'shop',
      'cloudEvents:type': 'Paid',
      'cloudEvents:subject': 'customer-1',
    };
    const envelope = { exchange: topic, routingKey: '0', durable: true, headers };
    const options = { ...envelope, contentType: 'application/json' };
    await eventually(
      `message ${n}`,
      () =>
        publisher.send(options, Buffer.from(JSON.stringify({ n }))).then(
          () => true,
          () => false,
        ),
      waitMs,
    );
  }
  await publisher.close();
}

test('an inlet survives the death of its broker', { skip: noRabbitmq }, async (t) => {
  const server = await RabbitmqServer.started(t);
  await using database = await freshDatabase();
  const mill = await openMill(t, database.url);
  const broker = await openRabbitmqBroker({ url: server.url });
  const topic = 'shop.payments';
  await broker.createTopics([{ topic, partitions: 1 }]);
  const inlet = new Inlet(
    { topics: [topic], tenant: { always: 'acme' }, events: [Paid], batchMax: 5 },
    {
      broker,
      store: mill.store,
      publisher: mill.publisher,
      definition: () => undefined,
      onAppended() {},
      onError() {},
    },
  );
  await inlet.start();
  const connection = new Connection({ url: server.url, retryLow: 100, retryHigh: 1_000 });
  connection.on('error', () => {}); // it comes back by itself
  t.after(async () => {
    await inlet.stop();
    await broker.close();
    await connection.close();
  });
  const sending = sendAll(connection, topic, 1, 120);
  await eventually('some events', () => inlet.status().appended >= 20, waitMs);
  await server.kill();
  await server.start();
  await sending;
  await eventually('all events', () => inlet.status().appended >= 120, waitMs);
  const { events } = await mill.history.list({ tenantId: 'acme', key: 'customer-1', limit: 500 });
  const order = events.map(({ payload }) => (payload as { n: number }).n);
  assert.deepEqual(
    order,
    Array.from({ length: 120 }, (_, i) => i + 1),
  );
  assert.deepEqual(inlet.status().refused, {});
});

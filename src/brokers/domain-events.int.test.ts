/** Domain events whose subscriptions survive, on their way through a broker. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import {
  assignedTo,
  eachBroker,
  openLinked,
  ownName,
  removeTopic,
} from '../../test/support/linked-mill.ts';
import { ask, effectTable, quickRetry } from '../../test/support/mill.ts';
import { openPostgresStore } from '../drivers/postgres/store.ts';

let database: TestDatabase;
let number = 0;
before(async () => {
  database = await freshDatabase();
  await (await openPostgresStore({ url: database.url, partitions: 4 })).close();
});
after(() => database.drop());

const declared = (name: string, delivery: 'durable' | 'acknowledged') => ({
  name,
  delivery,
  description: 'An order was paid.',
  schema: {
    type: 'object',
    properties: { amount: { type: 'number' } },
    required: ['amount'],
  },
});

eachBroker((url) => {
  it('durable and acknowledged subscriptions have each event once, with retries', async (t) => {
    number += 1;
    const at = { namespace: `shop${number}`, tenantId: `tenant-${number}` };
    const [kept, told] = [`order${number}.kept`, `order${number}.told`];
    const table = `domain_effect_${number}`;
    await effectTable(database.url, table);
    const topic = ownName('domain');
    removeTopic(t, url, topic);
    const linked = await openLinked(t, {
      database: database.url,
      broker: { url, topic, group: topic },
    });
    const { events } = linked.mill;
    events.declare(at.namespace, [declared(kept, 'acknowledged'), declared(told, 'durable')]);
    events.subscribe(
      kept,
      { delivery: 'acknowledged', group: `kept-${number}`, retry: quickRetry },
      async (one, context) => {
        const { amount } = one.payload as { amount: number };
        await context.tx.query(`insert into ${table} (key, n) values ($1, $2)`, ['a', amount]);
        context.publish(told, one.payload);
        if (context.attempt === 1 && amount % 2 === 0) throw new Error('after the effect');
      },
    );
    const heard: number[] = [];
    const note = (one: { readonly payload: unknown }) =>
      void heard.push((one.payload as { amount: number }).amount);
    events.subscribe(told, { delivery: 'durable', group: `told-${number}` }, note);
    await linked.mill.start();
    await assignedTo(linked);
    for (let amount = 0; amount < 20; amount += 1) {
      if (amount === 10) linked.broker.answersLost = 2;
      await events.publish(kept, { amount }, { ...at, taskUuid: `task-${amount}` });
    }
    await eventually('all follow-ups came', () => heard.length >= 20, 30_000);
    const expected = Array.from({ length: 20 }, (_, n) => n);
    const rows = await ask<{ n: number }>(database.url, `select n from ${table} order by n`);
    assert.deepEqual(
      rows.map(({ n }) => n),
      expected,
      'each effect once',
    );
    assert.deepEqual(
      heard.sort((a, b) => a - b),
      expected,
    );
    assert.ok(linked.link.feed.counts.delivered > 0, 'they came by the broker');
  });
});

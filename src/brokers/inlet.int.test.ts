/** Inlets on real brokers, filled by the bare clients of another system. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { z } from 'zod';
import { freshDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import {
  type ForeignMessage,
  type ForeignWorld,
  foreignWorlds,
} from '../../test/support/foreign-producers.ts';
import { effectsByKey, effectTable, names, openMill } from '../../test/support/mill.ts';
import { MillraceError } from '../core/errors.ts';
import { defineEvent } from '../core/event.ts';
import type { Millrace } from '../millrace.ts';
import type { Store } from '../ports/store.ts';
import { Inlet, type InletOptions } from './inlet.ts';
import { refusedGroup, refusedMessages } from './refusals.ts';

const database = await freshDatabase();
const waitMs = 30_000;
const partitions = 3;
const OrderPaid = defineEvent('OrderPaid', {
  schema: z.object({ orderId: z.string(), n: z.int() }),
  key: ({ orderId }) => orderId,
});

/** Order `n` of customer `k`, in the partition that the other system chose for the customer. */
function paid(k: number, n: number, more: Readonly<Record<string, string>> = {}): ForeignMessage {
  return {
    partition: k % partitions,
    key: `customer-${k}`,
    attributes: {
      specversion: '1.0',
      id: `${k}/${n}`,
      source: 'https://shop.example/',
      type: 'com.shop.order.paid',
      ...more,
    },
    body: JSON.stringify({ orderId: `O-${k}`, n }),
  };
}

interface Scene {
  readonly mill: Millrace;
  readonly topic: string;
  readonly tenant: string;
  readonly table: string;
  send(messages: readonly ForeignMessage[]): Promise<void>;
  open(options?: Partial<InletOptions>, store?: Partial<Store>): Promise<Inlet>;
  effects(): Promise<Map<string, number[]>>;
  refusals(count: number): Promise<readonly string[]>;
}

async function scene(t: TestContext, world: ForeignWorld): Promise<Scene> {
  const mill = await openMill(t, database.url);
  const { group, tenant, table } = names();
  await effectTable(database.url, table);
  mill.subscribe({
    group,
    events: [OrderPaid],
    async handle({ tenantId, payload: { orderId, n } }, context) {
      if (tenantId !== tenant) return; // of another test
      const tx = await context.tx();
      await tx.query(`insert into ${table} (key, n) values ($1, $2)`, [orderId, n]);
    },
  });
  mill.subscribe(refusedMessages());
  await mill.start();
  const topic = `shop.${crypto.randomUUID()}`;
  const admin = await world.open();
  const producer = await world.producer();
  t.after(async () => {
    await producer.close();
    await admin.deleteTopics([topic]);
    await admin.close();
  });
  await admin.createTopics([{ topic, partitions }]);
  return {
    mill,
    topic,
    tenant,
    table,
    send: (messages) => producer.send(topic, messages),
    async open(options, store) {
      const broker = await world.open();
      const inlet = new Inlet(
        {
          topics: [topic],
          group: `inlet-${topic}`,
          tenant: { always: tenant },
          events: [OrderPaid],
          types: { 'com.shop.order.paid': 'OrderPaid' },
          ...options,
        },
        {
          broker,
          store: { ...mill.store, ...store },
          publisher: mill.publisher,
          definition: () => undefined,
          onAppended: () => {},
          onError: () => {},
        },
      );
      t.after(async () => {
        await inlet.stop();
        await broker.close();
      });
      await inlet.start();
      return inlet;
    },
    effects: () => effectsByKey(database.url, table),
    refusals: (count) => refusalsOf(mill, tenant, count),
  };
}

async function refusalsOf(mill: Millrace, tenantId: string, count: number) {
  const letters = await eventually(
    `${count} refusals`,
    async () => {
      const found = await mill.deadLetters.list({ tenantId, group: refusedGroup });
      return found.length >= count && found;
    },
    waitMs,
  );
  return letters.map(({ failureReason }) => failureReason);
}

function upTo(most: number): number[] {
  return Array.from({ length: most }, (_, n) => n + 1);
}

/** Every effect once, and in the order of its key. */
async function expectEffects(at: Scene, customers: number, most: number): Promise<void> {
  const total = customers * most;
  const seen = await eventually(
    `${total} effects`,
    async () => {
      const effects = await at.effects();
      const count = [...effects.values()].reduce((sum, { length }) => sum + length, 0);
      return count >= total && effects;
    },
    waitMs,
  );
  assert.equal(seen.size, customers);
  for (const [key, order] of seen) assert.deepEqual(order, upTo(most), key);
}

for (const world of foreignWorlds) {
  const skip = world.url === undefined ? `${world.variable} is not set` : false;
  describe(`an inlet from ${world.name}`, { skip }, () => {
    test('brings events in order, once, and in our shape', async (t) => {
      const at = await scene(t, world);
      const inlet = await at.open();
      const all = upTo(20).flatMap((n) => upTo(5).map((k) => paid(k, n)));
      await at.send(all);
      await at.send(all.slice(0, 40)); // the other system was not sure
      await expectEffects(at, 5, 20);
      await eventually('all of them', () => inlet.status().received >= 140, waitMs);
      await eventually('nothing waits', () => inlet.status().buffered === 0, waitMs);
      const { appended, duplicates, refused } = inlet.status();
      assert.deepEqual([appended, duplicates, refused], [100, 40, {}]);
      const { events } = await at.mill.history.list({ tenantId: at.tenant, key: 'O-1' });
      assert.equal(events.length, 20);
      assert.deepEqual(events[0]?.metadata, {
        'cloudevents.source': 'https://shop.example/',
        'cloudevents.id': '1/1',
        'cloudevents.type': 'com.shop.order.paid',
      });
    });

    test('goes on where it stopped, and loses and doubles nothing', async (t) => {
      const at = await scene(t, world);
      // Sent while inlets come and go; each of them finds more than it waits for. The first one is
      // there before: RabbitMQ keeps nothing for a group that it does not know.
      let sending = Promise.resolve();
      for (const round of upTo(3)) {
        const inlet = await at.open({ batchMax: 7 });
        sending = sending.then(async () => {
          for (const n of upTo(20)) {
            await at.send(upTo(4).map((k) => paid(k, (round - 1) * 20 + n)));
          }
        });
        await eventually('some', () => inlet.status().appended >= 20, waitMs);
        await inlet.stop();
        assert.equal(inlet.status().buffered, 0);
      }
      await sending;
      await at.open();
      await expectEffects(at, 4, 60);
    });

    test('shares the partitions with others, who come and go', async (t) => {
      const at = await scene(t, world);
      const [first, second] = await Promise.all([at.open(), at.open()]);
      const all = () => first.status().assigned.length + second.status().assigned.length;
      await eventually('every partition has one', () => all() === partitions, waitMs);
      for (const n of upTo(15)) await at.send(upTo(6).map((k) => paid(k, n)));
      await first.stop();
      for (const n of upTo(15)) await at.send(upTo(6).map((k) => paid(k, 15 + n)));
      await expectEffects(at, 6, 30);
      assert.equal(first.status().errors + second.status().errors, 0);
    });

    test('refuses what cannot be an event, and what is behind it goes on', async (t) => {
      const at = await scene(t, world);
      const inlet = await at.open();
      const bad: ForeignMessage[] = [
        paid(1, 2, { specversion: '0.3' }),
        paid(1, 3, { type: 'com.shop.order.lost' }),
        paid(1, 4, { eventversion: '9' }),
        paid(1, 5, { tenantid: 'somebody-else' }),
        { ...paid(1, 6), body: '{"orderId":"O-1","n":"six"}' },
        { ...paid(1, 7), body: '{"orderId":' },
        { ...paid(1, 8), attributes: {}, body: Buffer.from([0xff, 0x00, 0x01]) },
      ];
      await at.send([paid(1, 1), ...bad, paid(1, 2)]);
      await expectEffects(at, 1, 2);
      // All are of the inlet's tenant: also those of which nobody could read whose they are.
      const reasons = (await at.refusals(bad.length)).map((text) => text.split(':')[0] as string);
      assert.equal(reasons.length, bad.length);
      assert.ok(reasons.filter((reason) => reason === 'unreadable').length >= 2);
      const { refused, appended } = inlet.status();
      assert.equal(appended, 2);
      assert.equal(
        Object.values(refused).reduce((sum, count) => sum + count, 0),
        bad.length,
      );
      for (const reason of ['type-unknown', 'version-unsupported', 'tenant-mismatch']) {
        assert.equal(refused[reason], 1, reason);
      }
    });

    test('waits for a database that is away, in bounded memory', async (t) => {
      const at = await scene(t, world);
      let away = true;
      let tries = 0;
      const append: Store['log']['append'] = (events, options) => {
        tries += 1;
        if (away) throw new MillraceError('STORE_UNAVAILABLE', 'The database is away.');
        return at.mill.store.log.append(events, options);
      };
      const inlet = await at.open(
        { bufferMax: 50, batchMax: 20 },
        { log: { ...at.mill.store.log, append } },
      );
      await at.send(upTo(100).flatMap((n) => upTo(3).map((k) => paid(k, n))));
      await eventually('several tries', () => tries > 6, waitMs);
      // The driver may bring as many as it was allowed to have in flight, and no more.
      assert.ok(inlet.status().buffered <= partitions * 50, String(inlet.status().buffered));
      assert.equal(inlet.status().appended, 0);
      assert.match(inlet.status().lastError ?? '', /appending: The database is away/);
      away = false;
      await expectEffects(at, 3, 100);
    });
  });
}

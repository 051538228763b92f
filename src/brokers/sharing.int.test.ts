/** Two processes behind one broker: who has which partition, and that nobody has it twice. */
import assert from 'node:assert/strict';
import { after, before, it, type TestContext } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import {
  assignedTo,
  eachBroker,
  type Linked,
  openLinked,
  ownName,
  removeTopic,
  writeEffects,
} from '../../test/support/linked-mill.ts';
import { effectsByKey, effectTable, names } from '../../test/support/mill.ts';
import { openPostgresStore } from '../drivers/postgres/store.ts';

let database: TestDatabase;
before(async () => {
  database = await freshDatabase();
  await (await openPostgresStore({ url: database.url, partitions: 4 })).close();
});
after(() => database.drop());

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);
const keys = numbers(12).map((n) => `key-${n}`);
const longMs = 60_000;

async function share(t: TestContext, url: string): Promise<void> {
  const names_ = names();
  const { group, tenant, table, Thing } = names_;
  const topic = ownName('share');
  removeTopic(t, url, topic);
  await effectTable(database.url, table);
  const open = async (): Promise<Linked> => {
    const linked = await openLinked(t, {
      database: database.url,
      broker: { url, topic, group: topic },
    });
    writeEffects(linked.mill, names_);
    await linked.mill.start();
    return linked;
  };
  const partitionsOf = async ({ mill }: Linked) =>
    (await mill.health()).streams.filter((one) => one.group === group).map((s) => s.partition);
  const send = async ({ mill }: Linked, from: number, to: number) => {
    for (let n = from; n < to; n += 1) {
      await mill.publishMany(keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }]));
    }
  };
  const one = await open();
  await assignedTo(one);
  await send(one, 0, 10);
  const two = await open();
  const sending = send(one, 10, 30);
  await assignedTo(one, two);
  await eventually(
    'each handles what is brought to it',
    async () => {
      const fits = async (linked: Linked) =>
        (await partitionsOf(linked)).sort().join() === linked.link.feed.assigned.sort().join();
      return (await fits(one)) && (await fits(two));
    },
    longMs,
  );
  await sending;
  await send(two, 30, 40);
  const stopping = one.mill.stop();
  await send(two, 40, 60);
  await stopping;
  await eventually(
    'the second has all',
    async () => (await partitionsOf(two)).length === 4,
    longMs,
  );
  await eventually(
    'all are handled',
    async () => {
      const seen = await effectsByKey(database.url, table);
      return keys.every((key) => (seen.get(key)?.length ?? 0) >= 60);
    },
    longMs,
  );
  const seen = await effectsByKey(database.url, table);
  for (const key of keys) assert.deepEqual(seen.get(key), numbers(60), key);
}

eachBroker((url) => {
  it('two processes share the partitions, and the one that stays takes all', (t) => share(t, url));
});

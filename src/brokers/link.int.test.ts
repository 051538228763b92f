/** Relay and feed over real brokers: the guarantees of the log hold whatever lies in between. */
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
import { seededRandom } from '../../test/support/random.ts';
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

async function comeAndGo(t: TestContext, url: string): Promise<void> {
  const random = seededRandom(t);
  const names_ = names();
  const { tenant, table, Thing } = names_;
  const topic = ownName('random');
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
  const running = [await open()];
  await assignedTo(running[0] as Linked);
  let sent = 0;
  for (let turn = 0; turn < 12; turn += 1) {
    const from = random.pick(running);
    const count = 1 + random.below(30);
    for (const end = sent + count; sent < end; sent += 1) {
      const n = sent;
      const batch = keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }] as const);
      await from.mill.publishMany(batch);
    }
    const dice = random.below(6);
    if (dice === 0 && running.length < 3) running.push(await open());
    else if (dice === 1 && running.length > 1) await running.splice(0, 1)[0]?.mill.stop();
    else if (dice === 2) from.broker.answersLost = 1 + random.below(3);
    else if (dice === 3) {
      from.broker.away = true;
      setTimeout(() => {
        from.broker.away = false;
      }, random.below(500));
    }
  }
  await eventually(
    `all ${sent} of each key are handled`,
    async () => {
      const seen = await effectsByKey(database.url, table);
      return keys.every((key) => (seen.get(key)?.length ?? 0) >= sent);
    },
    longMs,
  );
  const seen = await effectsByKey(database.url, table);
  for (const key of keys) assert.deepEqual(seen.get(key), numbers(sent), key);
  const delivered = running.reduce((sum, { link }) => sum + link.feed.counts.delivered, 0);
  assert.ok(delivered > 0, 'they came by the broker');
  const [one] = running;
  await eventually(
    'the broker is told of everything',
    async () => ((await one?.link.consumerLag()) ?? []).every(({ lag }) => lag === 0),
    longMs,
  );
}

eachBroker((url) => {
  it('every event has its effect once, in order, while processes come and go', (t) =>
    comeAndGo(t, url));
});

/** A topic that somebody made with another number of partitions: nothing is published to it. */
import assert from 'node:assert/strict';
import { after, before, it, type TestContext } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { eachBroker, openLinked, ownName, removeTopic } from '../../test/support/linked-mill.ts';
import { names } from '../../test/support/mill.ts';
import { openBroker } from '../connect.ts';
import { openPostgresStore } from '../drivers/postgres/store.ts';

let database: TestDatabase;
before(async () => {
  database = await freshDatabase();
  await (await openPostgresStore({ url: database.url, partitions: 4 })).close();
});
after(() => database.drop());

const longMs = 60_000;

async function holdBack(t: TestContext, url: string): Promise<void> {
  const { tenant, Thing } = names();
  const topic = ownName('mismatch');
  removeTopic(t, url, topic);
  const operator = await openBroker(url);
  t.after(() => operator.close());
  await operator.createTopics([{ topic, partitions: 6 }]);
  const { mill, link } = await openLinked(t, {
    database: database.url,
    broker: { url, topic, group: topic },
  });
  await mill.start();
  const keys = Array.from({ length: 12 }, (_, n) => `key-${n}`);
  await mill.publishMany(
    keys.map((key, n) => [Thing, { tenantId: tenant, key, payload: { n } }] as const),
  );
  await eventually(
    'the relay has tried, and says why not',
    () => link.relay.counts.retries >= 2 && link.problems().some((what) => /6.*4/.test(what)),
    longMs,
  );
  assert.equal(link.relay.counts.relayed, 0);
  const lags = await link.relayLag();
  assert.equal(
    lags.reduce((sum, { events }) => sum + events, 0),
    12,
  );
  // The operator corrects it: all that waited goes out.
  await operator.deleteTopics([topic]);
  await eventually('everything is relayed', () => link.relay.counts.relayed === 12, longMs);
  assert.deepEqual(await operator.topics([topic]), [{ topic, partitions: 4 }]);
}

eachBroker((url) => {
  it('nothing is published to a topic of other partitions', (t) => holdBack(t, url));
});

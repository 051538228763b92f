/** Relay and feed on a log whose beginning was removed: nothing hangs or comes from before. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import {
  anyBroker,
  assignedTo,
  openLinked,
  ownName,
  removeTopic,
} from '../../test/support/linked-mill.ts';
import { names } from '../../test/support/mill.ts';
import type { Store } from '../ports/store.ts';
import { relayGroup } from './relay.ts';

const url = anyBroker?.url ?? '';
const skip = anyBroker === null && 'none of KAFKA_URL, AMQP_URL, REDIS_URL is set';
const longMs = 30_000;
const keys = ['a', 'b', 'c', 'd', 'e', 'f'];

let database: TestDatabase;
before(async () => {
  database = await freshDatabase();
});
after(() => database.drop());

async function isSettled({ streams, log }: Store, group: string): Promise<boolean> {
  const [positions, heads] = await Promise.all([streams.positions([group]), log.heads()]);
  return positions.every(({ partition, position }) => position === heads[partition]);
}

it('a group from the start reads what is left, and the broker what comes', { skip }, async (t) => {
  const { tenant, group, Thing } = names();
  const topic = ownName('log-start');
  removeTopic(t, url, topic);
  const open = () =>
    openLinked(t, { database: database.url, broker: { url, topic, from: 'start', group: topic } });
  const first = await open();
  const { store } = first.mill;
  const send = async (from: number, to: number) => {
    for (let n = from; n < to; n += 1) {
      await first.mill.publishMany(
        keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }]),
      );
    }
  };
  await send(0, 20);
  await store.retention.mark(0);
  const trim = () => store.retention.trim({ olderThanMs: 0, limit: 1_000 });
  const held = await trim();
  assert.equal(held.removed, 0, 'the relay has not published them');
  assert.ok(held.holds.every((hold) => hold.group === relayGroup));
  await first.mill.start();
  const relayed = () =>
    eventually(
      'all of it is at the broker',
      async () => (await first.link.relayLag()).every(({ events }) => events === 0),
      longMs,
    );
  await relayed();
  const heads = await store.log.heads();
  const parts = heads.filter((head) => head > 0).length;
  // The group of refused messages settles what it passes over within a second.
  let removed = 0;
  await eventually(
    'all but the newest has gone',
    async () => {
      removed += (await trim()).removed;
      return removed === 20 * keys.length - parts;
    },
    longMs,
  );
  assert.ok((await first.link.relayLag()).every(({ events, seconds }) => events + seconds === 0));
  await first.mill.stop();

  const second = await open();
  const seen: { readonly partition: number; readonly offset: number }[] = [];
  second.mill.subscribe({
    group,
    events: [Thing],
    handle: ({ partition, offset }) => void seen.push({ partition, offset }),
  });
  await second.mill.start();
  await assignedTo(second);
  for (const key of keys) {
    await second.mill.publish(Thing, { tenantId: tenant, key, payload: { n: 20 } });
  }
  await eventually(
    'all that is left is settled',
    () => isSettled(second.mill.store, group),
    longMs,
  );
  assert.equal(seen.length, parts + keys.length, 'each once, and none from before');
  const starts = await second.mill.store.retention.starts();
  for (const { partition, offset } of seen) assert.ok(offset >= (starts[partition] as number));
  assert.deepEqual(second.errors, []);
});

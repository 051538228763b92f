/** A process starts while its broker is away: what that can is known once it is there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freshDatabase } from '../../test/support/database.ts';
import { anyBroker, ownName, removeTopic } from '../../test/support/linked-mill.ts';
import { names } from '../../test/support/mill.ts';
import { openBroker } from '../connect.ts';
import { MillraceError } from '../core/errors.ts';
import { openPostgresStore } from '../drivers/postgres/store.ts';
import { Millrace } from '../millrace.ts';
import { PatientBroker } from './patient-broker.ts';

const url = anyBroker?.url ?? '';
const skip = anyBroker === null && 'none of KAFKA_URL, AMQP_URL, REDIS_URL is set';

test('a message refused twice is kept once, also after a start without the broker', {
  skip,
}, async (t) => {
  await using database = await freshDatabase();
  const { tenant } = names();
  const topic = ownName('patient');
  removeTopic(t, url, topic);
  let isAway = true;
  const broker = new PatientBroker('away', async () => {
    if (isAway) throw new MillraceError('BROKER_UNAVAILABLE', 'It is away.');
    return openBroker(url);
  });
  const store = await openPostgresStore({ url: database.url });
  const mill = new Millrace(store, { link: { broker, options: { url, topic, group: topic } } });
  await assert.rejects(broker.ready(), { code: 'BROKER_UNAVAILABLE' });
  isAway = false;
  await broker.ready();
  const raw = Buffer.from('no event');
  const refusal = { topic, partition: 0, reason: 'unreadable', message: 'It is no event.' };
  const refused = { ...refusal, event: null, raw, tenantId: tenant };
  // Where positions change with each delivery, only the content says that it is the same.
  const positions = broker.capabilities.replays ? ['1', '1'] : ['1', '2'];
  for (const position of positions) await mill.broker?.refusals.refuse([{ ...refused, position }]);
  const { events } = await mill.history.list({ tenantId: tenant });
  await mill.stop();
  assert.equal(events.length, 1);
});

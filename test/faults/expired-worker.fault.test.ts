/**
 * A worker cannot say that it lives for longer than its time to live, again and again, while its
 * other calls get through: it gives up what is under way, and none of it may be committed by
 * halves.
 */
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, Millrace, MillraceError } from 'millrace';
import { openPostgresStore } from '../../src/drivers/postgres/store.ts';
import { assertClean, drain, judge, record, scaled } from './ledger.ts';
import { createEffects, subscribePipeline } from './pipeline.ts';
import { Producer } from './producer.ts';
import { announcedRandom } from './random.ts';
import { FaultServer } from './server.ts';

/** Shorter ones run out by themselves on a machine with more to do than cores. */
const timeToLiveMs = 1_000;

test('heartbeats that do not get through', { timeout: 600_000 }, async () => {
  const random = announcedRandom('expired-worker');
  const times = scaled(4);
  await using server = await FaultServer.started();
  await using publisher = await connect(server.url());
  await createEffects(server);
  const store = await openPostgresStore({ url: server.url() });
  let silent = false;
  const heartbeat: typeof store.streams.heartbeat = async (...args) => {
    if (silent) throw new MillraceError('STORE_UNAVAILABLE', 'A fault was injected.');
    return store.streams.heartbeat(...args);
  };
  const streams = { ...store.streams, heartbeat };
  await using mill = new Millrace({ ...store, streams }, { heartbeatMs: 200, timeToLiveMs });
  subscribePipeline(mill, { worker: 'w1', handlerMs: 5 });
  await mill.start();
  const producer = new Producer(publisher, random);
  producer.start(300);
  for (let i = 0; i < times; i += 1) {
    await sleep(200 + random.below(300));
    silent = true;
    await sleep(timeToLiveMs * 2);
    silent = false;
  }
  await producer.stop();
  await drain(server, 20_000);
  const verdict = await judge(server, producer);
  record({
    fault: 'heartbeats silent for 2 leases',
    seed: random.seed,
    injected: times,
    events: producer.acknowledgedCount,
    verdict,
  });
  assertClean(verdict);
});

/**
 * A worker is stopped (SIGSTOP) for three times its time to live and goes on after that, unaware
 * that others own its partitions by then: what it settles late is refused, and leaves no effect
 * behind.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'millrace';
import { Fleet } from './fleet.ts';
import { allowedMs, assertClean, drain, judge, record, scaled } from './ledger.ts';
import { createEffects } from './pipeline.ts';
import { Producer } from './producer.ts';
import { announcedRandom } from './random.ts';
import { Recoveries } from './recoveries.ts';
import { FaultServer } from './server.ts';

const timeToLiveMs = 1_000;
/** Work goes on at the others: time to live, one heartbeat, and what had piled up. */
const recoveryMsMax = 10_000;

test('a worker frozen for three leases is fenced', { timeout: 900_000 }, async () => {
  const random = announcedRandom('frozen-worker');
  const freezes = scaled(3);
  await using server = await FaultServer.started();
  await using mill = await connect(server.url());
  await createEffects(server);
  const pace = { handlerMs: 40, heartbeatMs: 200, timeToLiveMs };
  await using fleet = new Fleet({ url: server.url(), ...pace });
  for (let i = 0; i < 3; i += 1) fleet.start();
  await Promise.all(fleet.workers.map(({ ready }) => ready));
  const producer = new Producer(mill, random);
  producer.start(150);
  const recoveries = new Recoveries(server, producer);
  await sleep(1_000);
  for (let i = 0; i < freezes; i += 1) {
    const worker = random.pick(fleet.workers);
    worker.kill('SIGSTOP');
    recoveries.noteFault();
    await sleep(timeToLiveMs * 3);
    worker.kill('SIGCONT');
    await sleep(500 + random.below(500));
  }
  const recoveriesMs = await recoveries.finish(30_000);
  await producer.stop();
  await drain(server, 30_000);
  const verdict = await judge(server, producer);
  const refused = await server.logged(/has a newer owner than epoch|is settled already/);
  record({
    fault: 'SIGSTOP of a worker for 3 leases',
    seed: random.seed,
    injected: freezes,
    events: producer.acknowledgedCount,
    verdict,
    recoveriesMs,
    note: `${refused} late settlements refused`,
  });
  assert.deepEqual(fleet.crashes, []);
  assertClean(verdict);
  assert.ok(refused > 0, 'the fault did happen: something was settled late');
  assert.ok(
    Math.max(...recoveriesMs) <= allowedMs(recoveryMsMax),
    `recoveries ${recoveriesMs.map(Math.round)}`,
  );
});

/** The server itself is killed with SIGKILL and started again, under load, several times. */
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

/** From the moment the server is back. */
const recoveryMsMax = 10_000;

test('SIGKILL of Postgres loses nothing acknowledged', { timeout: 900_000 }, async () => {
  const random = announcedRandom('kill-postgres');
  const kills = scaled(3);
  await using server = await FaultServer.started();
  await using mill = await connect(server.url());
  await createEffects(server);
  await using fleet = new Fleet({ url: server.url() });
  fleet.start();
  fleet.start();
  await Promise.all(fleet.workers.map(({ ready }) => ready));
  const producer = new Producer(mill, random);
  producer.start(150);
  const recoveriesMs: number[] = [];
  for (let i = 0; i < kills; i += 1) {
    await sleep(500 + random.below(1_000));
    await server.kill();
    await sleep(random.below(1_500));
    await server.start();
    const recoveries = new Recoveries(server, producer);
    recoveries.noteFault();
    recoveriesMs.push(...(await recoveries.finish(30_000)));
  }
  await producer.stop();
  await drain(server, 30_000);
  const verdict = await judge(server, producer);
  record({
    fault: 'SIGKILL of Postgres',
    seed: random.seed,
    injected: kills,
    events: producer.acknowledgedCount,
    verdict,
    recoveriesMs,
  });
  assert.deepEqual(fleet.crashes, []);
  assert.deepEqual(producer.refusals, []);
  assertClean(verdict);
  assert.ok(
    Math.max(...recoveriesMs) <= allowedMs(recoveryMsMax),
    `recoveries ${recoveriesMs.map(Math.round)}`,
  );
});

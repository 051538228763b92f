/** Worker processes are killed with SIGKILL, one after the other, while orders come in. */
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

const recoveryMsMax = 10_000;

test('SIGKILL of workers loses nothing and doubles nothing', { timeout: 600_000 }, async () => {
  const random = announcedRandom('kill-worker');
  const rounds = scaled(4);
  await using server = await FaultServer.started();
  await using mill = await connect(server.url());
  await createEffects(server);
  await using fleet = new Fleet({ url: server.url() });
  for (let i = 0; i < 3; i += 1) fleet.start();
  await Promise.all(fleet.workers.map(({ ready }) => ready));
  const producer = new Producer(mill, random);
  producer.start(150);
  const recoveriesMs: number[] = [];
  let kills = 0;
  for (let round = 0; round < rounds; round += 1) {
    await sleep(random.below(1_500));
    for (let twice = 0; twice < 1 + random.below(2); twice += 1) {
      random.pick(fleet.workers).kill('SIGKILL');
      fleet.start();
      kills += 1;
    }
    const recoveries = new Recoveries(server, producer);
    recoveries.noteFault();
    recoveriesMs.push(...(await recoveries.finish(30_000)));
  }
  await producer.stop();
  await drain(server, 30_000);
  const verdict = await judge(server, producer);
  record({
    fault: 'SIGKILL of a worker',
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

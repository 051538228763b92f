/**
 * No database at the start, then one; and one that goes away under a running instance. `connect`
 * says clearly what is missing; a running instance says so in its health and goes on by itself.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, MillraceError } from 'millrace';
import { eventually } from './eventually.ts';
import { allowedMs, assertClean, drain, judge, record, scaled } from './ledger.ts';
import { createEffects, subscribePipeline } from './pipeline.ts';
import { Producer } from './producer.ts';
import { announcedRandom } from './random.ts';
import { Recoveries } from './recoveries.ts';
import { FaultServer } from './server.ts';

const recoveryMsMax = 5_000;

test('a database that is absent for seconds', { timeout: 600_000 }, async () => {
  const random = announcedRandom('absent-database');
  const absences = scaled(2);
  await using server = await FaultServer.create();
  const from = performance.now();
  await assert.rejects(connect(server.url()), (error) => {
    assert.ok(error instanceof MillraceError);
    assert.equal(error.code, 'STORE_UNAVAILABLE');
    assert.match(error.message, /ECONNREFUSED/);
    return error.retryable && error.fix.length > 0;
  });
  const saidAfterMs = performance.now() - from;
  await server.start();
  await using mill = await connect(server.url());
  await createEffects(server);
  subscribePipeline(mill, { worker: 'w1' });
  await mill.start();
  const producer = new Producer(mill, random);
  producer.start(100);
  const recoveriesMs: number[] = [];
  for (let i = 0; i < absences; i += 1) {
    await eventually('healthy', 5_000, async () => (await mill.health()).status === 'ok');
    await server.kill();
    await eventually('health says down', 3_000, async () => {
      const { status, ready, problems } = await mill.health();
      return status === 'down' && !ready && problems.includes('the store does not answer');
    });
    await sleep(1_000 + random.below(3_000));
    await server.start();
    const recoveries = new Recoveries(server, producer);
    recoveries.noteFault();
    await eventually('health says ok', 10_000, async () => (await mill.health()).status === 'ok');
    recoveriesMs.push(...(await recoveries.finish(30_000)));
  }
  await producer.stop();
  await drain(server, 20_000);
  const verdict = await judge(server, producer);
  record({
    fault: 'database absent for seconds',
    seed: random.seed,
    injected: absences + 1,
    events: producer.acknowledgedCount,
    verdict,
    recoveriesMs,
    note: `connect refused after ${Math.round(saidAfterMs)} ms`,
  });
  assert.deepEqual(producer.refusals, []);
  assertClean(verdict);
  assert.ok(
    Math.max(...recoveriesMs) <= allowedMs(recoveryMsMax),
    `recoveries ${recoveriesMs.map(Math.round)}`,
  );
});

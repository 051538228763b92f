/**
 * Sessions of the workers and of the producer are terminated at random, every 100 ms, under load.
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

test('pg_terminate_backend every 100 ms', { timeout: 900_000 }, async () => {
  const random = announcedRandom('terminate-session');
  const rounds = scaled(70);
  await using server = await FaultServer.started();
  await using mill = await connect(server.url());
  await createEffects(server);
  await using fleet = new Fleet({ url: server.url(), handlerMs: 2 });
  fleet.start();
  fleet.start();
  await Promise.all(fleet.workers.map(({ ready }) => ready));
  const producer = new Producer(mill, random);
  producer.start(150);
  let terminated = 0;
  for (let i = 0; i < rounds; i += 1) {
    await sleep(100);
    const sessions = await server.rows<{ pid: number }>(
      `select pid from pg_stat_activity where application_name = 'millrace' order by pid`,
    );
    if (sessions.length === 0) continue;
    const { pid } = random.pick(sessions);
    await server.rows('select pg_terminate_backend($1)', [pid]);
    terminated += 1;
  }
  const recoveries = new Recoveries(server, producer);
  recoveries.noteFault();
  await producer.stop();
  const recoveriesMs = await recoveries.finish(30_000);
  await drain(server, 30_000);
  const verdict = await judge(server, producer);
  record({
    fault: 'a session terminated every 100 ms',
    seed: random.seed,
    injected: terminated,
    events: producer.acknowledgedCount,
    verdict,
    recoveriesMs,
    note: `slowest publish ${Math.round(producer.slowestMs)} ms, ${fleet.survived} survived`,
  });
  assert.deepEqual(fleet.crashes, []);
  assert.deepEqual(producer.refusals, []);
  assertClean(verdict);
  assert.ok(producer.slowestMs < allowedMs(2_000), `slowest publish ${producer.slowestMs} ms`);
});

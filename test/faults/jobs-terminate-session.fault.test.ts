/** Sessions of the job workers and of the producer are terminated at random, every 100 ms. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { JobTrial } from './job-trial.ts';
import { allowedMs, scaled } from './ledger.ts';

test('jobs: pg_terminate_backend every 100 ms', { timeout: 600_000 }, async () => {
  await using trial = await JobTrial.open('jobs-terminate-session');
  const { random, producer, server } = trial;
  const fleet = await trial.fleet(2);
  producer.start(100);
  let terminated = 0;
  for (let i = 0; i < scaled(50); i += 1) {
    await sleep(100);
    const sessions = await server.rows<{ pid: number }>(
      `select pid from pg_stat_activity where application_name = 'millrace' order by pid`,
    );
    if (sessions.length === 0) continue;
    const { pid } = random.pick(sessions);
    await server.rows('select pg_terminate_backend($1)', [pid]);
    terminated += 1;
  }
  await trial.recover();
  const slowest = Math.round(producer.slowestMs);
  const note = `slowest enqueue ${slowest} ms, ${fleet.survived} survived`;
  await trial.judge({ fault: 'a session terminated every 100 ms', times: terminated, note });
  assert.ok(slowest < allowedMs(3_000), `slowest enqueue ${slowest} ms`);
});

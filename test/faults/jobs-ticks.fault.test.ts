/**
 * Two processes schedule and work; now one of them is killed, now the other, while ticks fire fast.
 * Each tick is enqueued once, and its effect is there once.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineOrders } from './job-orders.ts';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';

const everyMs = 50;

test('SIGKILL under schedules: each tick runs once', { timeout: 600_000 }, async () => {
  await using trial = await JobTrial.open('jobs-ticks');
  const { jobs, random, effects, server, producer } = trial;
  const { Tick } = defineOrders({ worker: '', directory: '', handlerMs: 0 });
  const names = ['a', 'b', 'c'];
  for (const schedule of names) {
    const rule = { everyMs, misfire: 'backfill', misfireMax: 1_000 } as const;
    await jobs.schedule(schedule, rule, Tick, { schedule });
  }
  const fleet = await trial.fleet(2, { handlerMs: 1, timeToLiveMs: 1_500, heartbeatMs: 300 });
  producer.start(20);
  let kills = 0;
  for (let round = 0; round < scaled(4); round += 1) {
    await sleep(300 + random.below(500));
    const victim = fleet.workers[0];
    victim?.kill('SIGKILL');
    await victim?.exited;
    kills += 1;
    await fleet.start().ready;
  }
  for (const schedule of names) await jobs.unschedule(schedule);
  const recovering = trial.recover();
  await recovering;
  await trial.judge({ fault: 'SIGKILL under schedules', times: kills });
  const [enqueued] = await server.rows<{ jobs: number; ticks: number }>(
    `select count(*)::int as jobs,
      count(distinct (payload ->> 'schedule', options -> 'metadata' ->> 'tick'))::int as ticks
      from millrace.job where name = 'tick'`,
  );
  const ticks = (await effects.read()).filter(({ stage }) => stage === 'tick');
  assert.equal(enqueued?.jobs, enqueued?.ticks, 'each tick was enqueued once');
  assert.equal(ticks.length, enqueued?.ticks, 'each tick has its effect');
  for (const schedule of names) {
    const seqs = ticks.filter(({ key }) => key === schedule).map(({ seq }) => seq);
    assert.equal(new Set(seqs).size, seqs.length, 'once');
    assert.equal(Math.max(...seqs) - Math.min(...seqs) + 1, seqs.length, 'none is missing');
  }
  assert.ok(ticks.length > 3 * 20, `${ticks.length} ticks`);
});

/** The server is killed with SIGKILL and started again under jobs, several times. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectJobs, defineJob } from 'millrace';
import { eventually } from './eventually.ts';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';
import { FaultServer } from './server.ts';

test('SIGKILL of Postgres loses no job acknowledged', { timeout: 600_000 }, async () => {
  await using trial = await JobTrial.open('jobs-kill-postgres');
  const { random, producer, server } = trial;
  await trial.fleet(2);
  producer.start(100);
  const kills = scaled(2);
  for (let i = 0; i < kills; i += 1) {
    await sleep(500 + random.below(500));
    await server.kill();
    // Now and then longer than the workers' leases.
    await sleep(random.chance(0.3) ? 4_000 : random.below(1_500));
    await server.start();
    await trial.recover();
  }
  await trial.judge({ fault: 'SIGKILL of Postgres', times: kills });
});

test('an outage is no crash of the jobs that were running', { timeout: 60_000 }, async () => {
  await using server = await FaultServer.started();
  const pace = { heartbeatMs: 150, timeToLiveMs: 600, crashesMax: 1 };
  await using one = await connectJobs(server.url(), pace);
  await using other = await connectJobs(server.url(), pace);
  let [started, isOver] = [0, false];
  const Long = defineJob('long', {
    queue: 'long',
    handler: async (n: number, { signal }) => {
      started += 1;
      while (!isOver && !signal.aborted) await sleep(10);
      return n;
    },
  });
  for (const jobs of [one, other]) {
    jobs.work(Long, { concurrency: 2 });
    await jobs.start();
  }
  const placed = await Promise.all([1, 2, 3, 4].map((n) => one.enqueue(Long, n)));
  await eventually('all run', 10_000, () => Promise.resolve(started === 4));
  await server.kill();
  await sleep(2_000);
  await server.start();
  await eventually('all run again', 20_000, () => Promise.resolve(started >= 8));
  isOver = true;
  const results = await Promise.all(placed.map((job) => other.result(job, { timeoutMs: 10_000 })));
  assert.deepEqual(results, [1, 2, 3, 4]);
  const crashed = await server.rows('select from millrace.job_state where crashes > 0');
  assert.equal(crashed.length, 0);
});

/** Job workers are killed with SIGKILL, one or two at a time, while jobs come in. */
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';

test('SIGKILL of job workers: each job runs, none settles twice', {
  timeout: 600_000,
}, async () => {
  await using trial = await JobTrial.open('jobs-kill-worker');
  const { random, producer } = trial;
  const fleet = await trial.fleet(3);
  producer.start(120);
  let kills = 0;
  for (let round = 0; round < scaled(2); round += 1) {
    await sleep(300 + random.below(700));
    for (let twice = 0; twice < 1 + random.below(2); twice += 1) {
      random.pick(fleet.workers).kill('SIGKILL');
      fleet.start();
      kills += 1;
    }
    await trial.recover();
  }
  await trial.judge({ fault: 'SIGKILL of a worker', times: kills });
});

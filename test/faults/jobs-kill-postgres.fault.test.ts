/** The server is killed with SIGKILL and started again under jobs, several times. */
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';

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

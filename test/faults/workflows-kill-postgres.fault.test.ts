/**
 * The server is killed and started again under runs: none is lost, each ends once. With
 * MILLRACE_FAULTS_SCALE=4 these are some 5,000 runs and a kill every 5 to 10 s.
 */
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { scale, scaled } from './ledger.ts';
import { WorkflowTrial } from './workflow-trial.ts';

test('SIGKILL of Postgres loses no run acknowledged', { timeout: 900_000 }, async () => {
  await using trial = await WorkflowTrial.open('workflows-kill-postgres');
  const { random, server, producer } = trial;
  await trial.fleet(2, { timeToLiveMs: 4_000 });
  producer.start(scale > 1 ? 90 : 60);
  const kills = scaled(2);
  for (let i = 0; i < kills; i += 1) {
    await sleep(scale > 1 ? 5_000 + random.below(5_000) : 1_000 + random.below(1_500));
    await server.kill();
    await sleep(random.chance(0.3) ? 5_000 : random.below(1_500));
    await server.start();
  }
  await sleep(1_000);
  await trial.judge({ fault: 'SIGKILL of Postgres', times: kills, deaths: kills });
});

/** Workers that hold runs are killed, and frozen for three leases: what they do late is refused. */
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { scaled } from './ledger.ts';
import { WorkflowTrial } from './workflow-trial.ts';

test('SIGKILL of workers: each run ends once', { timeout: 600_000 }, async () => {
  await using trial = await WorkflowTrial.open('workflows-kill-worker');
  const { random, producer } = trial;
  const fleet = await trial.fleet(3);
  producer.start(60);
  const kills = scaled(3);
  for (let i = 0; i < kills; i += 1) {
    await sleep(400 + random.below(800));
    random.pick(fleet.workers).kill('SIGKILL');
    fleet.start();
  }
  await trial.judge({ fault: 'SIGKILL of a worker', times: kills, deaths: kills });
});

test('a frozen worker is fenced: kept effects are there once', { timeout: 600_000 }, async () => {
  await using trial = await WorkflowTrial.open('workflows-frozen-worker');
  const { random, producer } = trial;
  const fleet = await trial.fleet(3, { handlerMs: 100 });
  producer.start(40);
  const freezes = scaled(2);
  for (let i = 0; i < freezes; i += 1) {
    await sleep(500);
    const worker = random.pick(fleet.workers);
    worker.kill('SIGSTOP');
    await sleep(3_000);
    worker.kill('SIGCONT');
  }
  await trial.judge({ fault: 'SIGSTOP for 3 leases', times: freezes, deaths: freezes });
});

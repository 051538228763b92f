/**
 * A job worker is stopped (SIGSTOP) for three times its time to live and goes on after that, not
 * aware that others have its jobs by then: what it settles late is refused, its handlers are told
 * to stop, and no effect of a transaction is there twice.
 */
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from './eventually.ts';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';

const timeToLiveMs = 1_000;

test('a frozen job worker is fenced', { timeout: 600_000 }, async () => {
  await using trial = await JobTrial.open('jobs-frozen-worker');
  const { random, producer } = trial;
  // Long enough that every worker holds some whenever it is stopped.
  const fleet = await trial.fleet(3, { handlerMs: 200, heartbeatMs: 200, timeToLiveMs });
  producer.start(120);
  await sleep(1_000);
  const freezes = scaled(2);
  for (let i = 0; i < freezes; i += 1) {
    const worker = random.pick(fleet.workers);
    worker.kill('SIGSTOP');
    const recovered = trial.recover();
    await sleep(timeToLiveMs * 3);
    worker.kill('SIGCONT');
    await recovered;
  }
  // Handlers that ended in their sleep are settled too late, or not at all if it has learned of its
  // fate by then; those that had not ended are told to stop. In any case it begins a new epoch.
  const learned = () => fleet.count('fenced') > 0;
  await eventually('it learned that it was fenced', 30_000, learned);
  const [refused, aborted] = [fleet.count('refused'), fleet.count('aborted')];
  const note = `${refused} late settlements refused, ${aborted} handlers told to stop`;
  await trial.judge({ fault: 'SIGSTOP of a worker for 3 leases', times: freezes, note });
});

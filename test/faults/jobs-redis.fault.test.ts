/** The same on Redis, with effects in files: workers are killed, frozen and poisoned. */
import assert from 'node:assert/strict';
import test, { type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { noServer, TestServer } from '../../src/drivers/redis/test-server.ts';
import { eventually } from './eventually.ts';
import { defineHarm } from './harm.ts';
import { JobTrial } from './job-trial.ts';
import { allowedMs, scaled } from './ledger.ts';

const open = async (t: TestContext, name: string) =>
  JobTrial.open(name, { redisUrl: (await TestServer.started(t)).url });
const options = { skip: noServer, timeout: 600_000 };

test('Redis: SIGKILL of job workers', options, async (t) => {
  await using trial = await open(t, 'redis-kill-worker');
  const { random, producer } = trial;
  const fleet = await trial.fleet(3);
  producer.start(120);
  const kills = scaled(2);
  for (let i = 0; i < kills; i += 1) {
    await sleep(300 + random.below(700));
    random.pick(fleet.workers).kill('SIGKILL');
    fleet.start();
    await trial.recover();
  }
  await trial.judge({ fault: 'Redis, SIGKILL of a worker', times: kills });
});

test('Redis: a frozen job worker is fenced', options, async (t) => {
  await using trial = await open(t, 'redis-frozen-worker');
  const { random, producer } = trial;
  // Long enough that every worker holds some whenever it is stopped.
  const fleet = await trial.fleet(3, { handlerMs: 200, heartbeatMs: 200, timeToLiveMs: 1_000 });
  producer.start(120);
  await sleep(500);
  const freezes = scaled(1);
  for (let i = 0; i < freezes; i += 1) {
    const worker = random.pick(fleet.workers);
    worker.kill('SIGSTOP');
    await sleep(3_000);
    worker.kill('SIGCONT');
    await trial.recover();
  }
  // Handlers that ended in their sleep are settled too late, or not at all if it has learned of its
  // fate by then; those that had not ended are told to stop. In any case it begins a new epoch.
  const learned = () => fleet.count('fenced') > 0;
  await eventually('it learned that it was fenced', 30_000, learned);
  const note = `${fleet.count('refused')} late settlements refused`;
  await trial.judge({ fault: 'Redis, SIGSTOP for 3 leases', times: freezes, note });
});

test('Redis: poison is put away', options, async (t) => {
  await using trial = await open(t, 'redis-poison');
  const { jobs, producer } = trial;
  const fleet = await trial.fleet(2, { heartbeatMs: 400, timeToLiveMs: 2_500 });
  const stopped = new AbortController();
  const supervised = fleet.keep(2, stopped.signal);
  producer.start(80);
  const { Exit } = defineHarm({ directory: '', worker: '' });
  const { id } = await jobs.enqueue(Exit, undefined);
  const until = performance.now() + allowedMs(20_000);
  while ((await jobs.get(id))?.status !== 'quarantined' && performance.now() < until) {
    await sleep(100);
  }
  await trial.recover();
  await trial.judge({ fault: 'Redis, poison', times: 1, crashing: true });
  stopped.abort();
  await supervised;
  assert.equal((await jobs.get(id))?.status, 'quarantined');
  const { jobs: quarantined } = await jobs.list({ status: 'quarantined' });
  assert.equal(quarantined.length, 1, 'no innocent');
});

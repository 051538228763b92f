/**
 * The beats of a job worker do not get through for longer than its time to live while its other
 * calls do: it gives its jobs up, registers again and works on, and nothing is settled under an
 * epoch that did not claim it.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectJobs, Jobs } from 'millrace';
import { openPostgresJobStore } from '../../src/drivers/postgres/jobs/store.ts';
import { eventually } from './eventually.ts';
import { defineOrders, placeJobs } from './job-orders.ts';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';
import { CuttingProxy } from './proxy.ts';

const timeToLiveMs = 800;

/** A worker in this process whose beats go through the proxy. */
async function open(name: string) {
  const trial = await JobTrial.open(name);
  const proxy = await CuttingProxy.listening(trial.server.port);
  const store = await openPostgresJobStore({ url: trial.server.url(), migrate: false });
  const beater = { ...store.beater, options: { url: trial.server.url(proxy.port) } };
  const worker = new Jobs({ ...store, beater }, { heartbeatMs: 150, timeToLiveMs });
  const { directory } = trial.effects;
  const counted = { aborted: 0 };
  const onAborted = () => {
    counted.aborted += 1;
  };
  const work = { worker: 'silent', directory, handlerMs: 40, onAborted };
  worker.work(Object.values(defineOrders(work)));
  await worker.start();
  const silence = async (ms: number) => {
    proxy.freeze();
    await sleep(ms);
    proxy.thaw();
    proxy.cutAll();
  };
  const close = async () => {
    await worker.stop();
    await trial[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  };
  return { trial, worker, counted, silence, [Symbol.asyncDispose]: close };
}

test('jobs: beats that do not get through', { timeout: 600_000 }, async () => {
  await using opened = await open('jobs-half-open');
  const { trial, worker, counted, silence } = opened;
  const { random, producer } = trial;
  await trial.fleet(1);
  producer.start(100);
  const silences = scaled(3);
  let epochs = 0;
  for (let i = 0; i < silences; i += 1) {
    const { epoch } = await worker.health();
    await silence(timeToLiveMs * (1.2 + random.next()));
    const again = async () => {
      const { ready, epoch: now } = await worker.health();
      return ready && now !== epoch;
    };
    await eventually('it has registered again', 10_000, again);
    epochs += 1;
    const before = worker.totals().completed;
    await eventually('it works on', 10_000, () => worker.totals().completed > before);
    await sleep(random.below(500));
  }
  await trial.recover();
  const note = `registered again ${epochs} times, ${counted.aborted} handlers told to stop`;
  await trial.judge({ fault: 'beats silent beyond the lease', times: silences, note });
  assert.ok(counted.aborted > 0, 'handlers were told to stop');
});

test('a claim that is answered when its epoch is over', { timeout: 120_000 }, async () => {
  await using opened = await open('jobs-late-claim');
  const { trial, worker, silence } = opened;
  const place = placeJobs(trial.jobs);
  await place({ tenantId: 'acme', key: 'late', seq: 1 });
  await eventually('it works', 10_000, async () => (await trial.effects.orders()).length === 1);
  const { epoch } = await worker.health();
  const [{ id } = { id: 0 }] = await trial.server.rows<{ id: number }>(
    `select queue_id as id from millrace.job_queue`,
  );
  // The claim waits inside the server until the worker has another epoch.
  const lock = trial.server.rows(
    `select pg_advisory_lock(7312, $1), pg_sleep(2.5), pg_advisory_unlock(7312, $1)`,
    [id],
  );
  await sleep(100);
  for (let seq = 2; seq <= 20; seq += 1) await place({ tenantId: 'acme', key: 'late', seq });
  await silence(timeToLiveMs * 1.5);
  const again = async () => {
    const { epoch: now } = await worker.health();
    return now !== null && now !== epoch;
  };
  await eventually('it has registered again', 10_000, again);
  await lock;
  const done = async () => (await trial.effects.orders()).length >= 20;
  await eventually('all are run', 15_000, done);
  await sleep(timeToLiveMs * 3); // the old epoch is taken over by then
  trial.producer.wanted.set('late', 20);
  trial.producer.acknowledged.set('late', new Set(Array.from({ length: 20 }, (_, i) => i + 1)));
  await trial.judge({ fault: 'claim answered after its epoch', times: 1 });
});

test('a settlement in a transaction that falls silent holds nobody up', {
  timeout: 120_000,
}, async () => {
  await using trial = await JobTrial.open('jobs-silent-commit');
  const { jobs, server, producer, effects } = trial;
  await using proxy = await CuttingProxy.listening(server.port);
  const silent = await connectJobs(server.url(proxy.port), { migrate: false, graceMs: 100 });
  const { directory } = effects;
  silent.work(Object.values(defineOrders({ worker: 'silent', directory, handlerMs: 0 })));
  await silent.start();
  const cut = proxy.cutNext(['\0millrace_settle_jobs\0'], 'silent');
  await placeJobs(jobs)({ tenantId: 'acme', key: 'silent', seq: 2 });
  await cut;
  // As if the process were frozen between its settlement and the commit.
  proxy.freeze();
  await trial.fleet(1);
  producer.start(20);
  await sleep(1_000);
  await trial.recover(30_000);
  const [heldUpMs = 0] = trial.recoveriesMs;
  proxy.cutAll();
  proxy.thaw();
  producer.wanted.set('silent', 2);
  producer.acknowledged.set('silent', new Set([2]));
  await silent.stop();
  await trial.judge({ fault: 'a worker silent in its commit', times: 1 });
  assert.ok(heldUpMs < 25_000, 'the others went on before its connections were closed');
});

/**
 * The connection is cut after an exchange or a commit was sent and before its answer arrives:
 * enqueue stores each job once, settlements neither get lost nor count twice, and no claimed job
 * waits until its worker dies. That must hold too when the server is slow to finish what was cut.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connectJobs, type Jobs } from 'millrace';
import { eventually } from './eventually.ts';
import { defineOrders, placeJobs } from './job-orders.ts';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';
import { CuttingProxy, commitMessage } from './proxy.ts';

/** How a prepared statement is named in a Bind message. */
const exchanges = ['\0millrace_exchange_jobs\0'];
const commits = [commitMessage, '\0millrace_settle_jobs\0'];
const commit = [commitMessage];

/** A producer and a worker in this process, both behind the proxy. */
async function open(name: string) {
  const proxies: CuttingProxy[] = [];
  const through = async ({ port }: { readonly port: number }) => {
    proxies.push(await CuttingProxy.listening(port));
    return (proxies[0] as CuttingProxy).port;
  };
  const trial = await JobTrial.open(name, { through });
  const proxy = proxies[0] as CuttingProxy;
  const worker = await connectJobs(trial.server.url(proxy.port), { timeToLiveMs: 60_000 });
  const { directory } = trial.effects;
  worker.work(Object.values(defineOrders({ worker: 'w1', directory, handlerMs: 2 })));
  await worker.start();
  const close = async () => {
    await worker.stop();
    await trial[Symbol.asyncDispose]();
    await proxy[Symbol.asyncDispose]();
  };
  return { trial, proxy, worker, [Symbol.asyncDispose]: close };
}

const epochOf = async (worker: Jobs) => (await worker.health()).epoch;

test('jobs: connections cut between commit and answer', { timeout: 600_000 }, async () => {
  await using opened = await open('jobs-lost-reply');
  const { trial, proxy, worker } = opened;
  const { random, producer } = trial;
  const epoch = await epochOf(worker);
  const cuts = scaled(60);
  let cut = 0;
  const cutAll = async (texts: readonly string[], times: number) => {
    for (let i = 0; i < times; i += 1) {
      await proxy.cutNext(texts, random.chance(0.5) ? 'at-once' : 'after-answer');
      cut += 1;
      await sleep(random.below(60));
    }
  };
  producer.start(120);
  const all = Promise.all([cutAll(exchanges, cuts * 0.75), cutAll(commits, cuts * 0.25)]);
  await Promise.race([all, sleep(60_000 * Math.max(1, cuts / 60), null, { ref: false })]);
  await producer.stop();
  const [stored] = await trial.server.rows<{ twice: number }>(
    `select count(*)::int as twice from (
      select from millrace.job group by payload ->> 'key', payload ->> 'seq'
      having count(*) > 1) d`,
  );
  const note = `stored twice ${stored?.twice}`;
  await trial.judge({ fault: 'connection cut between commit and answer', times: cut, note });
  assert.equal(stored?.twice, 0);
  assert.equal(await epochOf(worker), epoch, 'no lease was given up for it');
  assert.ok(cut >= cuts, `${cut} of ${cuts} cuts`);
});

test('a claim that is cut while the server still waits', { timeout: 120_000 }, async () => {
  await using opened = await open('jobs-slow-claim');
  const { trial, proxy, worker } = opened;
  const direct = await connectJobs(trial.server.url());
  const place = placeJobs(direct);
  await place({ tenantId: 'acme', key: 'warm', seq: 1 });
  await eventually('it works', 10_000, async () => (await trial.effects.orders()).length === 1);
  const epoch = await epochOf(worker);
  // Whoever claims waits for this lock.
  const waiting = (count: number) => async () => {
    const rows = await trial.server.rows(
      `select from pg_locks where locktype = 'advisory' and classid = 7312 and not granted`,
    );
    return rows.length >= count;
  };
  const [{ id } = { id: 0 }] = await trial.server.rows<{ id: number }>(
    `select queue_id as id from millrace.job_queue`,
  );
  const lock = trial.server.rows(
    `select pg_advisory_lock(7312, $1), pg_sleep(3), pg_advisory_unlock(7312, $1)`,
    [id],
  );
  await sleep(100);
  const cut = proxy.cutNext(exchanges, 'at-once');
  for (let seq = 1; seq <= 20; seq += 1) await place({ tenantId: 'acme', key: 'held', seq });
  await cut;
  await eventually('the claim and its repetition wait', 3_000, waiting(2)).catch(() => {});
  await lock;
  await eventually('all are run', 10_000, async () => {
    return (await trial.effects.orders()).length >= 21;
  }).catch(() => {});
  const ran = (await trial.effects.orders()).length;
  await direct.stop();
  assert.equal(ran, 21);
  assert.equal(await epochOf(worker), epoch, 'no lease was given up for it');
});

test('a commit that is cut while the server is at it', { timeout: 120_000 }, async () => {
  await using opened = await open('jobs-slow-commit');
  const { trial, proxy, worker } = opened;
  await trial.server.rows(
    `create function slow() returns trigger language plpgsql as
      $$ begin perform pg_sleep(0.7); return null; end $$`,
  );
  await trial.server.rows(
    `create constraint trigger slow after insert on effect deferrable initially deferred
      for each row execute function slow()`,
  );
  const cut = proxy.cutNext(commit, 'at-once');
  const enqueued = await placeJobs(trial.jobs)({ tenantId: 'acme', key: 'k', seq: 2 });
  await cut;
  const { id } = enqueued as { readonly id: string };
  assert.equal(await worker.result(id, { timeoutMs: 15_000 }), 2);
  await sleep(2_000); // what is done twice comes late
  assert.equal((await trial.effects.orders()).length, 1, 'one effect');
});

/** The heartbeat's thread beside a real store: what it keeps alive, and what it notices. */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { freshDatabase } from '../../../test/support/database.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { ask } from '../../../test/support/mill.ts';
import { openPostgresJobStore } from '../../drivers/postgres/jobs/store.ts';
import { enqueuePlain, newExchange, newJobs } from '../../ports/jobs.fixtures.conformance.ts';
import type { JobRef } from '../../ports/jobs.ts';
import { startHeartbeat } from './heartbeat.ts';

/** Long enough for a thread that must share its core with a loop that spins. */
const timeToLiveMs = 3_000;

async function startWorker(t: TestContext) {
  const { url, drop } = await freshDatabase();
  const store = await openPostgresJobStore({ url });
  const epoch = await store.register({
    workerId: crypto.randomUUID(),
    queues: ['mails'],
    timeToLiveMs,
    host: 'here',
    pid: process.pid,
  });
  const heard: string[] = [];
  const cancelled: JobRef[] = [];
  const heartbeat = startHeartbeat({
    beater: store.beater,
    epoch,
    everyMs: 100,
    timeToLiveMs,
    report: () => ({ running: 3, concurrency: 5, oldestClaimNo: 2 }),
    onCancelled: (jobs) => cancelled.push(...jobs),
    onFenced: () => heard.push('fenced'),
    onExpired: () => heard.push('expired'),
    onRevived: () => heard.push('revived'),
    onError: (error) => heard.push(String(error)),
  });
  t.after(async () => {
    await heartbeat.stop();
    await store.close();
    await drop();
  });
  await eventually('the first beat', async () => (await store.workers())[0]?.running === 3);
  return { url, store, epoch, heard, cancelled, heartbeat };
}

function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe('the heartbeat on Postgres', () => {
  it('keeps the jobs of a worker whose event loop is blocked', async (t) => {
    const { store, heard } = await startWorker(t);
    block(timeToLiveMs * 1.5);
    const { workers } = await store.recover({ crashesMax: 3 });
    assert.equal(workers, 0);
    const [worker] = await store.workers();
    assert.deepEqual([worker?.alive, worker?.running, worker?.concurrency], [true, 3, 5]);
    assert.deepEqual(heard, []);
  });

  it('tells of a running job that was cancelled', async (t) => {
    const { store, epoch, cancelled } = await startWorker(t);
    const queue = 'mails';
    await enqueuePlain(store, newJobs({ queue, tenant: 'default' }, 1));
    const lanes = await store.readyLanes(queue);
    const claim = { queue, max: 1, lanes, suspects: true, claimNo: 1 };
    const { claimed } = await store.exchange(newExchange(queue, { epoch, claim }));
    const { lane, offset } = claimed[0] as JobRef;
    await store.change('cancel', [{ lane, offset }]);
    await eventually('it is told', () => cancelled.length > 0);
    assert.deepEqual(cancelled[0], { lane, offset });
  });

  it('goes on over a new connection when its own is lost', async (t) => {
    const { url, store, heard } = await startWorker(t);
    await ask(
      url,
      `select pg_terminate_backend(pid) from pg_stat_activity
      where query like '%beat_worker%' and pid <> pg_backend_pid()`,
    );
    const beatAt = async () => (await store.workers())[0]?.heartbeatAt ?? '';
    const before = await beatAt();
    await eventually('it beats again', async () => (await beatAt()) > before);
    block(timeToLiveMs * 1.2);
    assert.equal((await store.recover({ crashesMax: 3 })).workers, 0);
    assert.ok(!heard.includes('fenced'), heard.join());
  });

  it('learns that its epoch is no more', async (t) => {
    const { store, epoch, heard } = await startWorker(t);
    await store.retire(epoch);
    await eventually('it is told', () => heard.at(-1) === 'fenced');
  });

  it('lets its epoch die when it has stopped', async (t) => {
    const { store, heartbeat } = await startWorker(t);
    await heartbeat.stop();
    const recovered = async () => (await store.recover({ crashesMax: 3 })).workers === 1;
    await eventually('it is declared dead', recovered);
  });
});

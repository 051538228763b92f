/**
 * A handler blocks the event loop of its worker for three leases. The heartbeat comes from a thread
 * of its own, so nobody takes the job over: it runs once.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { defineHarm } from './harm.ts';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';

/** Long enough for a machine with too much to do. */
const timeToLiveMs = 2_000;

test('handlers that block the event loop for 3 leases', { timeout: 600_000 }, async () => {
  await using trial = await JobTrial.open('jobs-blocked-loop');
  const { producer, server, jobs, effects } = trial;
  await trial.fleet(2, { heartbeatMs: 300, timeToLiveMs });
  const { Block } = defineHarm({ directory: '', worker: '' });
  producer.start(50);
  const blocks = scaled(1);
  for (let n = 1; n <= blocks; n += 1) {
    const enqueued = await jobs.enqueue(Block, { ms: timeToLiveMs * 3, n });
    await jobs.result(enqueued, { timeoutMs: 30_000 });
  }
  const times = (await effects.read()).filter(({ stage }) => stage === 'block').length;
  const [crashed] = await server.rows<{ count: number }>(
    'select count(*)::int as count from millrace.job_state where crashes > 0',
  );
  const note = `blocking handlers ran ${times} times, ${crashed?.count} jobs taken over`;
  await trial.judge({ fault: 'event loop blocked for 3 leases', times: blocks, note });
  assert.equal(times, blocks);
  assert.equal(crashed?.count, 0);
});

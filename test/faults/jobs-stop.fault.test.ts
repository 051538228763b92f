/**
 * Workers are told to stop (SIGTERM) under load, one after the other, and a newer version of the
 * code takes over, as in a roll-out: no try is counted, nobody takes longer than the grace, and
 * what is not done in time runs again elsewhere.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineHarm } from './harm.ts';
import { defineVersioned } from './job-orders.ts';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';
import type { Place } from './producer.ts';

const graceMs = 1_000;
const none = { worker: '', directory: '', handlerMs: 0 };

test('SIGTERM in a roll-out counts no try', { timeout: 600_000 }, async () => {
  let newest: 1 | 2 = 1;
  const [old, fresh] = [defineVersioned(none, 1), defineVersioned(none, 2)];
  const place =
    (jobs: JobTrial['jobs']): Place =>
    ({ tenantId, key, seq }) =>
      jobs.enqueue(newest === 2 && seq % 2 === 0 ? fresh : old, { key, seq }, { tenantId });
  await using trial = await JobTrial.open('jobs-stop', { place });
  const { jobs, producer, server } = trial;
  const fleet = await trial.fleet(3, { graceMs, version: 1 });
  producer.start(60);
  const { Long } = defineHarm(none);
  const long = await jobs.enqueueMany(Long, [{ ms: 3_000 }, { ms: 3_000 }, { ms: 3_000 }]);
  let stops = 0;
  for (let round = 0; round < scaled(1); round += 1) {
    for (const worker of fleet.workers) {
      await sleep(700);
      worker.kill('SIGTERM');
      stops += 1;
      newest = 2;
      await fleet.start({ version: 2 }).ready;
    }
  }
  for (const one of long) assert.equal(await jobs.result(one, { timeoutMs: 30_000 }), 'done');
  await trial.recover();
  const [found] = await server.rows<{ failed: number; crashed: number; error: string | null }>(
    `select count(*) filter (where failures > 0)::int as failed,
      count(*) filter (where crashes > 0)::int as crashed,
      max(error ->> 'message') filter (where failures > 0) as error from millrace.job_state`,
  );
  const late = fleet.count('late-stops');
  const note = `${found?.failed} tries counted, ${late} stops beyond the grace`;
  await trial.judge({ fault: 'SIGTERM in a roll-out', times: stops, note, handsBack: true });
  assert.equal(found?.failed, 0, `a try was counted: ${found?.error}`);
  assert.equal(found?.crashed, 0, 'what was held was handed back');
  assert.equal(fleet.count('stops'), stops, 'everybody stopped');
  assert.equal(late, 0, 'within the grace');
});

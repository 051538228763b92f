/**
 * The clocks of two workers are an hour ahead and an hour behind. Leases and delays go by the clock
 * of the store: nobody loses a lease, no delayed job is early, nothing waits for the hour.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { defineClocked } from './job-clock.ts';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';

const hourMs = 3_600_000;
/** So long that a busy machine takes no lease; a clock that counts would take it all the same. */
const timeToLiveMs = 20_000;
const nodeArgs = ['--import', new URL('./shifted-clock.ts', import.meta.url).href];
const clock = (byMs: number) => ({ nodeArgs, env: { FAULT_CLOCK_MS: String(byMs) } });

test('clocks an hour ahead and an hour behind', { timeout: 600_000 }, async () => {
  await using trial = await JobTrial.open('jobs-clock');
  const { jobs, producer, random, server } = trial;
  const { Later, Gathered } = defineClocked();
  const delayed = scaled(20);
  const fleet = await trial.fleet(1, { timeToLiveMs, delayed });
  const shifted = [hourMs, -hourMs].map((byMs) => fleet.start({}, clock(byMs)));
  await Promise.all(shifted.map(({ ready }) => ready));
  const epochs = () => server.rows<{ epoch: number }>('select epoch from millrace.job_worker');
  const before = (await epochs()).length;
  producer.start(60);
  for (let i = 0; i < delayed; i += 1) {
    const delayMs = 200 + random.below(2_000);
    await jobs.enqueue(Later, { delayMs }, { delayMs });
    if (i % 5 === 0) await jobs.enqueueMany(Gathered, [{ n: i }, { n: i + 1 }]);
    await sleep(50);
  }
  await sleep(3_000);
  await trial.recover();
  const [delays] = await server.rows<{ early: number; late: number; count: number }>(
    `select count(*) filter (where by < 0)::int as early, max(by)::int as late,
        count(*)::int as count
      from (select extract(epoch from s.started_at - j.enqueued_at) * 1000
          - (j.payload ->> 'delayMs')::int as by
        from millrace.job j join millrace.job_state s using (lane_id, "offset")
        where j.name = 'later' and s.status = 'completed') d`,
  );
  const crashed = await server.rows('select from millrace.job_state where crashes > 0');
  const note = `${delays?.count} delayed jobs, the latest by ${delays?.late} ms`;
  await trial.judge({ fault: 'clocks an hour off', times: 2, note });
  assert.equal(delays?.early, 0, 'no delayed job was early');
  assert.equal(delays?.count, delayed * 4, 'every delayed job ran');
  assert.equal(crashed.length, 0, 'no lease was taken');
  assert.equal((await epochs()).length, before, 'no worker had to register again');
});

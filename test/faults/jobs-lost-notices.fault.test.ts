/** Hints to job workers get lost, or there are none: all jobs run, and soon enough. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Jobs, type JobsOptions } from 'millrace';
import { openPostgresJobStore } from '../../src/drivers/postgres/jobs/store.ts';
import { unreliableNotices } from '../support/faulty.ts';
import { defineOrders } from './job-orders.ts';
import { JobTrial } from './job-trial.ts';
import { allowedMs, scaled } from './ledger.ts';

async function run(fault: string, options: JobsOptions, lateMsMax: number) {
  await using trial = await JobTrial.open(`jobs-${fault}`);
  const { random, producer, server, effects } = trial;
  const workers: Jobs[] = [];
  let injected = 0;
  for (const worker of ['w1', 'w2']) {
    const store = await openPostgresJobStore({ url: server.url(), migrate: false });
    const faults = { noticeDropped: 0.5, noticeDoubled: 0.2, delayed: 0.2 };
    const notices = unreliableNotices(store.notices, random.below(2 ** 31), faults, () => {
      injected += 1;
    });
    const jobs = new Jobs({ ...store, notices }, options);
    const { directory } = effects;
    jobs.work(Object.values(defineOrders({ worker, directory, handlerMs: 2 })));
    workers.push(jobs);
    await jobs.start();
  }
  try {
    // One at a time with pauses: under load every exchange would bring the next jobs along.
    for (let i = 0; i < scaled(120); i += 1) {
      await producer.publishOne();
      await sleep(random.below(40));
    }
    await trial.recover();
    const [late] = await server.rows<{ ms: number }>(
      `select max(extract(epoch from c.claimed_at - j.enqueued_at) * 1000)::int as ms
        from millrace.job j join millrace.job_claim c on c.lane_id = j.lane_id
          and j."offset" between c.from_offset and c.to_offset`,
    );
    const note = `the slowest was claimed after ${late?.ms} ms`;
    await trial.judge({ fault, times: injected, note });
    assert.ok((late?.ms ?? 0) <= allowedMs(lateMsMax), `${late?.ms} ms`);
  } finally {
    for (const jobs of workers) await jobs.stop();
  }
}

test('jobs: every second notice is dropped', () =>
  run('every 2nd notice dropped', {}, 1_000 * 1.2 + 1_000));

test('jobs: without notices', () => run('no notices', { notices: false }, 50 * 1.2 + 1_000));

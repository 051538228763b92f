/** The modes of queues: which wakers find jobs, and a switch that loses and doubles nothing. */
import assert from 'node:assert/strict';
import { after, before, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eachPostgres, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { connectJobs } from '../connect.ts';
import { defineJob } from '../core/job-definition.ts';
import { deploymentModes } from '../runtime/heads.ts';
import type { Jobs } from './jobs.ts';
import type { JobsOptions } from './options.ts';

eachPostgres('modes of queues', (server) => {
  let database: TestDatabase;
  let number = 0;
  before(async () => {
    database = await server.fresh();
  });
  after(() => database.drop());

  const open = async (t: TestContext, options: JobsOptions = {}): Promise<Jobs> => {
    const jobs = await connectJobs(database.url, { heartbeatMs: 200, ...options });
    t.after(() => jobs.stop({ graceMs: 1_000 }));
    return jobs;
  };
  const counting = (seen: number[]) => {
    number += 1;
    return defineJob(`count-${number}`, {
      queue: `modes-${number}`,
      attempts: 3,
      backoff: { kind: 'fixed', delayMs: 20 },
      handler: ({ n, fails = 0 }: { n: number; fails?: number }, ctx) => {
        if (ctx.attempt <= fails) throw new Error('not yet');
        seen.push(n);
      },
    });
  };
  /** Nobody hears of it: no notice is sent, as when one is lost. */
  const enqueueSilently = async (jobs: Jobs, definition: ReturnType<typeof counting>, n: number) =>
    jobs.store.exchange({
      queue: definition.queue,
      epoch: null,
      settle: null,
      enqueue: [definition.prepare({ n }, { tenantId: 'quiet' })],
      enqueueId: crypto.randomUUID(),
      claim: null,
      again: false,
    });

  it('PollingOnly finds by looking only, be it the process that enqueued', async (t) => {
    const seen: number[] = [];
    const Count = counting(seen);
    const worker = await open(t, { mode: 'PollingOnly', pollMs: [600_000, 600_000] });
    const other = await open(t);
    worker.work(Count);
    await worker.start();
    // The worker's first claim looks at state rows; nothing is there yet.
    await worker.enqueue(Count, { n: 1 });
    await other.enqueue(Count, { n: 2 });
    await other.result(await other.enqueue(Count, { n: 3 }), { timeoutMs: 300 }).catch(() => {});
    assert.deepEqual(seen, [], 'the poller has ten minutes left');
    assert.equal((await worker.health()).mode, 'PollingOnly');
    await worker.switchMode('Hybrid');
    await eventually('the switch catches up', () => seen.length === 3);
    assert.deepEqual(seen.toSorted(), [1, 2, 3]);
  });

  it('PollingOnly polls as often as it may', async (t) => {
    const seen: number[] = [];
    const Count = counting(seen);
    const worker = await open(t, { mode: 'PollingOnly', pollMs: [10, 600_000] });
    worker.work(Count);
    await worker.start();
    await worker.enqueue(Count, { n: 1 });
    await eventually('found by looking', () => seen.length === 1);
    await enqueueSilently(worker, Count, 2);
    await eventually('found without a notice', () => seen.length === 2);
  });

  it('EventDrivenOnly never looks, and a switch to Hybrid finds what was lost', async (t) => {
    const seen: number[] = [];
    const Count = counting(seen);
    const worker = await open(t, { mode: 'EventDrivenOnly', pollMs: [5, 5] });
    const other = await open(t);
    worker.work(Count);
    await worker.start();
    await eventually('listens', async () => (await worker.health()).listening);
    await other.enqueue(Count, { n: 1 });
    await worker.enqueue(Count, { n: 2 });
    await eventually('both are announced', () => seen.length === 2);
    const looked = t.mock.method(worker.store, 'readyLanes');
    await enqueueSilently(other, Count, 3);
    await sleep(200);
    assert.equal(looked.mock.callCount(), 0, 'the poller stands still');
    assert.equal(seen.length, 2);
    await worker.switchMode('Hybrid');
    await eventually('found', () => seen.length === 3);
  });

  it('learns that a queue was resumed, though nobody tells it', async (t) => {
    const seen: number[] = [];
    const Count = counting(seen);
    const worker = await open(t, { notices: false, pollMs: [20, 20] });
    const other = await open(t);
    worker.work(Count);
    await worker.start();
    await other.pause(Count.queue);
    await other.enqueue(Count, { n: 1 });
    await sleep(300);
    assert.deepEqual(seen, []);
    await other.resume(Count.queue);
    await eventually('found by looking', () => seen.length === 1, 5_000);
  });

  it('due times count in every mode', async (t) => {
    for (const mode of deploymentModes) {
      const seen: number[] = [];
      const Count = counting(seen);
      const worker = await open(t, { mode, pollMs: [30, 30] });
      worker.work(Count);
      await worker.start();
      await worker.enqueue(Count, { n: 1 }, { delayMs: 150 });
      await worker.enqueue(Count, { n: 2, fails: 2 });
      await eventually(`${mode}: delayed and retried`, () => seen.length === 2);
      await worker.stop();
    }
  });

  it('switching under load loses and doubles nothing', async (t) => {
    const seen: number[] = [];
    const Count = counting(seen);
    const worker = await open(t, { pollMs: [10, 100] });
    const other = await open(t);
    worker.work(Count, { concurrency: 20 });
    await worker.start();
    const total = 4_000;
    let enqueued = 0;
    const enqueue = async (jobs: Jobs) => {
      while (enqueued < total) {
        const from = enqueued;
        enqueued += 20;
        await jobs.enqueueMany(
          Count,
          Array.from({ length: 20 }, (_, i) => ({ n: from + i })),
        );
      }
    };
    const enqueues = Promise.all([enqueue(worker), enqueue(other), enqueue(other)]);
    let switches = 0;
    while (enqueued < total) {
      await worker.switchMode(deploymentModes[switches % deploymentModes.length] as 'Hybrid');
      switches += 1;
      await sleep(3);
    }
    await enqueues;
    await worker.switchMode('EventDrivenOnly');
    await eventually('all ran', () => seen.length >= total, 30_000);
    assert.ok(switches > 3, `${switches} switches`);
    assert.equal(seen.length, total);
    assert.equal(new Set(seen).size, total);
  });

  it('refuses a mode that does not exist', async (t) => {
    const worker = await open(t);
    await assert.rejects(worker.switchMode('Sometimes' as never), { code: 'CONFIG_INVALID' });
    assert.equal(worker.mode, 'Hybrid');
  });
});

/** Several processes on one queue: limits, cancelling, pausing, stopping, taking over. */
import assert from 'node:assert/strict';
import { after, before, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { eachPostgres, type TestDatabase } from '../../test/support/database.ts';
import { eventually, gate } from '../../test/support/eventually.ts';
import { connectJobs } from '../connect.ts';
import { defineJob } from '../core/job-definition.ts';
import type { Exchange } from '../ports/jobs.ts';
import type { Jobs } from './jobs.ts';
import type { JobsOptions } from './options.ts';

const anything = z.object({}).catchall(z.unknown());

eachPostgres('shared queues', (server) => {
  let database: TestDatabase;
  let number = 0;
  before(async () => {
    database = await server.fresh();
  });
  after(() => database.drop());

  const open = async (t: TestContext, options: JobsOptions = {}): Promise<Jobs> => {
    const jobs = await connectJobs(database.url, {
      heartbeatMs: 200,
      pollMs: [20, 200],
      ...options,
    });
    t.after(() => jobs.stop({ graceMs: 1_000 }));
    return jobs;
  };
  /** A queue of its own for each test: they share the database. */
  const queueName = () => {
    number += 1;
    return `queue-${number}`;
  };

  it('keeps limits of a queue over two workers', async (t) => {
    const queue = queueName();
    let running = 0;
    let most = 0;
    let done = 0;
    const Slow = defineJob('slow', {
      queue,
      schema: anything,
      handler: async () => {
        running += 1;
        most = Math.max(most, running);
        await sleep(10);
        running -= 1;
        done += 1;
      },
    });
    const workers = [await open(t), await open(t)] as const;
    await workers[0].configureQueue({ queue, limits: { concurrency: 3 } });
    for (const worker of workers) {
      worker.work(Slow, { concurrency: 5 });
      await worker.start();
    }
    await workers[0].enqueueMany(
      Slow,
      Array.from({ length: 40 }, () => ({})),
    );
    await eventually('all are done', () => done === 40, 20_000);
    assert.equal(most, 3);
  });

  it('cancels a running job from another process', async (t) => {
    const [worker, other] = [await open(t), await open(t)];
    const started = gate();
    let reason: unknown = null;
    const Long = defineJob('long', {
      queue: queueName(),
      schema: anything,
      handler: async (_payload, { signal }) => {
        started.open();
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        reason = signal.reason;
      },
    });
    worker.work(Long);
    await worker.start();
    const job = await worker.enqueue(Long, {});
    await started.opened;
    assert.deepEqual(await other.cancel(job.id), [job.id]);
    await eventually('the handler is told', () => reason !== null);
    assert.equal((reason as { code?: string }).code, 'JOB_CANCELLED');
    assert.equal((await other.get(job.id))?.status, 'cancelled');
    assert.deepEqual(await other.cancel(job.id), [], 'once');
  });

  it('pauses and resumes a queue for all workers', async (t) => {
    const [worker, other] = [await open(t), await open(t)];
    const queue = queueName();
    let ran = 0;
    const Paused = defineJob('paused', {
      queue,
      schema: anything,
      handler: () => {
        ran += 1;
      },
    });
    worker.work(Paused);
    await worker.start();
    await other.pause(queue);
    await other.enqueueMany(Paused, [{}, {}, {}]);
    await sleep(100);
    assert.equal(ran, 0);
    await other.resume(queue);
    await eventually('they ran', () => ran === 3);
  });

  it('stops gracefully: what runs ends, what does not is handed back', async (t) => {
    const [first, second] = [await open(t), await open(t)];
    const queue = queueName();
    const finished: string[] = [];
    const attempts: number[] = [];
    const Work = (who: string) =>
      defineJob('work', {
        queue,
        schema: z.object({ n: z.number() }),
        handler: async (_payload, { attempt }) => {
          attempts.push(attempt);
          await sleep(30);
          finished.push(who);
        },
      });
    first.work(Work('first'), { concurrency: 2 });
    await first.start();
    await first.enqueueMany(
      Work('first'),
      Array.from({ length: 30 }, (_, n) => ({ n })),
    );
    await eventually('some are done', () => finished.length >= 2);
    await first.stop();
    const byFirst = finished.length;
    assert.ok(byFirst < 30);
    second.work(Work('second'), { concurrency: 30 });
    await second.start();
    await eventually('the rest is done', () => finished.length === 30);
    assert.deepEqual(new Set(attempts), new Set([1]), 'no try was counted');
  });

  it('hands back at once what it claimed just as it was stopped', async (t) => {
    const [first, second] = [await open(t), await open(t)];
    const queue = queueName();
    const long = gate();
    const finished: number[] = [];
    const Work = defineJob('work', {
      queue,
      schema: z.object({ n: z.number() }),
      handler: async ({ n }) => {
        if (n === 0) await long.opened;
        finished.push(n);
      },
    });
    first.work(Work, { concurrency: 2 });
    await first.start();
    const exchange = first.store.exchange.bind(first.store);
    const claims: number[] = [];
    t.mock.method(first.store, 'exchange', async (request: Exchange) => {
      const result = await exchange(request);
      claims.push(...result.claimed.map(({ offset }) => offset));
      if (claims.length > 1) await sleep(200); // its answer is long in coming
      return result;
    });
    await second.enqueue(Work, { n: 0 });
    await eventually('the long one runs', () => claims.length === 1);
    await second.enqueue(Work, { n: 1 });
    await eventually('the other is claimed', () => claims.length === 2);
    const stopped = first.stop({ graceMs: 20_000 });
    second.work(Work);
    await second.start();
    await eventually('it runs elsewhere', () => finished.length === 1, 5_000);
    long.open();
    await stopped;
    assert.deepEqual(finished, [1, 0]);
  });

  it('takes over from a worker that died, within its time to live', async (t) => {
    const jobs = await open(t);
    const queue = queueName();
    const Held = defineJob('held', { queue, schema: anything, handler: (_p, ctx) => ctx.attempt });
    const job = await jobs.enqueue(Held, {});
    // A worker that claims and is never heard of again.
    const { store } = jobs;
    const epoch = await store.register({
      workerId: crypto.randomUUID(),
      queues: [queue],
      timeToLiveMs: 200,
      host: 'gone',
      pid: 1,
    });
    const { claimed } = await store.exchange({
      queue,
      epoch,
      settle: null,
      enqueue: [],
      enqueueId: crypto.randomUUID(),
      claim: { max: 1, lanes: await store.readyLanes(queue), suspects: true, claimNo: 1 },
      again: false,
    });
    assert.equal(claimed.length, 1);
    const recovered = gate();
    jobs.on('recovered', recovered.open);
    jobs.work(Held);
    await jobs.start();
    assert.equal(await jobs.result(job, { timeoutMs: 5_000 }), 1, 'a crash is no try');
    await recovered.opened;
    assert.equal((await jobs.get(job.id))?.crashes, 1);
  });
});

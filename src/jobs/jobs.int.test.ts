/** Queues as their users see them, on the embedded Postgres and on DATABASE_URL. */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { after, before, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { z } from 'zod';
import { eachPostgres, type TestDatabase } from '../../test/support/database.ts';
import { eventually, gate } from '../../test/support/eventually.ts';
import { ask } from '../../test/support/mill.ts';
import { connectJobs } from '../connect.ts';
import { permanentFailure } from '../core/errors.ts';
import { defineJob } from '../core/job-definition.ts';
import { cancelJob, snooze } from '../core/job-outcome.ts';
import type { Jobs } from './jobs.ts';
import type { JobsOptions } from './options.ts';

const anything = z.object({}).catchall(z.unknown());
const quick = { kind: 'fixed', delayMs: 5 } as const;

eachPostgres('jobs', (server) => {
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

  it('hands the result of a job to whoever waits for it', async (t) => {
    const [worker, caller] = [await open(t), await open(t)];
    const Add = defineJob('add', {
      queue: queueName(),
      schema: z.object({ a: z.number(), b: z.number() }),
      handler: ({ a, b }) => ({ sum: a + b }),
    });
    worker.work(Add);
    await worker.start();
    const here = await worker.enqueue(Add, { a: 1, b: 2 });
    const { sum } = await worker.result(here, { timeoutMs: 5_000 });
    assert.equal(sum, 3);
    const there = await caller.enqueue(Add, { a: 2, b: 2 });
    assert.deepEqual(await caller.result(there, { timeoutMs: 5_000 }), { sum: 4 });
    assert.deepEqual(await caller.result(there.id), { sum: 4 }, 'also long after');
    await assert.rejects(caller.result('999-1'), { code: 'NOT_FOUND' });
  });

  it('refuses a bad payload where it is enqueued, with the path', async (t) => {
    const jobs = await open(t);
    const Typed = defineJob('typed', {
      queue: queueName(),
      schema: z.object({ items: z.array(z.object({ amount: z.number() })) }),
    });
    await assert.rejects(jobs.enqueue(Typed, { items: [{ amount: 'x' as never }] }), {
      code: 'JOB_INVALID',
      message: /payload\.items\[0\]\.amount/,
    });
  });

  it('tries again by the backoff, then gives up, and retries when told to', async (t) => {
    const jobs = await open(t);
    let broken = true;
    const seen: number[] = [];
    const Flaky = defineJob('flaky', {
      queue: queueName(),
      schema: anything,
      attempts: 3,
      backoff: quick,
      handler: (_payload, { attempt }) => {
        seen.push(attempt);
        if (broken) throw new Error(`broken at ${attempt}`);
        return 'mended';
      },
    });
    const events: string[] = [];
    jobs.on('retrying', ({ attempt }) => events.push(`retrying ${attempt}`));
    jobs.on('dead', ({ attempt, error }) => events.push(`dead ${attempt} ${error.message}`));
    jobs.work(Flaky);
    await jobs.start();
    const job = await jobs.enqueue(Flaky, {});
    await assert.rejects(jobs.result(job, { timeoutMs: 5_000 }), {
      code: 'JOB_FAILED',
      message: /broken at 3/,
    });
    assert.deepEqual(seen, [1, 2, 3]);
    assert.deepEqual(events, ['retrying 1', 'retrying 2', 'dead 3 broken at 3']);
    const dead = await jobs.get(job.id);
    assert.deepEqual([dead?.status, dead?.failures], ['dead', 3]);
    broken = false;
    assert.deepEqual(await jobs.retry(job.id), [job.id]);
    assert.equal(await jobs.result(job, { timeoutMs: 5_000 }), 'mended');
    assert.equal(seen.at(-1), 1, 'tries are counted anew');
  });

  it('obeys what a handler says about its job', async (t) => {
    const jobs = await open(t);
    let snoozed = 0;
    const Wilful = defineJob('wilful', {
      queue: queueName(),
      schema: z.object({ wish: z.string() }),
      backoff: quick,
      handler: ({ wish }, { attempt }) => {
        if (wish === 'cancel') throw cancelJob('not wanted any more');
        if (wish === 'die') throw permanentFailure('hopeless');
        snoozed += 1;
        if (snoozed < 3) throw snooze(5);
        return attempt;
      },
    });
    jobs.work(Wilful);
    await jobs.start();
    const cancelled = await jobs.enqueue(Wilful, { wish: 'cancel' });
    await assert.rejects(jobs.result(cancelled, { timeoutMs: 5_000 }), { code: 'JOB_CANCELLED' });
    const dead = await jobs.enqueue(Wilful, { wish: 'die' });
    await assert.rejects(jobs.result(dead, { timeoutMs: 5_000 }), /hopeless/);
    assert.equal((await jobs.get(dead.id))?.failures, 1, 'no second try');
    const late = await jobs.enqueue(Wilful, { wish: 'snooze' });
    assert.equal(await jobs.result(late, { timeoutMs: 5_000 }), 1, 'a snooze is no try');
  });

  it('fails a job whose result cannot be stored, with a clear error', async (t) => {
    const jobs = await open(t);
    const Circular = defineJob('circular', {
      queue: queueName(),
      schema: anything,
      handler: () => {
        const result: Record<string, unknown> = {};
        result.self = result;
        return result;
      },
    });
    jobs.work(Circular);
    await jobs.start();
    const job = await jobs.enqueue(Circular, {});
    await assert.rejects(jobs.result(job, { timeoutMs: 5_000 }), { code: 'JOB_FAILED' });
    const view = await jobs.get(job.id);
    assert.equal(view?.error?.code, 'RESULT_INVALID');
    assert.match(view?.error?.message ?? '', /contains itself/);
  });

  it('runs urgent jobs first, and of equals one tenant after the other', async (t) => {
    const jobs = await open(t);
    const order: string[] = [];
    const Note = defineJob('note', {
      queue: queueName(),
      schema: z.object({ what: z.string() }),
      handler: ({ what }) => {
        order.push(what);
      },
    });
    for (let n = 0; n < 4; n += 1) await jobs.enqueue(Note, { what: `a${n}` }, { tenantId: 'a' });
    for (let n = 0; n < 2; n += 1) await jobs.enqueue(Note, { what: `b${n}` }, { tenantId: 'b' });
    await jobs.enqueue(Note, { what: 'urgent' }, { priority: -5 });
    await jobs.enqueue(Note, { what: 'later' }, { priority: 5 });
    jobs.work(Note, { concurrency: 1 });
    await jobs.start();
    await eventually('all ran', () => order.length === 8);
    assert.equal(order[0], 'urgent');
    assert.equal(order.at(-1), 'later');
    const places = order.map((what) => what[0]).join('');
    assert.ok(places.indexOf('b') <= 2, `b waits for one of a at most: ${order}`);
    assert.deepEqual(
      order.filter((what) => what.startsWith('a')),
      ['a0', 'a1', 'a2', 'a3'],
    );
  });

  it('delays, and lets one of a unique key stand for all', async (t) => {
    const jobs = await open(t);
    const ran: { n: number; atMs: number }[] = [];
    const Once = defineJob('once', {
      queue: queueName(),
      schema: z.object({ n: z.number() }),
      handler: ({ n }) => {
        ran.push({ n, atMs: Date.now() });
      },
    });
    jobs.work(Once);
    await jobs.start();
    const began = Date.now();
    const delayed = await jobs.enqueue(Once, { n: 1 }, { delayMs: 150 });
    assert.equal((await jobs.get(delayed.id))?.status, 'delayed');
    await eventually('it ran', () => ran.length === 1);
    assert.ok((ran[0]?.atMs ?? 0) - began >= 148, 'not early');
    const unique = { key: 'k', mode: 'debounce', windowMs: 100 } as const;
    const first = await jobs.enqueue(Once, { n: 2 }, { unique });
    const second = await jobs.enqueue(Once, { n: 3 }, { unique });
    assert.deepEqual([second.id, second.duplicate], [first.id, true]);
    await eventually('it ran', () => ran.length === 2);
    assert.equal(ran[1]?.n, 3, 'the last payload counts');
    await jobs.enqueue(Once, { n: 4 }, { unique: { key: 'r', mode: 'reject' }, delayMs: 5_000 });
    await assert.rejects(jobs.enqueue(Once, { n: 5 }, { unique: { key: 'r' } }), {
      code: 'JOB_DUPLICATE',
    });
  });

  it('ends a handler that takes too long', async (t) => {
    const jobs = await open(t);
    let aborted = 0;
    const Late = defineJob('late', {
      queue: queueName(),
      schema: anything,
      timeoutMs: 50,
      attempts: 2,
      backoff: quick,
      handler: async (_payload, { signal }) => {
        signal.addEventListener('abort', () => {
          aborted += 1;
        });
        await sleep(10_000, undefined, { signal }).catch(() => {});
      },
    });
    jobs.work(Late);
    await jobs.start();
    const job = await jobs.enqueue(Late, {});
    await assert.rejects(jobs.result(job, { timeoutMs: 5_000 }), /over 50 ms/);
    assert.equal(aborted, 2);
  });

  it('shows progress, and results of parents to their child', async (t) => {
    const jobs = await open(t);
    const queue = queueName();
    const part = gate();
    const Part = defineJob('part', {
      queue,
      schema: z.object({ n: z.number() }),
      progress: z.object({ percent: z.number() }),
      handler: async ({ n }, { progress }) => {
        progress({ percent: 50 });
        await part.opened;
        return n * 10;
      },
    });
    const Whole = defineJob('whole', {
      queue,
      schema: anything,
      handler: async (_payload, { results }) => (await results()) as number[],
    });
    jobs.work([Part, Whole]);
    await jobs.start();
    const parts = await jobs.enqueueMany(Part, [{ n: 1 }, { n: 2 }]);
    const whole = await jobs.enqueue(Whole, {}, { dependsOn: parts });
    const shown = await eventually('progress is stored', async () => {
      const found = await jobs.get(parts[0]?.id ?? '');
      return found?.progress;
    });
    assert.deepEqual(shown, { percent: 50 });
    assert.equal((await jobs.get(whole.id))?.status, 'blocked');
    part.open();
    assert.deepEqual(await jobs.result(whole, { timeoutMs: 5_000 }), [10, 20]);
  });

  it('handles batches with an outcome for each job', async (t) => {
    const jobs = await open(t);
    const sizes: number[] = [];
    const Batch = defineJob('batch', {
      queue: queueName(),
      schema: z.object({ n: z.number() }),
      attempts: 1,
      batch: { max: 10 },
      handler: (batch) => {
        sizes.push(batch.length);
        return batch.map(({ payload: { n } }) => (n === 3 ? new Error('three') : n * 2));
      },
    });
    const many = await jobs.enqueueMany(
      Batch,
      Array.from({ length: 10 }, (_, n) => ({ n })),
    );
    jobs.work(Batch, { concurrency: 1 });
    await jobs.start();
    assert.equal(await jobs.result(many[9] as never, { timeoutMs: 5_000 }), 18);
    await assert.rejects(jobs.result(many[3] as never, { timeoutMs: 5_000 }), /three/);
    assert.ok(Math.max(...sizes) > 1, `batches of ${sizes}`);
  });

  it('commits effects of a handler together with its job', async (t) => {
    const jobs = await open(t);
    const table = `effect_${queueName().replace('-', '_')}`;
    await ask(database.url, `create table ${table} (n int); grant all on ${table} to millrace_app`);
    const Write = defineJob('write', {
      queue: queueName(),
      schema: z.object({ n: z.number() }),
      transactional: true,
      attempts: 2,
      backoff: quick,
      handler: async ({ n }, { tx, attempt }) => {
        await tx.query(`insert into ${table} values ($1)`, [n]);
        if (attempt === 1) throw new Error('after the effect');
        return 'written';
      },
    });
    jobs.work(Write);
    await jobs.start();
    const job = await jobs.enqueue(Write, { n: 7 });
    assert.equal(await jobs.result(job, { timeoutMs: 5_000 }), 'written');
    assert.deepEqual(await ask(database.url, `select n from ${table}`), [{ n: 7 }]);
  });

  it('a commit that outlasts the time limit counts as what it came to', async (t) => {
    // No look of the worker's own shall stand in front of what is settled when the time is over.
    const jobs = await open(t, { pollMs: [60_000, 60_000] });
    const queue = queueName();
    const table = `effect_${queue.replace('-', '_')}`;
    await ask(database.url, `create table ${table} (n int); grant all on ${table} to millrace_app`);
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    t.after(() => client.end());
    let tries = 0;
    const Write = defineJob('write', {
      queue,
      transactional: true,
      timeoutMs: 300,
      backoff: quick,
      handler: async (_payload: object, { tx }) => {
        await tx.query(`insert into ${table} values (1)`);
        tries += 1;
        if (tries > 1) return;
        // Every commit of the queue waits for this.
        await client.query(`begin; select pg_advisory_xact_lock(7312, queue_id)
          from millrace.job_queue where queue_name = '${queue}'`);
      },
    });
    jobs.work(Write);
    await jobs.start();
    await eventually('it has looked', async () => (await jobs.health()).listening);
    await sleep(100);
    const job = await jobs.enqueue(Write, {});
    await eventually('it is committing', () => tries === 1);
    await sleep(700);
    await client.query('commit');
    await jobs.result(job, { timeoutMs: 5_000 });
    await sleep(100);
    assert.deepEqual(await ask(database.url, `select n from ${table}`), [{ n: 1 }]);
    assert.equal(tries, 1);
  });

  it('the time limit of a sandboxed job counts from when it has a thread', async (t) => {
    const jobs = await open(t);
    const body = 'export default () => new Promise((resolve) => setTimeout(resolve, 1500, "done"))';
    const Rest = defineJob('rest', {
      queue: queueName(),
      attempts: 1,
      timeoutMs: 5_000,
      sandbox: { module: new URL(`data:text/javascript,${encodeURIComponent(body)}`) },
    });
    const count = 4 * availableParallelism();
    jobs.work(Rest, { concurrency: count });
    await jobs.start();
    const all = await jobs.enqueueMany(Rest, Array(count).fill({}));
    const results = await Promise.all(all.map((job) => jobs.result(job, { timeoutMs: 30_000 })));
    assert.deepEqual(results, Array(count).fill('done'));
  });

  it('goes around handlers with middleware, the first one outermost', async (t) => {
    const jobs = await open(t);
    const seen: string[] = [];
    const Plain = defineJob('plain', {
      queue: queueName(),
      schema: anything,
      handler: () => {
        seen.push('handler');
        return 1;
      },
    });
    for (const name of ['outer', 'inner']) {
      jobs.use(async (job, next) => {
        seen.push(`${name} ${job.name}`);
        const result = await next();
        seen.push(`${name} after`);
        return (result as number) + 1;
      });
    }
    jobs.work(Plain);
    await jobs.start();
    assert.equal(await jobs.result(await jobs.enqueue(Plain, {}), { timeoutMs: 5_000 }), 3);
    const wanted = ['outer plain', 'inner plain', 'handler', 'inner after', 'outer after'];
    assert.deepEqual(seen, wanted);
  });

  it('lets a job of an unknown name wait, and says so', async (t) => {
    const jobs = await open(t);
    const queue = queueName();
    const Known = defineJob('known', { queue, schema: anything, handler: () => 1 });
    const Unknown = defineJob('unheard-of', { queue, schema: anything });
    jobs.work(Known);
    await jobs.start();
    const job = await jobs.enqueue(Unknown, {});
    const view = await eventually('it is put off', async () => {
      const found = await jobs.get(job.id);
      return found?.status === 'retrying' && found;
    });
    assert.equal(view.error?.code, 'JOB_UNKNOWN');
    assert.equal(view.failures, 0, 'no try is counted');
    const why = await jobs.why(job.id);
    assert.match(why.reasons.map(({ text }) => text).join(' '), /unheard-of/);
    assert.equal(await jobs.result(await jobs.enqueue(Known, {}), { timeoutMs: 5_000 }), 1);
  });

  it('enqueues inside a transaction of the caller', async (t) => {
    const jobs = await open(t);
    let ran = 0;
    const Inside = defineJob('inside', {
      queue: queueName(),
      schema: anything,
      handler: () => {
        ran += 1;
      },
    });
    jobs.work(Inside);
    await jobs.start();
    const { default: pg } = await import('pg');
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    t.after(() => client.end());
    await client.query('begin');
    await jobs.enqueue(Inside, {}, { tx: client });
    await client.query('rollback');
    await client.query('begin');
    const job = await jobs.enqueue(Inside, {}, { tx: client });
    await sleep(50);
    assert.equal(ran, 0, 'not before the commit');
    await client.query('commit');
    await jobs.result(job, { timeoutMs: 5_000 });
    assert.equal(ran, 1);
  });
});

/** JobQueue and WorkerManager on real stores: policies, slots, limits, and who shares what. */
import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { z } from 'zod';
import { eventually, gate } from '../../test/support/eventually.ts';
import { type FaceConnection, suite } from '../../test/support/job-stores.ts';
import { connectJobs } from '../connect.ts';
import { permanentFailure } from '../core/errors.ts';
import { defineJob } from '../core/job-definition.ts';
import { cancelJob } from '../core/job-outcome.ts';
import { ErrorRecovery } from './error-recovery.ts';
import { JobError, QueueError } from './errors.ts';
import type { Job, JobRequest } from './job.ts';
import { JobQueue, type JobQueueOptions } from './job-queue.ts';
import { WorkerManager, type WorkerManagerOptions } from './worker-manager.ts';

const timeoutMs = 20_000;
const soon = { timeoutMs };
const code = (wanted: string) => (error: unknown) => (error as { code?: string }).code === wanted;

let number = 0;
/** A queue that no other test of this file has: the store is shared. */
const newQueue = () => {
  number += 1;
  return `queue-${number}`;
};

suite.onEachStore('the job queue', (place) => {
  const openQueue = (t: TestContext, options: JobQueueOptions = {}) => {
    const queue = new JobQueue({ ...place.connection(), ...options });
    t.after(() => queue.close());
    return queue;
  };
  const openManager = (t: TestContext, options: WorkerManagerOptions = {}) => {
    const manager = new WorkerManager({ ...place.connection(), ...options });
    t.after(() => manager.stop());
    return manager;
  };

  it('tries a job as its worker says, and as it says itself', async (t) => {
    const [name, queue] = [newQueue(), openQueue(t)];
    openManager(t, { retryAttempts: 2, retryDelay: 1 });
    const tries = new Map<string, number>();
    await queue.process(name, ({ id }) => {
      tries.set(id, (tries.get(id) ?? 0) + 1);
      throw new Error('no');
    });
    const jobs = await queue.addBulk(name, [
      { type: 'a', data: null },
      { type: 'a', data: null, attempts: 3 },
      { type: 'a', data: null, attempts: 0 },
      { type: 'a', data: null, attempts: 3, backoff: { kind: 'linear', delayMs: 2 } },
    ]);
    for (const { id } of jobs) {
      await assert.rejects(queue.result(id, soon), (error) => {
        return error instanceof JobError && error.code === 'JOB_FAILED' && error.jobId === id;
      });
    }
    assert.deepEqual(
      jobs.map(({ id }) => tries.get(id)),
      [2, 3, 1, 3],
    );
    const dead = await queue.getJob(jobs[1]?.id ?? '');
    assert.deepEqual([dead?.status, dead?.failures, dead?.error?.message], ['dead', 3, 'no']);
  });

  it('hands over a job with what is known of it, and its result back', async (t) => {
    const [name, queue] = [newQueue(), openQueue(t)];
    interface Report extends Job {
      data: { month: number; tenantId: string };
    }
    let seen: Report | null = null;
    await queue.process(name, async (job: Report) => {
      seen = job;
      job.updateProgress?.({ percent: 50 });
      await sleep(150); // progress is written every 100 ms
      return { pages: job.data.month * 2 };
    });
    const added = await queue.add(name, {
      type: 'report',
      data: { month: 6, tenantId: 'acme' },
      priority: -3,
      metadata: { source: 'test' },
    });
    assert.deepEqual(await queue.result(added.id, soon), { pages: 12 });
    const { id, type, data, attempt, attempts, tenantId, metadata } = seen as unknown as Report;
    assert.deepEqual([id, type, data], [added.id, 'report', { month: 6, tenantId: 'acme' }]);
    assert.deepEqual([attempt, attempts, tenantId, metadata], [1, 3, 'acme', { source: 'test' }]);
    const stored = await queue.getJob(id);
    assert.deepEqual(stored?.result, { pages: 12 });
    assert.deepEqual(stored?.progress, { percent: 50 });
    assert.equal(stored?.priority, -3);
    assert.ok(stored?.finishedAt instanceof Date);
  });

  it('puts off a job until a processor is registered, and does not fail it', async (t) => {
    const [name, queue] = [newQueue(), openQueue(t, { queues: [] })];
    const other = openQueue(t);
    const manager = openManager(t, { queues: [name] });
    manager.register('known', () => 'done');
    await manager.start();
    const known = await other.add(name, { type: 'known', data: 1 });
    const unknown = await other.add(name, { type: 'unknown', data: 1 });
    assert.equal(await other.result(known.id, soon), 'done');
    await eventually('it is put off', async () => {
      return (await other.getJob(unknown.id))?.status === 'retrying';
    });
    manager.register('unknown', () => 'done later');
    assert.equal(await other.promote(unknown.id), true);
    assert.equal(await other.result(unknown.id, soon), 'done later');
    await assert.rejects(queue.add(name, { type: 'a', data: 1 }), code('NOT_FOUND'));
  });

  it('gives scarce slots to the queue that goes first', async (t) => {
    const [urgent, patient] = [newQueue(), newQueue()];
    const queue = openQueue(t, {
      queues: [
        { name: patient, priority: 4, concurrency: 3 },
        { name: urgent, priority: 1, concurrency: 3 },
      ],
    });
    const manager = openManager(t, { concurrency: 1 });
    const { open, opened } = gate();
    const order: string[] = [];
    manager.register('first', () => opened);
    manager.register('next', ({ queue: name = '' }) => void order.push(name));
    await manager.start();
    const first = await queue.add(patient, { type: 'first', data: 1 });
    await eventually('it runs', async () => (await queue.getCounts(patient)).running === 1);
    const inputs = [1, 2].map((data) => ({ type: 'next', data }));
    const jobs = [
      ...(await queue.addBulk(patient, inputs)),
      ...(await queue.addBulk(urgent, inputs)),
    ];
    await eventually('all wait for the slot', async () => {
      const counts = [await queue.getCounts(patient), await queue.getCounts(urgent)];
      return counts.reduce((sum, { running }) => sum + running, 0) === 5;
    });
    assert.equal(manager.status.running, 1);
    open();
    await Promise.all([first, ...jobs].map(({ id }) => queue.result(id, soon)));
    assert.deepEqual(order, [urgent, urgent, patient, patient]);
  });

  it('never runs more of a queue at a time than it allows', async (t) => {
    const name = newQueue();
    const queue = openQueue(t, { queues: [{ name, concurrency: 2 }] });
    let [running, most] = [0, 0];
    await queue.process(name, async () => {
      running += 1;
      most = Math.max(most, running);
      await sleep(3);
      running -= 1;
    });
    const inputs = Array.from({ length: 20 }, (_, data) => ({ type: 'a', data }));
    const jobs = await queue.addBulk(name, inputs);
    await Promise.all(jobs.map(({ id }) => queue.result(id, soon)));
    assert.equal(most, 2);
  });

  it('decides by strategy what becomes of a failed try', async (t) => {
    const [name, queue] = [newQueue(), openQueue(t)];
    const notified: string[] = [];
    const errorRecovery = new ErrorRecovery({
      strategies: [
        { errorType: 'NetworkError', action: 'retry', maxAttempts: 5, delay: 1 },
        { errorType: 'BusinessLogicError', action: 'fail', notify: true },
        { errorType: 'NoiseError', action: 'ignore' },
      ],
      onNotify: ({ error }) => void notified.push((error as Error).message),
    });
    openManager(t, { retryAttempts: 2, retryDelay: 1, errorRecovery });
    const tries = new Map<string, number>();
    await queue.process(name, ({ type }) => {
      const count = (tries.get(type) ?? 0) + 1;
      tries.set(type, count);
      throw Object.assign(new Error(`${type} ${count}`), { name: type });
    });
    const types = ['NetworkError', 'BusinessLogicError', 'NoiseError', 'OtherError'];
    const jobs = await queue.addBulk(
      name,
      types.map((type) => ({ type, data: null })),
    );
    const ends = await Promise.allSettled(jobs.map(({ id }) => queue.result(id, soon)));
    assert.deepEqual(
      ends.map(({ status }) => status),
      ['rejected', 'rejected', 'fulfilled', 'rejected'],
    );
    assert.deepEqual(Object.fromEntries(tries), {
      NetworkError: 5,
      BusinessLogicError: 1,
      NoiseError: 1,
      OtherError: 2,
    });
    assert.deepEqual(notified, ['BusinessLogicError 1']);
    const patient = await queue.add(name, { type: 'PatientError', data: null, attempts: 4 });
    await assert.rejects(queue.result(patient.id, soon));
    assert.equal(tries.get('PatientError'), 4, 'what a job says itself holds');
  });

  it('leaves queues alone that its manager does not name', async (t) => {
    const [mine, others] = [newQueue(), newQueue()];
    const queue = openQueue(t, { queues: [mine, others] });
    const manager = openManager(t, { queues: [mine] });
    manager.register('a', () => 'done');
    await manager.start();
    const theirs = await queue.add(others, { type: 'b', data: 1 });
    const ours = await queue.add(mine, { type: 'a', data: 1 });
    assert.equal(await queue.result(ours.id, soon), 'done');
    assert.deepEqual(manager.status.queues, [mine]);
    assert.equal((await queue.getJob(theirs.id))?.status, 'waiting');
  });

  it('passes on what a processor throws to end its job otherwise', async (t) => {
    const [name, queue] = [newQueue(), openQueue(t)];
    let tries = 0;
    await queue.process(name, ({ type }) => {
      tries += 1;
      throw type === 'cancel' ? cancelJob('withdrawn') : permanentFailure('closed');
    });
    const cancelled = await queue.add(name, { type: 'cancel', data: 1 });
    await assert.rejects(queue.result(cancelled.id, soon), code('JOB_CANCELLED'));
    const dead = await queue.add(name, { type: 'dead', data: 1 });
    await assert.rejects(queue.result(dead.id, soon), code('JOB_FAILED'));
    assert.equal(tries, 2);
  });

  it('ends a try that takes too long, with its signal', async (t) => {
    const [name, queue] = [newQueue(), openQueue(t)];
    openManager(t, { retryAttempts: 1, timeout: 50 });
    let reason: unknown;
    await queue.process(name, async ({ signal }) => {
      await sleep(60_000, null, { signal }).catch(() => {});
      reason = signal?.reason;
    });
    const { id } = await queue.add(name, { type: 'a', data: 1 });
    await assert.rejects(queue.result(id, soon), /50 ms/);
    await eventually('the processor heard of it', () => code('HANDLER_TIMEOUT')(reason));
  });

  it('refuses what is beyond the length, and what is no job', async (t) => {
    const name = newQueue();
    const queue = openQueue(t, { queue: { maxLength: 2 } });
    await queue.pause(name);
    await queue.add(name, { type: 'a', data: 1 });
    await queue.add(name, { type: 'a', data: 2 });
    await assert.rejects(queue.add(name, { type: 'a', data: 3 }), (error) => {
      return error instanceof QueueError && error.code === 'BACKPRESSURE' && error.queue === name;
    });
    assert.equal(await queue.getLength(name), 2);
    const invalid: JobRequest[] = [
      { type: '', data: 1 },
      { type: 'a', data: () => 1 },
      { type: 'a', data: 1, priority: 0.5 },
      null as never,
    ];
    for (const input of invalid) {
      await assert.rejects(queue.add(name, input), (error) => error instanceof QueueError);
    }
  });

  it('changes jobs by hand', async (t) => {
    const [name, queue] = [newQueue(), openQueue(t)];
    const delayed = await queue.add(name, { type: 'a', data: 1, delay: 60_000 });
    const waiting = await queue.add(name, { type: 'a', data: 2 });
    assert.equal((await queue.getJob(delayed.id))?.status, 'delayed');
    assert.equal(await queue.cancel(waiting.id), true);
    assert.equal(await queue.cancel(waiting.id), false);
    assert.equal((await queue.getJob(waiting.id))?.status, 'cancelled');
    await queue.process(name, ({ data }) => data);
    assert.equal(await queue.promote(delayed.id), true);
    assert.equal(await queue.result(delayed.id, soon), 1);
    assert.equal(await queue.retry(waiting.id), true);
    assert.equal(await queue.result(waiting.id, soon), 2);
    assert.equal(await queue.remove(waiting.id), true);
    assert.equal(await queue.getJob(waiting.id), null);
    const once = { type: 'a', data: 3, delay: 60_000, unique: 'one' };
    const first = await queue.add(name, once);
    assert.equal((await queue.add(name, once)).id, first.id);
  });

  it('tells what happens, in its own words', async (t) => {
    const [name, queue] = [newQueue(), openQueue(t)];
    openManager(t, { retryAttempts: 2, retryDelay: 1 });
    const heard: string[] = [];
    for (const event of ['added', 'started', 'retrying', 'completed', 'failed'] as const) {
      queue.on(event, ({ type, queue: where }) => {
        if (where === name) heard.push(`${event} ${type}`);
      });
    }
    await queue.process(name, ({ type }) => {
      if (type === 'bad') throw new Error('bad');
    });
    const good = await queue.add(name, { type: 'good', data: 1 });
    await queue.result(good.id, soon);
    const bad = await queue.add(name, { type: 'bad', data: 1 });
    await assert.rejects(queue.result(bad.id, soon));
    await eventually('all was heard', () => heard.length === 8);
    assert.deepEqual(heard.slice().sort(), [
      'added bad',
      'added good',
      'completed good',
      'failed bad',
      'retrying bad',
      'started bad',
      'started bad',
      'started good',
    ]);
  });

  it('is one queue for all faces and for the engine itself', async (t) => {
    const name = newQueue();
    const prefix = process.env.QUEUE_PREFIX ?? '';
    const jobs = await connectJobs(urlOf(place.connection()), { prefix });
    t.after(() => jobs.stop());
    const scoped = place.name === 'redis' ? name : `${prefix}:${name}`;
    const Typed = defineJob('typed', { queue: scoped, schema: z.object({ n: z.number() }) });
    const { id } = await jobs.enqueue(Typed, { n: 20 });
    const queue = openQueue(t);
    await queue.process(name, ({ data }) => (data as { n: number }).n + 1);
    assert.equal(await jobs.result(id, soon), 21);
    assert.equal((await queue.getJob(id))?.queue, name);
  });

  it('works on an engine that it is given, and leaves it running', async (t) => {
    const name = newQueue();
    const prefix = `${process.env.QUEUE_PREFIX}`;
    const jobs = await connectJobs(urlOf(place.connection()), { prefix });
    t.after(() => jobs.stop());
    const queue = new JobQueue({ jobs });
    await queue.process(name, ({ data }) => data);
    const { id } = await queue.add(name, { type: 'a', data: 5 });
    assert.equal(await jobs.result(id, soon), 5);
    await queue.close();
    assert.equal((await jobs.get(id))?.queue, name);
  });

  it('keeps prefixes apart', async (t) => {
    const name = newQueue();
    const mine = openQueue(t, { queue: { prefix: `${process.env.QUEUE_PREFIX}-other` } });
    const others = openQueue(t);
    await mine.add(name, { type: 'a', data: 1 });
    assert.equal(await mine.getLength(name), 1);
    assert.equal(await others.getLength(name), 0);
  });

  it('goes on with other faces when one of them stops', async (t) => {
    const [name, shared] = [newQueue(), newQueue()];
    const queue = openQueue(t);
    const manager = openManager(t, { queues: [shared] });
    const { open, opened } = gate();
    manager.register('slow', async () => {
      await opened;
      return 'drained';
    });
    await manager.start();
    await queue.process(name, ({ data }) => data);
    const slow = await queue.add(shared, { type: 'slow', data: 1 });
    await eventually('it runs', async () => (await queue.getJob(slow.id))?.status === 'running');
    const stopped = manager.stop();
    const during = queue.add(shared, { type: 'slow', data: 2 });
    open();
    await stopped;
    assert.equal(await queue.result(slow.id, soon), 'drained');
    const left = await during;
    const own = await queue.add(name, { type: 'own', data: 'still here' });
    assert.equal(await queue.result(own.id, soon), 'still here');
    assert.equal((await queue.getJob(left.id))?.status, 'waiting', 'nobody works on it here');
    assert.throws(() => manager.register('a', () => 1), code('SHUTTING_DOWN'));
  });

  it('ends with the last face, and begins again with the next', async () => {
    const name = newQueue();
    const first = new JobQueue(place.connection());
    const { id } = await first.add(name, { type: 'a', data: 7 });
    await first.close();
    await assert.rejects(first.add(name, { type: 'a', data: 7 }), code('SHUTTING_DOWN'));
    await using second = new JobQueue(place.connection());
    await second.process(name, ({ data }) => data);
    assert.equal(await second.result(id, soon), 7);
  });

  it('is refused a second processor for a queue or a type', async (t) => {
    const [name, queue] = [newQueue(), openQueue(t)];
    await queue.process(name, () => 1);
    await assert.rejects(
      queue.process(name, () => 2),
      code('DEFINITION_INVALID'),
    );
    const manager = openManager(t);
    manager.register('twice', () => 1);
    assert.throws(() => manager.register('twice', () => 2), code('DEFINITION_INVALID'));
  });
});

function urlOf(connection: FaceConnection): string {
  return 'redis' in connection ? connection.redis.url : connection.postgres.url;
}

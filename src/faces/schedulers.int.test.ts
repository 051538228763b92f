/** CronScheduler and OneTimeScheduler on real stores: what is stored, what fires, what does not. */
import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../test/support/eventually.ts';
import { suite } from '../../test/support/job-stores.ts';
import { CronScheduler } from './cron-scheduler.ts';
import { QueueError } from './errors.ts';
import { JobQueue } from './job-queue.ts';
import { OneTimeScheduler } from './one-time-scheduler.ts';
import { WorkerManager } from './worker-manager.ts';

const code = (wanted: string) => (error: unknown) =>
  error instanceof QueueError && error.code === wanted;

suite.onEachStore('the schedulers', ({ connection }) => {
  const openCron = (t: TestContext, timezone?: string) => {
    const scheduler = new CronScheduler({ ...connection(), timezone });
    t.after(() => scheduler.stop());
    return scheduler;
  };
  const openOnce = (t: TestContext) => {
    const scheduler = new OneTimeScheduler(connection());
    t.after(() => scheduler.stop());
    return scheduler;
  };

  it('fire every second, one job a tick, though two are started', async (t) => {
    const cron = openCron(t);
    const other = new CronScheduler({
      ...connection(),
      queue: { prefix: process.env.QUEUE_PREFIX },
    });
    t.after(() => other.stop());
    const ticks: unknown[] = [];
    const manager = new WorkerManager(connection());
    t.after(() => manager.stop());
    manager.register('tick', ({ metadata }) => void ticks.push(metadata?.tick));
    await manager.start();
    await cron.schedule('every-second', { cron: '* * * * * *', job: { type: 'tick', data: 1 } });
    await cron.start();
    await other.start();
    await eventually('three ticks', () => ticks.length >= 3);
    await cron.unschedule('every-second');
    await sleep(50);
    assert.equal(new Set(ticks).size, ticks.length, `twice: ${ticks}`);
  });

  it('keep a schedule by name: the same again changes nothing, another one replaces', async (t) => {
    const cron = openCron(t, 'Europe/Berlin');
    const daily = { cron: '30 6 * * *', job: { type: 'report', data: { n: 1 }, queue: 'reports' } };
    const first = await cron.schedule('daily', daily);
    assert.equal(first.description, 'at 06:30 every day (Europe/Berlin)');
    assert.equal(first.queue, 'reports');
    assert.deepEqual(await cron.schedule('daily', daily), first);
    const moved = await cron.schedule('daily', { ...daily, cron: '0 7 * * *', timezone: 'UTC' });
    assert.equal(moved.nextAt?.getUTCHours(), 7);
    assert.equal((await cron.list()).length, 1);
    assert.equal((await cron.pause('daily')).paused, true);
    assert.equal((await cron.resume('daily')).paused, false);
    assert.equal(await cron.unschedule('daily'), true);
    assert.equal(await cron.unschedule('daily'), false);
  });

  it('refuse what is no time, by field', async (t) => {
    const [cron, once] = [openCron(t), openOnce(t)];
    const job = { type: 'a', data: 1 };
    await assert.rejects(
      cron.schedule('bad', { cron: '61 * * * *', job }),
      code('SCHEDULE_INVALID'),
    );
    await assert.rejects(
      cron.schedule('bad', { cron: '0 0 * * *', timezone: 'Mars/Base', job }),
      code('SCHEDULE_INVALID'),
    );
    await assert.rejects(
      once.schedule('bad', { executeAt: new Date('never'), job }),
      code('SCHEDULE_INVALID'),
    );
    await assert.rejects(cron.pause('missing'), code('NOT_FOUND'));
  });

  it('run a job once at its moment, can move it and take it back', async (t) => {
    const once = openOnce(t);
    const queue = new JobQueue(connection());
    t.after(() => queue.close());
    const seen: unknown[] = [];
    await queue.process('reminders', ({ data }) => void seen.push(data));
    const job = (data: number) => ({ type: 'remind', data, queue: 'reminders' });
    const later = new Date(Date.now() + 3_600_000);
    await once.schedule('later', { executeAt: later, job: job(1) });
    await once.schedule('never', { executeAt: later, job: job(2) });
    assert.deepEqual(
      (await once.list()).map(({ name, nextAt }) => [name, nextAt]),
      [
        ['later', later],
        ['never', later],
      ],
    );
    assert.equal(await once.cancel('never'), true);
    await once.schedule('later', { executeAt: new Date(Date.now() + 50), job: job(3) });
    await eventually('it ran', () => seen.length > 0);
    assert.deepEqual(seen, [3]);
    await eventually('it is over', async () => (await once.list()).length === 0);
    assert.equal(await once.cancel('later'), false);
  });

  it('see schedules of their own kind only', async (t) => {
    const [cron, once] = [openCron(t), openOnce(t)];
    const job = { type: 'a', data: 1 };
    await cron.schedule('a', { cron: '@daily', job });
    await once.schedule('b', { executeAt: new Date(Date.now() + 3_600_000), job });
    assert.deepEqual(
      (await cron.list()).map(({ name }) => name),
      ['a'],
    );
    assert.equal(await once.cancel('a'), false);
    assert.equal(await cron.unschedule('b'), false);
    assert.equal(await once.cancel('b'), true);
  });
});

/** WorkerMetrics and WorkerHealthChecker on real stores. */
import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, gate } from '../../test/support/eventually.ts';
import { suite } from '../../test/support/job-stores.ts';
import { JobQueue } from './job-queue.ts';
import { type HealthCheck, WorkerHealthChecker } from './worker-health-checker.ts';
import { WorkerMetrics } from './worker-metrics.ts';

const soon = { timeoutMs: 20_000 };

suite.onEachStore('monitoring', ({ connection }) => {
  const openQueue = (t: TestContext) => {
    const queue = new JobQueue(connection());
    t.after(() => queue.close());
    return queue;
  };
  const openChecker = (t: TestContext, checks: readonly HealthCheck[]) => {
    const checker = new WorkerHealthChecker({
      ...connection(),
      checks,
      monitoring: { healthCheckInterval: 100 },
    });
    t.after(() => checker.close());
    return checker;
  };

  it('answers with the metrics that were asked for, of the queues that were named', async (t) => {
    const queue = openQueue(t);
    const metrics = new WorkerMetrics({
      ...connection(),
      metrics: ['jobs.processed', 'queue.length', 'processing.time'],
      queues: ['measured'],
      monitoring: { metricsInterval: 100 },
    });
    t.after(() => metrics.close());
    await queue.process('measured', () => sleep(30));
    await queue.add('elsewhere', { type: 'a', data: 1 });
    const jobs = await queue.addBulk('measured', [
      { type: 'a', data: 1 },
      { type: 'a', data: 2 },
    ]);
    await Promise.all(jobs.map(({ id }) => queue.result(id, soon)));
    await queue.add('measured', { type: 'a', data: 3, delay: 60_000 });
    const found = await metrics.getMetrics();
    assert.deepEqual(Object.keys(found), ['jobsProcessed', 'queueLength', 'avgProcessingTime']);
    assert.deepEqual([found.jobsProcessed, found.queueLength], [2, 1]);
    assert.ok(found.avgProcessingTime >= 25, `${found.avgProcessingTime} ms`);
    const heard = new Promise((resolve) => metrics.on('metrics', resolve));
    metrics.start();
    assert.equal(((await heard) as typeof found).jobsProcessed, 2);
    assert.throws(() => new WorkerMetrics({ metrics: ['jobs.lost' as never] }), {
      code: 'CONFIG_INVALID',
    });
  });

  it('knows from the store how long jobs took before it looked, and who is busy', async (t) => {
    const queue = openQueue(t);
    const { open, opened } = gate();
    await queue.process('busy', ({ data }) => (data === 1 ? sleep(40) : opened));
    const first = await queue.add('busy', { type: 'a', data: 1 });
    await queue.result(first.id, soon);
    const metrics = new WorkerMetrics({ ...connection(), queues: ['busy'] });
    t.after(() => metrics.close());
    const { avgProcessingTime } = await metrics.getMetrics();
    assert.ok(avgProcessingTime >= 30 && avgProcessingTime < 10_000, `${avgProcessingTime} ms`);
    const second = await queue.add('busy', { type: 'a', data: 2 });
    await eventually('a heartbeat says that a job runs', async () => {
      return (await metrics.getMetrics()).workerUtilization > 0;
    });
    open();
    await queue.result(second.id, soon);
  });

  it('takes a check that hangs, throws or says nothing as unhealthy', async (t) => {
    const checker = openChecker(t, [
      { name: 'hangs', check: () => new Promise(() => {}), timeout: 30 },
      { name: 'throws', check: () => Promise.reject(new Error('no')) },
      { name: 'says nothing', check: () => undefined as never },
      { name: 'is slow', check: () => ({ status: 'degraded', error: 'slow' }) },
      { name: 'is well', check: async () => ({ status: 'healthy' }) },
    ]);
    const { status, checks } = await checker.checkHealth();
    assert.equal(status, 'unhealthy');
    assert.deepEqual(
      Object.entries(checks).map(([name, check]) => [name, check.status, check.error]),
      [
        ['store', 'healthy', undefined],
        ['worker', 'healthy', undefined],
        ['hangs', 'unhealthy', 'No answer within 30 ms.'],
        ['throws', 'unhealthy', 'no'],
        ['says nothing', 'unhealthy', "The check 'says nothing' gave no status."],
        ['is slow', 'degraded', 'slow'],
        ['is well', 'healthy', undefined],
      ],
    );
  });

  it('checks again and again, and tells', async (t) => {
    let turns = 0;
    const checker = openChecker(t, [
      { name: 'a', check: () => ({ status: turns++ < 1 ? 'healthy' : 'degraded' }) },
    ]);
    const seen: string[] = [];
    const second = new Promise<void>((resolve) => {
      checker.on('health', ({ status }) => {
        if (seen.push(status) === 2) resolve();
      });
    });
    checker.start();
    await second;
    assert.deepEqual(seen, ['healthy', 'degraded']);
    const twice = { name: 'a', check: () => ({ status: 'healthy' }) as const };
    assert.throws(() => openChecker(t, [twice, twice]), { code: 'CONFIG_INVALID' });
  });
});

it('a store that is not there is a finding, not an error', async () => {
  await using checker = new WorkerHealthChecker({
    postgres: { url: 'postgres://nobody@127.0.0.1:1/none' },
  });
  const { status, checks } = await checker.checkHealth();
  assert.equal(status, 'unhealthy');
  assert.match(checks.store?.error ?? '', /./);
});

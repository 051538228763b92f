/**
 * Every block of the requirement document, run: on the embedded Postgres always, on Redis when
 * REDIS_URL is set. aibos-worker.test.ts proves that the blocks are the document's own.
 */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { describe, it, type TestContext } from 'node:test';
import {
  type Job,
  JobProcessor,
  JobQueue,
  QueueError,
  StepProcessor,
  WorkerError,
  WorkerManager,
  WorkerMetrics,
  type WorkflowStep,
} from 'millrace';
import { eventually } from '../support/eventually.ts';
import { suite } from '../support/job-stores.ts';
import { cronScheduling } from './aibos-worker/cron-scheduling.ts';
import { errorHandling } from './aibos-worker/error-handling.ts';
import { recoverFromErrors } from './aibos-worker/error-recovery.ts';
import { healthChecks } from './aibos-worker/health-checks.ts';
import { jobQueueManagement } from './aibos-worker/job-queue-management.ts';
import { loadBalancing } from './aibos-worker/load-balancing.ts';
import { oneTimeScheduling } from './aibos-worker/one-time-scheduling.ts';
import { quickStart } from './aibos-worker/quick-start.ts';
import { retryLogic } from './aibos-worker/retry-logic.ts';
import { workerConfiguration } from './aibos-worker/worker-configuration.ts';
import { workerMetricsOf } from './aibos-worker/worker-metrics.ts';
import { workflowDefinition } from './aibos-worker/workflow-definition.ts';
import { workflowSteps } from './aibos-worker/workflow-steps.ts';

const timeoutMs = 20_000;

/** What was printed, a line for each call. */
function listen(t: TestContext, method: 'log' | 'error'): string[] {
  const lines: string[] = [];
  t.mock.method(console, method, (...parts: unknown[]) => {
    lines.push(
      parts.map((part) => (part instanceof Error ? part.message : String(part))).join(' '),
    );
  });
  return lines;
}

/** Closed at the end of the test, the last one first. */
function closing(t: TestContext, ...faces: { close(): Promise<void> }[]): void {
  for (const face of faces) t.after(() => face.close());
}

suite.onEachStore('the document', ({ connection }) => {
  const setting = () => ({ connection: connection() });

  it('Quick Start: a worker that works on what the queue is given', async (t) => {
    const { workerManager, jobQueue } = await quickStart(setting());
    closing(t, jobQueue, workerManager);
    let running = 0;
    let most = 0;
    const tries: number[] = [];
    workerManager.register('payment.capture', async (job) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, 5));
      running -= 1;
      const { flaky } = job.data as { flaky: boolean };
      if (!flaky) return 'captured';
      tries.push(performance.now());
      if (tries.length < 3) throw new Error('the bank is busy');
      return `captured in try ${job.attempt}`;
    });
    const jobs = await Promise.all([
      jobQueue.add('payments', { type: 'payment.capture', data: { flaky: true } }),
      ...Array.from({ length: 20 }, (_, i) =>
        jobQueue.add(i % 2 ? 'invoices' : 'bills', {
          type: 'payment.capture',
          data: { flaky: false },
        }),
      ),
    ]);
    const results = await Promise.all(jobs.map(({ id }) => jobQueue.result(id, { timeoutMs })));
    assert.deepEqual(results, ['captured in try 3', ...new Array(20).fill('captured')]);
    assert.ok(most <= 5, `${most} ran at a time, concurrency is 5`);
    assert.ok(most > 1, 'they ran one after the other');
    const [first = 0, second = 0, third = 0] = tries;
    assert.ok(second - first >= 990 && third - second >= 990, 'retryDelay is 1000');
    await assert.rejects(
      jobQueue.add('refunds', { type: 'refund', data: {} }),
      (error) => error instanceof QueueError && error.code === 'NOT_FOUND',
    );
  });

  it('Job Processing: the invoice is processed, and its status noted', async (t) => {
    const lines = listen(t, 'log');
    const { jobQueue } = await jobQueueManagement(setting());
    closing(t, jobQueue);
    const [job] = await eventually('the job is completed', async () => {
      const jobs = await jobQueue.getJobs('invoices', { status: 'completed' });
      const mine = jobs.filter(({ type }) => type === 'invoice.processing');
      return mine.length > 0 && mine;
    });
    assert.deepEqual(lines, ['Processing invoice inv_001 for tenant tenant_123']);
    assert.ok(job);
    assert.deepEqual(
      [job.data, job.priority, job.attempts, job.tenantId, job.failures],
      [
        { invoiceId: 'inv_001', tenantId: 'tenant_123', companyId: 'company_123' },
        ...[1, 3, 'tenant_123', 0],
      ],
    );
    await eventually('the note is shown', async () => {
      return (await jobQueue.getJob(job.id))?.note?.status === 'completed';
    });
  });

  it('Workflows: each step gets what the one before returned', async (t) => {
    const lines = listen(t, 'log');
    const { workflowEngine } = await workflowDefinition(setting());
    closing(t, workflowEngine);
    const ended = new Promise<{ result: unknown }>((resolve) => {
      workflowEngine.on('completed', resolve);
    });
    const seen: string[] = [];
    class Adder extends StepProcessor {
      async process(step: WorkflowStep, data: unknown): Promise<unknown> {
        seen.push(step.name);
        return { ...(data as object), [step.name]: seen.length };
      }
    }
    workflowSteps(workflowEngine);
    for (const name of ['InvoiceCalculator', 'LedgerPoster', 'NotificationSender']) {
      workflowEngine.registerStepProcessor(name, new Adder());
    }
    const { result } = await ended;
    assert.deepEqual(seen, ['calculate-totals', 'post-to-ledger', 'send-notifications']);
    assert.deepEqual(result, {
      invoiceId: 'inv_001',
      tenantId: 'tenant_123',
      companyId: 'company_123',
      validation: { isValid: true, errors: [] },
      'calculate-totals': 1,
      'post-to-ledger': 2,
      'send-notifications': 3,
    });
    await eventually('onSuccess was called', () => lines.length > 0);
    assert.match(lines.join(), /^Invoice workflow completed:/);
  });

  it('Workflows: a step is tried as often as it says, then onError is called', async (t) => {
    const lines = listen(t, 'error');
    const { workflowEngine } = await workflowDefinition(setting());
    closing(t, workflowEngine);
    const tries: number[] = [];
    workflowSteps(workflowEngine);
    workflowEngine.registerStepProcessor('InvoiceCalculator', (step) => {
      tries.push(performance.now());
      throw new Error(`${step.name}: no totals`);
    });
    await eventually('onError was called', () => lines.length > 0, timeoutMs);
    const [first = 0, second = 0] = tries;
    assert.equal(tries.length, 2, 'retryAttempts of the step is 2');
    assert.ok(second - first >= 490, 'retryDelay of the step is 500');
    assert.match(
      lines.join(),
      /^Invoice workflow failed: .*at step 'calculate-totals': calculate-totals: no totals$/,
    );
  });

  it('Cron Scheduling: both schedules are stored with their next time', async (t) => {
    const { cronScheduler } = await cronScheduling(setting());
    closing(t, cronScheduler);
    const schedules = await cronScheduler.list();
    const byName = new Map(schedules.map((schedule) => [schedule.name, schedule]));
    const now = new Date();
    const daily = new Date(now);
    daily.setUTCHours(2, 0, 0, 0);
    if (daily <= now) daily.setUTCDate(daily.getUTCDate() + 1);
    const monthly = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1));
    assert.deepEqual(byName.get('daily-reports')?.nextAt, daily);
    assert.deepEqual(byName.get('monthly-cleanup')?.nextAt, monthly);
    const { type, data, queue } = byName.get('daily-reports') ?? {};
    const expected = ['report.generation', { reportType: 'daily', tenantId: 'all' }, 'default'];
    assert.deepEqual([type, data, queue], expected);
    assert.equal(byName.get('monthly-cleanup')?.type, 'data.cleanup');
    assert.equal(byName.size, 2);
  });

  it('One-time Scheduling: the reminder is stored for tomorrow', async (t) => {
    const before = Date.now();
    const { oneTimeScheduler } = await oneTimeScheduling(setting());
    closing(t, oneTimeScheduler);
    const [reminder, ...others] = await oneTimeScheduler.list();
    assert.ok(reminder);
    assert.deepEqual(others, []);
    const { name, type, data, nextAt } = reminder;
    assert.deepEqual([name, type], ['invoice-reminder', 'invoice.reminder']);
    assert.deepEqual(data, { invoiceId: 'inv_001', customerId: 'cust_123' });
    const inMs = Number(nextAt?.getTime()) - before;
    const dayMs = 24 * 60 * 60 * 1000;
    assert.ok(inMs >= dayMs && inMs < dayMs + 10_000, `it fires in ${inMs} ms`);
    assert.equal(await oneTimeScheduler.cancel('invoice-reminder'), true);
  });

  it('Worker Metrics: what was processed, what failed and what waits', async (t) => {
    const lines = listen(t, 'log');
    const jobQueue = new JobQueue(connection());
    closing(t, jobQueue);
    const first = await workerMetricsOf(setting());
    closing(t, first.workerMetrics);
    await jobQueue.process('metrics', async ({ type }) => {
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (type === 'bad') throw new Error('bad');
    });
    const jobs = await jobQueue.addBulk('metrics', [
      { type: 'good', data: 1 },
      { type: 'good', data: 2 },
      { type: 'bad', data: 3, attempts: 2, backoff: 1 },
    ]);
    await Promise.allSettled(jobs.map(({ id }) => jobQueue.result(id, { timeoutMs })));
    await jobQueue.add('metrics', { type: 'good', data: 4, delay: 60_000 });
    const { workerMetrics, metrics } = await workerMetricsOf(setting());
    closing(t, workerMetrics);
    const more = (name: 'jobsProcessed' | 'jobsFailed' | 'jobsRetried' | 'queueLength') =>
      metrics[name] - first.metrics[name];
    assert.equal(more('jobsProcessed'), 2);
    assert.equal(more('jobsFailed'), 1);
    assert.equal(more('jobsRetried'), 1);
    assert.equal(more('queueLength'), 1);
    assert.ok(metrics.avgProcessingTime >= 15, `${metrics.avgProcessingTime} ms on average`);
    assert.ok(metrics.workerUtilization >= 0 && metrics.workerUtilization <= 1);
    assert.ok(lines.includes(`Jobs processed: ${metrics.jobsProcessed}`));
    assert.ok(lines.includes(`Queue length: ${metrics.queueLength}`));
  });

  it('Health Checks: a long queue and a lost connection are seen', async (t) => {
    const jobQueue = new JobQueue(connection());
    closing(t, jobQueue);
    await jobQueue.pause('invoices');
    const redis = { ping: async () => 'PONG' };
    const well = await healthChecks({ ...setting(), redis, jobQueue });
    closing(t, well.workerHealthChecker);
    assert.equal(well.health.status, 'healthy');
    assert.deepEqual(Object.keys(well.health.checks), [
      'store',
      'worker',
      'redis-connection',
      'queue-health',
    ]);
    const waiting = Array.from({ length: 1001 }, (_, i) => ({ type: 'invoice.late', data: i }));
    await jobQueue.addBulk('invoices', waiting);
    const lost = { ping: () => Promise.reject(new Error('the line is dead')) };
    const ill = await healthChecks({ ...setting(), redis: lost, jobQueue });
    closing(t, ill.workerHealthChecker);
    const { status, checks } = ill.health;
    assert.equal(status, 'unhealthy');
    assert.equal(checks['queue-health']?.error, 'Queue too long');
    assert.equal(checks['redis-connection']?.error, 'the line is dead');
    assert.equal(checks.store?.status, 'healthy');
  });

  it('Horizontal Scaling: five processes work', { timeout: 60_000 }, async (t) => {
    const workerMetrics = new WorkerMetrics(connection());
    const jobQueue = new JobQueue(connection());
    closing(t, workerMetrics, jobQueue);
    const program = fork(new URL('aibos-worker/scaled-program.ts', import.meta.url), {
      env: { ...process.env, CONNECTION: JSON.stringify(connection()) },
      execArgv: ['--conditions=millrace-source'],
    });
    const ended = once(program, 'exit');
    t.after(() => program.kill('SIGKILL'));
    const pids = new Set<unknown>();
    await eventually(
      'five processes work',
      async () => {
        const inputs = Array.from({ length: 10 }, (_, i) => ({ type: 'pid.tell', data: i }));
        const jobs = await jobQueue.addBulk('scaled', inputs);
        const told = jobs.map(({ id }) => jobQueue.result(id, { timeoutMs: 40_000 }));
        for (const pid of await Promise.all(told)) pids.add(pid);
        return pids.size >= 5;
      },
      40_000,
    );
    assert.equal(pids.size, 5);
    assert.ok(!pids.has(program.pid), 'the program that scales does no job itself');
    program.kill('SIGTERM');
    assert.deepEqual(await ended, [0, null]);
  });

  it('Worker Configuration: a worker is made of it', async (t) => {
    const given = connection();
    const before = { ...process.env };
    t.after(() => {
      process.env = before;
    });
    for (const name of Object.keys(process.env)) {
      if (/^(WORKER|REDIS|QUEUE|MONITORING|METRICS|HEALTH)_/.test(name)) delete process.env[name];
    }
    assert.deepEqual(workerConfiguration(), {
      concurrency: 5,
      retryAttempts: 3,
      retryDelay: 1000,
      timeout: 300_000,
      redis: { url: 'redis://localhost:6379', db: 2, maxConnections: 10 },
      queue: { prefix: 'aibos:worker', defaultTtl: 3_600_000, maxLength: 10_000 },
      monitoring: { enabled: false, metricsInterval: 60_000, healthCheckInterval: 30_000 },
    });
    process.env.MONITORING_ENABLED = 'true';
    process.env.METRICS_INTERVAL = process.env.HEALTH_CHECK_INTERVAL = '100';
    process.env.QUEUE_PREFIX = before.QUEUE_PREFIX;
    process.env.REDIS_DB = '0';
    const { redis, ...config } = workerConfiguration();
    const place = 'redis' in given ? { redis: { ...redis, ...given.redis } } : given;
    const workerManager = new WorkerManager({ ...config, ...place });
    closing(t, workerManager);
    const [metrics, health] = [Promise.withResolvers(), Promise.withResolvers()];
    workerManager.on('metrics', metrics.resolve);
    workerManager.on('health', health.resolve);
    await workerManager.start();
    assert.equal(workerManager.status.concurrency, 5);
    assert.equal(
      (await (metrics.promise as Promise<{ jobsFailed: number }>)).jobsFailed >= 0,
      true,
    );
    assert.equal((await (health.promise as Promise<{ status: string }>)).status, 'healthy');
  });

  it('Error Handling: each kind of failure has its class', async (t) => {
    const lines = listen(t, 'error');
    const workerManager = new WorkerManager({ ...connection(), retryAttempts: 2, retryDelay: 0 });
    const full = new JobQueue({ ...connection(), queue: { maxLength: 1 } });
    closing(t, workerManager, full);
    let tries = 0;
    class Failing extends JobProcessor {
      async process(): Promise<void> {
        tries += 1;
        throw new Error('the ledger is closed');
      }
    }
    workerManager.register('ledger.post', new Failing());
    const job: Job = { id: 'job_001', type: 'ledger.post', data: {} };
    await errorHandling(workerManager, job);
    assert.equal(tries, 2);
    await errorHandling(workerManager, { ...job, type: 'ledger.close' });
    await full.pause('small');
    await full.add('small', { type: 'a', data: 1 });
    await errorHandling({ processJob: () => full.add('small', { type: 'a', data: 2 }) }, job);
    assert.match(lines[0] ?? '', /^Job processing failed: Job job_001 .* the ledger is closed$/);
    assert.match(lines[1] ?? '', /^Worker error: No processor is registered for 'ledger.close'/);
    assert.match(lines[2] ?? '', /^Queue operation failed: /);
  });
});

describe('the document without a store', () => {
  it('Retry Logic: three tries, with growing pauses', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const turns = async () => {
      for (let i = 0; i < 20; i += 1) await Promise.resolve();
    };
    const seen: unknown[] = [];
    let ended = false;
    const retried = retryLogic(async (data) => {
      seen.push(data);
      if (seen.length < 3) throw new Error('not yet');
    }, 'invoice').then(() => {
      ended = true;
    });
    await turns();
    assert.equal(seen.length, 1);
    t.mock.timers.tick(499); // a second, shortened by up to half
    await turns();
    assert.equal(seen.length, 1);
    t.mock.timers.tick(501);
    await turns();
    assert.equal(seen.length, 2);
    t.mock.timers.tick(999);
    await turns();
    assert.equal(seen.length, 2);
    t.mock.timers.tick(1001);
    await retried;
    assert.deepEqual([ended, seen], [true, ['invoice', 'invoice', 'invoice']]);
  });

  it('Error Recovery: each error by its strategy', async (t) => {
    const warnings = t.mock.method(process, 'emitWarning', () => {});
    const job = { id: 'job_001', type: 'invoice.processing', data: {} };
    const of = (name: string) => Object.assign(new Error(name), { name });
    const { errorRecovery } = await recoverFromErrors([
      [job, of('ValidationError')],
      [job, of('ValidationError')],
      [{ ...job, id: 'job_002' }, of('BusinessLogicError')],
    ]);
    const told = warnings.mock.calls.map(({ arguments: [message] }) => String(message));
    assert.equal(told.length, 1);
    assert.match(told[0] ?? '', /^Job job_002 .* failed for good/);
    const third = await errorRecovery.handleError(job, of('ValidationError'));
    assert.deepEqual([third.action, third.attempt, third.exhausted], ['fail', 3, true]);
    const network = await errorRecovery.handleError(job, of('NetworkError'));
    assert.deepEqual([network.action, network.delay], ['retry', 5000]);
  });

  it('Load Balancing: of workers that are not there none is given', async () => {
    await assert.rejects(loadBalancing(), (error) => {
      assert.ok(error instanceof WorkerError);
      return error.code === 'WORKER_UNAVAILABLE';
    });
  });
});

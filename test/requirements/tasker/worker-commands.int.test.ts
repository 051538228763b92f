/** Commands, limits and the end of a worker event system, on the embedded Postgres. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type StepMessage, type WorkerNotification, workerCommandTypes } from 'millrace';
import { eventually, gate } from '../../support/eventually.ts';
import { ask } from '../../support/mill.ts';
import { counts, numberOf, setUp } from './worker-setting.ts';

const { open, make, place, url } = setUp();

/** Found by nobody but a command: the poller has ten minutes. */
const quiet = {
  deploymentMode: 'PollingOnly',
  fallbackPoller: { pollingIntervalMs: 600_000 },
} as const;

describe('the twelve commands', () => {
  it('are all there', () => assert.equal(workerCommandTypes.length, 12));

  it('ExecuteStep and its kin run the message that they name, once', async (t) => {
    const { namespace, queue, Step } = place();
    const mill = await open(t);
    const seen: StepMessage[] = [];
    const executor = (message: StepMessage) => void seen.push(message);
    const system = make(t, namespace, { mill, executor, config: quiet });
    await system.start();
    await eventually('the first look', () => system.statistics().polls === 1);
    const enqueue = (n: number) => mill.jobs.enqueue(Step, { n }, { tenantId: `t${n}` });
    const [a, b, c] = [await enqueue(1), await enqueue(2), await enqueue(3)];
    const { processor } = system;
    const message = (id: string) => ({ message: { messageId: id }, queueName: queue });

    const first = await processor.send({ type: 'ExecuteStep', ...message(a.id) });
    assert.equal(first.status, 'accepted');
    const again = await processor.send({ type: 'ExecuteStep', ...message(a.id) });
    assert.equal(again.status, 'duplicate');
    const correlated = await processor.send({
      type: 'ExecuteStepWithCorrelation',
      ...message(b.id),
      correlationId: 'corr-7',
    });
    assert.equal(correlated.correlationId, 'corr-7');
    await processor.send({ type: 'ExecuteStepFromMessage', ...message(c.id) });
    await eventually('three ran', () => seen.length === 3);
    assert.deepEqual(counts(seen.map(numberOf)), { all: 3, different: 3 });
    const second = seen.find((one) => one.messageId === b.id);
    assert.equal(second?.correlationId, 'corr-7');
    assert.equal(second?.namespace, namespace);
    assert.equal(system.statistics().deduplicated, 1);

    await assert.rejects(processor.send({ type: 'ExecuteStep', ...message('999999-1') }), {
      code: 'NOT_FOUND',
    });
    const later = await mill.jobs.enqueue(Step, { n: 4 }, { delayMs: 60_000 });
    await assert.rejects(processor.send({ type: 'ExecuteStep', ...message(later.id) }), {
      code: 'JOB_STATE',
    });
    await assert.rejects(processor.send({ type: 'Dance' } as never), { code: 'REQUEST_INVALID' });
  });

  it('ExecuteStep of a message behind others runs those first, as its lane has them', async (t) => {
    const { namespace, queue, Step } = place();
    const mill = await open(t);
    const seen: number[] = [];
    const executor = (message: StepMessage) => void seen.push(numberOf(message));
    const system = make(t, namespace, { mill, executor, config: quiet });
    await system.start();
    await eventually('the first look', () => system.statistics().polls === 1);
    const ids = await mill.jobs.enqueueMany(
      Step,
      [0, 1, 2, 3].map((n) => ({ n })),
    );
    const receipt = await system.processor.send({
      type: 'ExecuteStep',
      message: { messageId: ids[2]?.id as string },
      queueName: queue,
    });
    assert.equal(receipt.status, 'accepted');
    await eventually('three of four ran', () => seen.length === 3);
    assert.deepEqual(seen, [0, 1, 2]);
  });

  it('ExecuteStepFromEvent claims what waits, GetWorkerStatus shows it', async (t) => {
    const { namespace, queue, Step } = place();
    const mill = await open(t);
    const { open: release, opened } = gate();
    const seen: number[] = [];
    const executor = async (message: StepMessage) => {
      await opened;
      seen.push(numberOf(message));
    };
    const system = make(t, namespace, { mill, executor, config: quiet });
    await system.start();
    await eventually('the first look', () => system.statistics().polls === 1);
    const { id } = await mill.jobs.enqueue(Step, { n: 1 });
    const lanes = [Number(id.split('-')[0])];
    const message = { queueName: queue, namespace, path: 'notice', lanes, receivedAt: 0 } as const;
    await system.processEvent({ type: 'StepMessage', message });
    const running = async () => {
      const status = await system.processor.send({ type: 'GetWorkerStatus' });
      return status.namespaces[0]?.running === 1 && status;
    };
    const status = await eventually('it runs', running);
    assert.equal(status.deploymentMode, 'PollingOnly');
    assert.equal(status.namespaces[0]?.queueName, queue);
    assert.equal(status.statistics.commands.ExecuteStepFromEvent, 1);
    release();
    await eventually('it ran', () => seen.length === 1);
    await system.processEvent({ type: 'StepMessage', message });
    await eventually('nothing was left', () => system.statistics().deduplicated === 1);
  });

  it('with event integration, steps are handed out and end by their result', async (t) => {
    const { namespace, Step } = place();
    const mill = await open(t);
    const executor = () => assert.fail('it is left to something outside');
    const system = make(t, namespace, { mill, executor, config: { maxRetries: 0 } });
    const out: StepMessage[] = [];
    system.on('stepExecution', (message) => void out.push(message));
    await system.start();
    const { processor } = system;
    assert.equal((await processor.send({ type: 'GetEventStatus' })).enabled, false);
    await processor.send({ type: 'SetEventIntegration', enabled: true });
    const [good, bad] = [
      await mill.jobs.enqueue(Step, { n: 1 }),
      await mill.jobs.enqueue(Step, { n: 2 }),
    ];
    await eventually('both are out', () => out.length === 2);
    assert.equal((await processor.send({ type: 'GetEventStatus' })).pending, 2);
    const done = await processor.send({
      type: 'ProcessStepCompletion',
      step: { messageId: good.id },
      result: { success: true, result: { charged: 5 } },
    });
    assert.equal(done.delivered, 'held');
    assert.deepEqual(await mill.jobs.result(good.id, { timeoutMs: 10_000 }), { charged: 5 });
    await processor.send({
      type: 'SendStepResult',
      step: { messageId: bad.id },
      result: { success: false, error: { message: 'No such card.', retryable: false } },
    });
    await assert.rejects(mill.jobs.result(bad.id, { timeoutMs: 10_000 }), { code: 'JOB_FAILED' });
    assert.match((await mill.jobs.get(bad.id))?.error?.message ?? '', /No such card/);
    const late = await processor.send({
      type: 'SendStepResult',
      step: { messageId: good.id },
      result: { success: true },
    });
    assert.equal(late.delivered, 'unknown', 'late and doubled results are harmless');
    const status = await processor.send({ type: 'SetEventIntegration', enabled: false });
    assert.deepEqual(status, { enabled: false, pending: 0, published: 2, completed: 2 });
  });

  it('RefreshTemplateCache, HealthCheck and Shutdown', async (t) => {
    const { namespace } = place();
    const mill = await open(t);
    const asked: (string | null)[] = [];
    const refreshTemplates = async (one: string | null) => asked.push(one);
    const system = make(t, namespace, { mill, refreshTemplates, executor: () => {} });
    await system.start();
    const { processor } = system;
    const refreshed = await processor.send({ type: 'RefreshTemplateCache', namespace });
    assert.deepEqual(refreshed, { refreshed: 1, namespaces: [namespace] });
    assert.deepEqual(asked, [namespace]);
    await eventually('healthy', async () => {
      return (await processor.send({ type: 'HealthCheck' })).status === 'healthy';
    });
    assert.deepEqual(await processor.send({ type: 'Shutdown', graceMs: 100 }), { stopped: true });
    assert.equal(system.isRunning, false);
    assert.equal((await processor.send({ type: 'HealthCheck' })).status, 'stopped');
    const { commands } = system.statistics();
    assert.equal(commands.HealthCheck >= 2 && commands.Shutdown === 1, true);
  });
});

describe('stop', () => {
  it('ends every look, hands back what waits, and a start goes on', async (t) => {
    const { namespace, queue, Step } = place();
    const mill = await open(t);
    const seen: number[] = [];
    const { open: release, opened } = gate();
    const executor = async (message: StepMessage) => {
      if (numberOf(message) === 0) await opened;
      seen.push(numberOf(message));
    };
    const config = { maxConcurrentProcessors: 1, fallbackPoller: { pollingIntervalMs: 1 } };
    const system = make(t, namespace, { mill, executor, config });
    await system.start();
    const payloads = Array.from({ length: 30 }, (_, n) => ({ n }));
    await mill.jobs.enqueueMany(Step, payloads);
    await eventually('one runs', () => system.statistics().messagesStarted === 1);
    const stopped = system.stop();
    const held = async () => (await mill.jobs.counts([queue])).get(queue)?.waiting === 29;
    await eventually('what was not started is handed back', held);
    release();
    await stopped;
    assert.deepEqual(seen, [0], 'what ran came to its end');
    assert.equal(system.isPolling, false);
    const looked = t.mock.method(mill.jobs, 'list');
    const { polls } = system.statistics();
    await mill.jobs.enqueue(Step, { n: 30 });
    await sleep(150); // 150 looks, if there were any
    assert.equal(looked.mock.callCount(), 0);
    assert.equal(system.statistics().polls, polls);
    assert.equal(seen.length, 1);
    const waiting = (await mill.jobs.counts([queue])).get(queue)?.waiting;
    assert.equal(waiting, 30, 'nothing is held');
    await assert.rejects(
      system.processEvent({
        type: 'StepMessage',
        message: { queueName: queue, namespace, path: 'local', lanes: [], receivedAt: 0 },
      }),
      { code: 'SHUTTING_DOWN' },
    );
    await system.start();
    await eventually('the rest', () => seen.length === 31);
    assert.deepEqual(counts(seen), { all: 31, different: 31 });
  });

  it('tells handlers that do not end, and their messages run again elsewhere', async (t) => {
    const { namespace, Step } = place();
    const [mill, other] = [await open(t), await open(t)];
    const executor = (_: StepMessage, { signal }: { signal: AbortSignal }) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason));
      });
    const system = make(t, namespace, { mill, executor });
    await system.start();
    const { id } = await mill.jobs.enqueue(Step, { n: 1 });
    await eventually('it runs', () => system.statistics().running === 1);
    await system.stop({ graceMs: 20 });
    const second = make(t, namespace, { mill: other, executor: ({ attempt }) => attempt });
    await second.start();
    const attempt = await mill.jobs.result(id, { timeoutMs: 10_000 });
    assert.equal(attempt, 1, 'no try was counted');
  });
});

describe('the age limits of the poller', () => {
  const enqueuedAgo = (queue: string, seconds: number) =>
    ask(
      url(),
      `update millrace.job j set enqueued_at = enqueued_at - make_interval(secs => $2)
       from millrace.job_lane l join millrace.job_queue q using (queue_id)
       where l.lane_id = j.lane_id and q.queue_name = $1`,
      [queue, seconds],
    );

  it('age_threshold: only what is older is polled, not the younger ones behind it', async (t) => {
    const { namespace, queue, Step } = place();
    const mill = await open(t);
    const seen: number[] = [];
    const executor = (message: StepMessage) => void seen.push(numberOf(message));
    const system = make(t, namespace, {
      mill,
      executor,
      config: { deploymentMode: 'PollingOnly', fallbackPoller: { ageThresholdMs: 60_000 } },
    });
    await mill.jobs.enqueueMany(
      Step,
      [0, 1, 2].map((n) => ({ n })),
    );
    await enqueuedAgo(queue, 90);
    await mill.jobs.enqueueMany(
      Step,
      [3, 4].map((n) => ({ n })),
    );
    await system.start();
    await eventually('the old ones', () => seen.length >= 3);
    const { polls } = system.statistics();
    await eventually('more looks', () => system.statistics().polls > polls + 3);
    assert.deepEqual(seen, [0, 1, 2]);
    await enqueuedAgo(queue, 90);
    await eventually('they have come of age', () => seen.length === 5);
  });

  it('max_age: what is older is put aside, to be seen and retried', async (t) => {
    const { namespace, queue, Step } = place();
    const mill = await open(t);
    const seen: number[] = [];
    const executor = (message: StepMessage) => void seen.push(numberOf(message));
    for (const deploymentMode of ['PollingOnly', 'EventDrivenOnly'] as const) {
      const { id } = await mill.jobs.enqueue(Step, { n: 1 });
      await enqueuedAgo(queue, 7_200);
      const fallbackPoller = { maxAgeMs: 3_600_000 };
      const config = { deploymentMode, fallbackPoller };
      const system = make(t, namespace, { mill, executor, config });
      await system.start();
      const dead = await eventually('it is put aside', async () => {
        const job = await mill.jobs.get(id);
        return job?.status === 'dead' && job;
      });
      assert.match(dead.error?.message ?? '', /longer than max_age allows/);
      assert.equal(system.statistics().messagesTooOld, 1);
      assert.deepEqual(seen, []);
      await mill.jobs.retry(id);
      await eventually('retried by hand it runs', () => seen.length === 1);
      seen.length = 0;
      await system.stop();
    }
  });
});

describe('backpressure', () => {
  it('sheds events beyond the threshold, and loses no message', async (t) => {
    const { namespace, Step } = place();
    const mill = await open(t);
    const { open: release, opened } = gate();
    const seen: number[] = [];
    let most = 0;
    let now = 0;
    const executor = async (message: StepMessage) => {
      now += 1;
      most = Math.max(most, now);
      await opened;
      seen.push(numberOf(message));
      now -= 1;
    };
    const system = make(t, namespace, {
      mill,
      executor,
      config: {
        deploymentMode: 'EventDrivenOnly',
        maxConcurrentProcessors: 3,
        bufferSize: 10,
        processingTimeoutMs: 50,
        listener: { batchProcessing: false },
      },
    });
    await system.start();
    // A lane for each, so that none comes along with another.
    const total = 60;
    const enqueue = (n: number) => mill.jobs.enqueue(Step, { n }, { tenantId: `t${n}` });
    await Promise.all(Array.from({ length: total }, (_, n) => enqueue(n)));
    for (let n = total; n < total * 2; n += 1) await enqueue(n);
    await eventually('events are shed', () => system.statistics().eventsShed > 0);
    assert.equal((await system.health()).status, 'degraded');
    assert.equal(system.statistics().running, 3);
    release();
    await eventually('all were delivered', () => seen.length >= total * 2, 30_000);
    assert.deepEqual(counts(seen), { all: total * 2, different: total * 2 });
    assert.equal(most, 3);
    assert.ok(system.statistics().catchUps > 1);
  });

  it('notices that gather become one event', async (t) => {
    const { namespace, Step } = place();
    const mill = await open(t);
    const { open: release, opened } = gate();
    const seen: number[] = [];
    const executor = async (message: StepMessage) => {
      await opened;
      seen.push(numberOf(message));
    };
    const config = { maxConcurrentProcessors: 1, processingTimeoutMs: 400 };
    const system = make(t, namespace, {
      mill,
      executor,
      config: { ...config, deploymentMode: 'EventDrivenOnly' },
    });
    await system.start();
    for (let n = 0; n < 20; n += 1) {
      await mill.jobs.enqueue(Step, { n }, { tenantId: `t${n}` });
    }
    assert.ok(system.statistics().eventsMerged > 5, 'while one waits for room');
    release();
    await eventually('all were delivered', () => seen.length === 20);
    assert.equal(system.statistics().eventsShed <= 1, true);
  });
});

describe('health and statistics', () => {
  it('failures make it degraded, then unhealthy, and a success heals', async (t) => {
    const { namespace, Step } = place();
    const mill = await open(t);
    const news: WorkerNotification[] = [];
    const executor = (message: StepMessage) => {
      if (numberOf(message) < 10) throw new Error('not today');
    };
    const system = make(t, namespace, {
      mill,
      executor,
      config: {
        maxRetries: 0,
        maxConsecutiveErrors: 5,
        errorRateThresholdPerMinute: 2,
        healthCheckIntervalMs: 10,
      },
    });
    system.on('notification', (one) => void news.push(one));
    const statuses = () =>
      news.flatMap((one) => (one.type === 'Health' ? [one.health.status] : []));
    await system.start();
    await eventually('healthy', () => statuses().includes('healthy'));
    for (let n = 0; n < 3; n += 1) await mill.jobs.enqueue(Step, { n });
    await eventually('degraded', () => statuses().at(-1) === 'degraded');
    for (let n = 3; n < 6; n += 1) await mill.jobs.enqueue(Step, { n });
    await eventually('unhealthy', () => statuses().at(-1) === 'unhealthy');
    await eventually('all six are counted', async () =>
      /6 messages failed in a row/.test((await system.health()).problems.join()),
    );
    await mill.jobs.enqueue(Step, { n: 10 });
    await eventually('no longer unhealthy', () => statuses().at(-1) === 'degraded');
    const { messagesFailed, messagesCompleted, startLatency, duration, eventsProcessed } =
      system.statistics();
    assert.deepEqual([messagesFailed, messagesCompleted], [6, 1]);
    assert.equal(startLatency.count, 7);
    assert.ok(startLatency.p50Ms <= startLatency.p95Ms && startLatency.p95Ms <= startLatency.maxMs);
    assert.equal(duration.count, 7);
    assert.ok(eventsProcessed > 0 && system.statistics().processingRate > 0);
    assert.ok(
      news.some((one) => one.type === 'Event' && one.event.message.namespace === namespace),
    );
  });

  it('retries with the backoff, and a try beyond the visibility timeout has failed', async (t) => {
    const { namespace, Step } = place();
    const mill = await open(t);
    const attempts: number[] = [];
    const executor = async ({ attempt }: StepMessage) => {
      attempts.push(attempt);
      if (attempt === 1) throw new Error('once');
      if (attempt === 2) await sleep(5_000, undefined, { ref: false });
      return attempt;
    };
    const fallbackPoller = { visibilityTimeoutMs: 100 };
    const system = make(t, namespace, { mill, executor, config: { fallbackPoller } });
    await system.start();
    const { id } = await mill.jobs.enqueue(Step, { n: 1 });
    assert.equal(await mill.jobs.result(id, { timeoutMs: 10_000 }), 3);
    assert.deepEqual(attempts, [1, 2, 3]);
  });

  it('refuses what cannot work', async (t) => {
    const { namespace } = place();
    const mill = await open(t);
    const config = (more: object) => () => make(t, namespace, { mill, config: more });
    assert.throws(config({ deploymentMode: 'Never' }), { code: 'CONFIG_INVALID' });
    assert.throws(config({ bufferSize: 0 }), { code: 'CONFIG_INVALID' });
    assert.throws(() => make(t, 'no namespace', { mill }), { code: 'CONFIG_INVALID' });
    const [first, second] = [make(t, namespace, { mill }), make(t, namespace, { mill })];
    await first.start();
    await assert.rejects(second.start(), { code: 'CONFIG_INVALID' });
    await first.stop();
    await second.start();
  });
});

/** The Worker Event System of the requirement, on the embedded Postgres: modes and both paths. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Millrace, StepMessage } from 'millrace';
import { eventually } from '../../support/eventually.ts';
import { ask } from '../../support/mill.ts';
import { counts, enqueueSilently, numberOf, setUp } from './worker-setting.ts';

const { open, make, place, url } = setUp();

describe('deployment modes', () => {
  for (const deploymentMode of ['EventDrivenOnly', 'PollingOnly', 'Hybrid'] as const) {
    it(`${deploymentMode} delivers what this process and others enqueue`, async (t) => {
      const { namespace, Step } = place();
      const [mill, other] = [await open(t), await open(t)];
      const seen: number[] = [];
      const handlers = { step: (message: StepMessage) => void seen.push(numberOf(message)) };
      const system = make(t, namespace, { mill, handlers, config: { deploymentMode } });
      await mill.jobs.enqueue(Step, { n: 0 }); // before anybody listens
      await system.start();
      await eventually('what waited', () => seen.length === 1);
      await eventually('it listens', async () => (await mill.jobs.health()).listening);
      for (let n = 1; n < 20; n += 2) {
        await mill.jobs.enqueue(Step, { n });
        await other.jobs.enqueue(Step, { n: n + 1 });
      }
      await eventually('all were delivered', () => seen.length >= 21);
      assert.deepEqual(counts(seen), { all: 21, different: 21 });
      const { received, polls, messagesCompleted, commands } = system.statistics();
      assert.equal(messagesCompleted, 21);
      if (deploymentMode === 'EventDrivenOnly') assert.deepEqual([polls, received.poll], [0, 0]);
      if (deploymentMode === 'PollingOnly') {
        assert.deepEqual([received.local, received.notice], [0, 0]);
        assert.ok(polls > 0 && commands.ExecuteStep === 21, JSON.stringify(commands));
        assert.equal(commands.ExecuteStepFromEvent, 0);
      } else {
        assert.ok(received.local > 0 && received.notice > 0, JSON.stringify(received));
        assert.ok(commands.ExecuteStepFromEvent > 0);
      }
    });
  }

  it('Disabled finds nothing until it is switched', async (t) => {
    const { namespace, Step } = place();
    const mill = await open(t);
    const seen: number[] = [];
    const executor = (message: StepMessage) => void seen.push(numberOf(message));
    const system = make(t, namespace, { mill, executor, config: { deploymentMode: 'Disabled' } });
    await system.start();
    await mill.jobs.enqueue(Step, { n: 1 });
    await mill.jobs.result(await mill.jobs.enqueue(Step, { n: 2 }), { timeoutMs: 200 }).then(
      () => assert.fail('it ran'),
      () => {},
    );
    assert.equal((await system.health()).status, 'degraded');
    await system.switchMode('EventDrivenOnly');
    await eventually('what waited', () => seen.length === 2);
    await assert.rejects(system.switchMode('Never' as never), { code: 'CONFIG_INVALID' });
    assert.equal(system.deploymentMode, 'EventDrivenOnly');
  });

  it('a listener that is off hears nothing, and is not all there is', async (t) => {
    const { namespace, Step } = place();
    const [mill, other] = [await open(t), await open(t)];
    const seen: number[] = [];
    const executor = (message: StepMessage) => void seen.push(numberOf(message));
    const listener = { enabled: false };
    const refused = { code: 'CONFIG_INVALID', message: /needs the listener that is off/ };
    const config = { deploymentMode: 'EventDrivenOnly', listener } as const;
    assert.throws(() => make(t, namespace, { mill, executor, config }), refused);
    const system = make(t, namespace, { mill, executor, config: { listener } });
    assert.equal(system.deploymentMode, 'Hybrid');
    await system.start();
    await eventually('it listens', async () => (await mill.jobs.health()).listening);
    for (let n = 0; n < 10; n += 2) {
      await mill.jobs.enqueue(Step, { n });
      await other.jobs.enqueue(Step, { n: n + 1 });
    }
    await eventually('all were polled', () => seen.length >= 10);
    const { received, commands, catchUps } = system.statistics();
    assert.deepEqual([received.local, received.notice, catchUps], [0, 0, 0]);
    assert.deepEqual([commands.ExecuteStepFromEvent, commands.ExecuteStep], [0, 10]);
    await assert.rejects(system.switchMode('EventDrivenOnly'), refused);
    assert.equal(system.deploymentMode, 'Hybrid');
    await system.stop();
    await system.start();
    await mill.jobs.result(await mill.jobs.enqueue(Step, { n: 10 }), { timeoutMs: 10_000 });
  });

  it('switching while thousands of messages flow loses and doubles none', async (t) => {
    const { namespace, Step } = place();
    const [mill, other] = [await open(t), await open(t)];
    const seen: number[] = [];
    const system = make(t, namespace, {
      mill,
      executor: (message) => void seen.push(numberOf(message)),
      config: { fallbackPoller: { pollingIntervalMs: 5, batchSize: 200 } },
    });
    await system.start();
    const total = 4_000;
    let enqueued = 0;
    const produce = async ({ jobs }: Millrace) => {
      while (enqueued < total) {
        const from = enqueued;
        enqueued += 20;
        const payloads = Array.from({ length: 20 }, (_, i) => ({ n: from + i }));
        await jobs.enqueueMany(Step, payloads);
      }
    };
    const produced = Promise.all([produce(mill), produce(other), produce(other)]);
    const modes = ['PollingOnly', 'EventDrivenOnly', 'Disabled', 'Hybrid'] as const;
    let switches = 0;
    while (enqueued < total || switches < 12) {
      await system.switchMode(modes[switches % modes.length] as 'Hybrid');
      switches += 1;
      await sleep(5);
    }
    await produced;
    await system.switchMode('EventDrivenOnly');
    await eventually('all were delivered', () => seen.length >= total, 60_000);
    await mill.jobs.result(await mill.jobs.enqueue(Step, { n: total }), { timeoutMs: 10_000 });
    assert.deepEqual(counts(seen), { all: total + 1, different: total + 1 });
    assert.equal(system.statistics().messagesFailed, 0);
  });
});

describe('both paths at once', () => {
  it('run each message once, and count what came twice', async (t) => {
    const { namespace, Step } = place();
    const [mill, other] = [await open(t), await open(t)];
    const seen: number[] = [];
    const system = make(t, namespace, {
      mill,
      executor: async (message) => {
        await sleep(1);
        seen.push(numberOf(message));
      },
      config: { fallbackPoller: { pollingIntervalMs: 1, batchSize: 100 } },
    });
    await system.start();
    await eventually('it listens', async () => (await mill.jobs.health()).listening);
    for (let n = 0; n < 1_000; n += 5) {
      const payloads = Array.from({ length: 5 }, (_, i) => ({ n: n + i }));
      await (n % 2 === 0 ? mill : other).jobs.enqueueMany(Step, payloads);
    }
    await eventually('all were delivered', () => seen.length >= 1_000, 30_000);
    assert.deepEqual(counts(seen), { all: 1_000, different: 1_000 });
    const { polledMessages, received, deduplicated, messagesStarted } = system.statistics();
    assert.ok(polledMessages > 0 && received.notice > 0, 'both paths spoke');
    assert.ok(deduplicated > 0, 'something came twice');
    assert.equal(messagesStarted, 1_000);
  });

  it('the poller covers what the event path lost, and EventDrivenOnly does not poll', async (t) => {
    const { namespace, Step } = place();
    const [mill, other] = [await open(t), await open(t)];
    const seen: number[] = [];
    const system = make(t, namespace, {
      mill,
      executor: (message) => void seen.push(numberOf(message)),
      config: { deploymentMode: 'EventDrivenOnly' },
    });
    await system.start();
    await eventually('it listens', async () => (await mill.jobs.health()).listening);
    await enqueueSilently(other, Step, 1);
    await sleep(200); // ten polls of Hybrid, and none here
    assert.deepEqual(seen, []);
    assert.equal(system.statistics().polls, 0);
    await system.switchMode('PollingOnly');
    await eventually('the poller found it', () => seen.length === 1);
    await system.switchMode('Hybrid');
    await enqueueSilently(other, Step, 2);
    await eventually('the poller found that too', () => seen.length === 2);
  });

  it('a killed listener is covered by the poller, and by reconnecting', async (t) => {
    for (const deploymentMode of ['Hybrid', 'EventDrivenOnly'] as const) {
      const { namespace, Step } = place();
      const [mill, other] = [await open(t), await open(t)];
      const seen: number[] = [];
      const system = make(t, namespace, {
        mill,
        executor: (message) => void seen.push(numberOf(message)),
        config: { deploymentMode },
      });
      await system.start();
      await eventually('it listens', async () => (await mill.jobs.health()).listening);
      for (let n = 0; n < 5; n += 1) {
        await ask(
          url(),
          `select pg_terminate_backend(pid) from pg_stat_activity
           where datname = current_database() and query ilike 'listen%'`,
        );
        await other.jobs.enqueue(Step, { n });
        await eventually(`${deploymentMode}: message ${n}`, () => seen.includes(n), 20_000);
      }
      assert.equal(seen.length, 5);
      await eventually('reconnected', () => system.statistics().reconnects > 0, 20_000);
      await system.stop();
    }
  });
});

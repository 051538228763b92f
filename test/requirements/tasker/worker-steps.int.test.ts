/** Steps of workflows by way of a worker event system: the run hears how each one ended, once. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  defineJob,
  MillraceError,
  type StepMessage,
  type StepMessageContext,
  type WorkerCommand,
} from 'millrace';
import { stepUuid } from '../../../src/core/workflow/step-uuid.ts';
import { parseRemoteStepResult, remoteStepJobFor } from '../../../src/workflows/run/remote-step.ts';
import { eventually } from '../../support/eventually.ts';
import { beginning, stepEnds, workflowOf } from '../../support/workflows.ts';
import { setUp } from './worker-setting.ts';

type StepAddress = Extract<WorkerCommand, { type: 'SendStepResult' }>['step'];

const { open, make, place } = setUp();

/** One step, in another namespace; ends with what the step's worker said. */
const abroad = (namespace: string) =>
  workflowOf<{ readonly n: number }>(`abroad-${namespace}`, async (run) => {
    const { record, info } = run;
    if (record.steps.length === 0) {
      run.reserve(1);
      await run.commit({
        create: [{ name: 'elsewhere', kind: 'standard' }],
        transitions: [...beginning, [0, 'enqueued']],
        jobs: [remoteStepJobFor({ namespace, info, step: 0, attempt: 1 })],
      });
    }
    for (;;) {
      const [message] = await run.messages();
      if (message !== undefined) {
        const { ok, resultJson, error, retryable, by } = parseRemoteStepResult(message.payloadJson);
        const said = { ok, resultJson, error: error?.message ?? null, retryable, by };
        await run.commit({
          transitions: [[0, 'in_progress'], ...stepEnds(0), [-1, 'complete']],
          facts: [{ step: 0, resultJson }],
          read: message.no,
          end: { state: 'complete', resultJson: JSON.stringify(said), error: null },
        });
        return 'ended';
      }
      if ((await run.wait(null)) === 'go') continue;
      const rest = { state: record.state, wakeAt: null };
      if ((await run.rest(rest, { transitions: [] })) === 'rested') return 'rested';
    }
  });

describe('steps of workflows', () => {
  it('are run by handlers, and the run is told, by every path', async (t) => {
    for (const deploymentMode of ['EventDrivenOnly', 'PollingOnly', 'Hybrid'] as const) {
      const { namespace } = place();
      const [home, away] = [await open(t), await open(t)];
      const Abroad = abroad(namespace);
      home.workflows.work(Abroad);
      const seen: StepMessage[] = [];
      const step = (message: StepMessage) => {
        seen.push(message);
        return { done: message.taskUuid };
      };
      const system = make(t, namespace, {
        mill: away,
        handlers: { step },
        config: { deploymentMode },
      });
      await Promise.all([home.start(), system.start()]);
      const run = await home.workflows.start(Abroad, { n: 1 });
      assert.deepEqual(await run.result({ timeoutMs: 15_000 }), {
        ok: true,
        resultJson: JSON.stringify({ done: run.runId }),
        error: null,
        retryable: true,
        by: away.jobs.workerId,
      });
      assert.equal(seen.length, 1);
      const [message] = seen;
      const uuid = stepUuid(run.runId, 0);
      assert.deepEqual([message?.stepUuid, message?.attempt], [uuid, 1]);
      assert.ok(message?.correlationId);
      await system.stop();
    }
  });

  it('that fail are the run’s to try again: the message is not', async (t) => {
    const { namespace } = place();
    const [home, away] = [await open(t), await open(t)];
    const Abroad = abroad(namespace);
    home.workflows.work(Abroad);
    let tries = 0;
    const step = () => {
      tries += 1;
      throw new Error('no such card');
    };
    const system = make(t, namespace, { mill: away, handlers: { step } });
    await Promise.all([home.start(), system.start()]);
    const run = await home.workflows.start(Abroad, { n: 1 });
    const { ok, error } = (await run.result({ timeoutMs: 15_000 })) as Record<string, unknown>;
    assert.deepEqual([ok, error, tries], [false, 'no such card', 1]);
    assert.equal(system.statistics().messagesFailed, 1);
  });

  it('that are taken from their handler count as no try: another one runs them', async (t) => {
    for (const way of ['stopped', 'lost'] as const) {
      const { namespace } = place();
      const [home, away] = [await open(t), await open(t)];
      const Abroad = abroad(namespace);
      home.workflows.work(Abroad);
      let calls = 0;
      const step = async (_message: StepMessage, { signal }: StepMessageContext) => {
        calls += 1;
        if (calls > 1) return 'done';
        await sleep(20_000, undefined, { signal }); // throws an AbortError of its own
      };
      const system = make(t, namespace, { mill: away, handlers: { step } });
      await Promise.all([home.start(), system.start()]);
      const run = await home.workflows.start(Abroad, { n: 1 });
      await eventually('it is at work', () => calls === 1);
      if (way === 'stopped') {
        await system.stop({ graceMs: 0 });
        await system.start();
      } else {
        const { tenure } = away.jobs;
        tenure.lose(tenure.epoch as number, new MillraceError('LEASE_LOST', 'Declared dead.'));
      }
      const said = (await run.result({ timeoutMs: 20_000 })) as Record<string, unknown>;
      assert.deepEqual([said.ok, said.error, calls], [true, null, 2], way);
    }
  });

  it('are handed out with event integration, and their result goes to the run', async (t) => {
    for (const type of ['SendStepResult', 'ProcessStepCompletion'] as const) {
      const { namespace, queue } = place();
      const [home, away] = [await open(t), await open(t)];
      const Abroad = abroad(namespace);
      home.workflows.work(Abroad);
      const system = make(t, namespace, { mill: away, executor: () => assert.fail('left to us') });
      const out: StepMessage[] = [];
      system.on('stepExecution', (message) => void out.push(message));
      await system.processor.send({ type: 'SetEventIntegration', enabled: true });
      await Promise.all([home.start(), system.start()]);
      const run = await home.workflows.start(Abroad, { n: 1 });
      const message = await eventually('it is out', () => out[0]);
      const step =
        type === 'SendStepResult'
          ? { runId: run.runId, step: 0, attempt: 1 }
          : { messageId: message.messageId };
      const result = { success: true, result: 'from outside' } as const;
      const completeFor = (correlationId: string, of: StepAddress = step) =>
        system.processor.send({ type: 'ProcessStepCompletion', step: of, result, correlationId });
      const other = { code: 'REQUEST_INVALID', message: /for correlation id 'other'/ };
      await assert.rejects(completeFor('other'), other);
      const receipt =
        type === 'SendStepResult'
          ? await system.processor.send({ type, step, result })
          : await completeFor(message.correlationId as string);
      assert.equal(receipt.delivered, 'run');
      const { resultJson } = (await run.result({ timeoutMs: 15_000 })) as { resultJson: string };
      assert.equal(resultJson, '"from outside"');
      await eventually('its message is done', async () => {
        const counts = (await away.jobs.counts([queue])).get(queue);
        return counts?.completed === 1 && counts.running === 0;
      });
      const late = await system.processor.send({ type, step, result });
      assert.equal(late.delivered, 'unknown', 'late results are harmless');
      // Held nowhere any more: the run's own id counts.
      const of = { runId: run.runId, step: 0, attempt: 1 };
      await assert.rejects(completeFor('other', of), other);
      const same = await completeFor(message.correlationId as string, of);
      assert.equal(same.delivered, 'unknown');
    }
  });

  it('go to the workflows of the process that works on them, beside others', async (t) => {
    const { namespace, queue } = place();
    const [home, away] = [await open(t), await open(t)];
    const Abroad = abroad(namespace);
    home.workflows.work(Abroad);
    away.workflows.plug({
      runRemoteStep: async () => {
        const value = 'by the engine';
        const resultJson = JSON.stringify(value);
        return { kind: 'value', value, resultJson, events: [], transaction: null };
      },
    });
    away.workflows.workOnSteps([namespace]);
    const seen: string[] = [];
    const executor = (message: StepMessage) => void seen.push(message.name);
    const system = make(t, namespace, { mill: away, executor });
    await Promise.all([home.start(), away.start()]);
    await system.start();
    const run = await home.workflows.start(Abroad, { n: 1 });
    const { resultJson } = (await run.result({ timeoutMs: 15_000 })) as { resultJson: string };
    assert.equal(resultJson, '"by the engine"');
    const Other = defineJob('other', { queue });
    await away.jobs.enqueue(Other, {});
    await eventually('the other message', () => seen.length === 1);
    assert.deepEqual(seen, ['other']);
    assert.ok(system.statistics().messagesCompleted >= 2, 'both are counted');
  });
});

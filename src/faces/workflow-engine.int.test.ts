/** WorkflowEngine on real stores: order, retries, restarts, a killed process, cancel. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, gate } from '../../test/support/eventually.ts';
import { suite } from '../../test/support/job-stores.ts';
import { JobError, WorkerError } from './errors.ts';
import type { Workflow, WorkflowStep } from './workflow.ts';
import { WorkflowEngine } from './workflow-engine.ts';

const soon = { timeoutMs: 20_000 };

let number = 0;
/** Names that no other test of this file has: the store is shared. */
function newNames() {
  number += 1;
  return { name: `flow-${number}`, first: `First${number}`, second: `Second${number}` };
}

suite.onEachStore('the workflow engine', (place) => {
  const open = (t: TestContext, ...workflows: Workflow[]) => {
    const engine = new WorkflowEngine({ ...place.connection(), workflows });
    t.after(() => engine.close());
    return engine;
  };
  const twoSteps = (change: Partial<Workflow> = {}) => {
    const names = newNames();
    const workflow: Workflow = {
      name: names.name,
      steps: [
        { name: 'one', processor: names.first, retryAttempts: 3, retryDelay: 1 },
        { name: 'two', processor: names.second, retryAttempts: 2, retryDelay: 1 },
      ],
      ...change,
    };
    return { ...names, workflow };
  };

  it('hands the result of a step to the next, each tried by its own policy', async (t) => {
    const ended: unknown[] = [];
    const { name, first, second, workflow } = twoSteps({
      onSuccess: (result) => void ended.push(result),
    });
    const engine = open(t, workflow);
    const seen: [string, number, unknown][] = [];
    engine.registerStepProcessor(first, (step: WorkflowStep, data: unknown, { attempt }) => {
      seen.push([step.name, attempt, data]);
      if (attempt < 3) throw new Error('not yet');
      return { n: (data as { n: number }).n + 1 };
    });
    engine.registerStepProcessor(second, (step: WorkflowStep, data: unknown, context) => {
      seen.push([step.name, context.attempt, data]);
      return { n: (data as { n: number }).n * 10, runId: context.runId };
    });
    const run = await engine.execute(name, { n: 1 });
    assert.deepEqual(await run.result(soon), { n: 20, runId: run.id });
    assert.deepEqual(seen, [
      ['one', 1, { n: 1 }],
      ['one', 2, { n: 1 }],
      ['one', 3, { n: 1 }],
      ['two', 1, { n: 2 }],
    ]);
    await eventually('onSuccess was called', () => ended.length === 1);
    const status = await run.status();
    assert.equal(status?.status, 'completed');
    assert.deepEqual(
      status?.steps.map((step) => [step.name, step.status, step.attempts]),
      [
        ['one', 'completed', 3],
        ['two', 'completed', 1],
      ],
    );
  });

  it('fails with the step that failed for good, and says so to onError', async (t) => {
    const ended: Error[] = [];
    const { name, first, second, workflow } = twoSteps({
      onError: (error) => void ended.push(error),
    });
    const engine = open(t, workflow);
    let tries = 0;
    engine.registerStepProcessor(first, (_: WorkflowStep, data: unknown) => data);
    engine.registerStepProcessor(second, () => {
      tries += 1;
      throw new TypeError('no ledger');
    });
    const run = await engine.execute(name, 1);
    await assert.rejects(run.result(soon), (error) => {
      assert.ok(error instanceof JobError);
      assert.equal(error.message, `Workflow '${name}' failed at step 'two': no ledger`);
      assert.deepEqual([error.code, error.jobId, error.attempts], ['JOB_FAILED', run.id, 2]);
      return true;
    });
    assert.equal(tries, 2);
    await eventually('onError was called', () => ended.length === 1);
    assert.ok(ended[0] instanceof JobError);
    const status = await run.status();
    assert.deepEqual([status?.status, status?.error], ['failed', 'no ledger']);
  });

  it('waits at a step that nobody can do yet, through a restart', async (t) => {
    const { name, first, second, workflow } = twoSteps();
    const before = open(t, workflow);
    before.registerStepProcessor(first, () => 'half');
    const { id } = await before.execute(name, null);
    await eventually('the first step is done', async () => {
      return (await (await before.getRun(id))?.status())?.steps[0]?.status === 'completed';
    });
    await before.close();

    const after = open(t, workflow);
    await after.start();
    const run = await after.getRun(id);
    assert.equal((await run?.status())?.status, 'running');
    after.registerStepProcessor(second, (_: WorkflowStep, data: unknown) => `${data}, whole`);
    assert.equal(await run?.result(soon), 'half, whole');
  });

  it('keeps to the steps that a run began with', async (t) => {
    const { name, first, second, workflow } = twoSteps();
    const old = open(t, workflow);
    const { id } = await old.execute(name, 1);
    await eventually('the run began', async () => {
      return (await (await old.getRun(id))?.status())?.steps[0]?.status === 'waiting';
    });
    await old.close();
    const engine = open(t, { name, steps: [{ name: 'other', processor: 'Nobody' }] });
    engine.registerStepProcessor(first, () => 'a');
    engine.registerStepProcessor(second, () => 'b');
    assert.equal(await (await engine.getRun(id))?.result(soon), 'b');
  });

  it('cancels a run where it is, with its signal', async (t) => {
    const { name, first, workflow } = twoSteps();
    const engine = open(t, workflow);
    const started = gate();
    let stopped = false;
    engine.registerStepProcessor(first, async (_: WorkflowStep, __: unknown, { signal }) => {
      started.open();
      await sleep(60_000, null, { signal }).catch(() => {
        stopped = true;
      });
    });
    const run = await engine.execute(name, 1);
    await started.opened;
    assert.equal(await run.cancel(), true);
    await assert.rejects(run.result(soon), (error) => {
      return error instanceof JobError && error.code === 'JOB_CANCELLED';
    });
    await eventually('the step stopped', () => stopped);
    assert.equal(await run.cancel(), false);
  });

  it('runs many at a time, each once', async (t) => {
    const ended: unknown[] = [];
    const { name, first, second, workflow } = twoSteps({
      onSuccess: (result) => void ended.push(result),
    });
    const engine = open(t, workflow);
    const counts = new Map<string, number>();
    const count = (step: WorkflowStep, data: unknown) => {
      const key = `${step.name} ${data}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
      return data;
    };
    engine.registerStepProcessor(first, count);
    engine.registerStepProcessor(second, count);
    const numbers = Array.from({ length: 25 }, (_, n) => n);
    const runs = await Promise.all(numbers.map((n) => engine.execute(name, n)));
    assert.deepEqual(await Promise.all(runs.map((run) => run.result(soon))), numbers);
    assert.equal(counts.size, 50);
    assert.ok([...counts.values()].every((times) => times === 1));
    await eventually('all were told', () => ended.length === 25);
  });

  it('goes on in another process when one is killed at work', { timeout: 60_000 }, async (t) => {
    const { name, first, second, workflow } = twoSteps();
    const directory = await mkdtemp(path.join(tmpdir(), 'millrace-workflow-'));
    t.after(() => rm(directory, { recursive: true, force: true }));
    const program = path.join(directory, 'worker.mjs');
    const module = JSON.stringify(new URL('./workflow-engine.ts', import.meta.url).href);
    await writeFile(
      program,
      `const { WorkflowEngine } = await import(${module});
      const engine = new WorkflowEngine(${JSON.stringify({
        ...place.connection(),
        workflows: [workflow],
      })});
      engine.registerStepProcessor(${JSON.stringify(first)}, () => 'by the first process');
      engine.registerStepProcessor(${JSON.stringify(second)}, async () => {
        console.log('at work');
        await new Promise(() => setInterval(() => {}, 1000));
      });`,
    );
    const engine = open(t, workflow);
    const run = await engine.execute(name, null);
    const worker = spawn(process.execPath, ['--conditions=millrace-source', program], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => worker.kill('SIGKILL'));
    await new Promise((resolve) => worker.stdout.once('data', resolve));
    engine.registerStepProcessor(second, (_: WorkflowStep, data: unknown) => `${data}, ended here`);
    worker.kill('SIGKILL');
    assert.equal(await run.result({ timeoutMs: 40_000 }), 'by the first process, ended here');
  });

  it('goes on after what onSuccess threw, and tells it', async (t) => {
    const { name, first, second, workflow } = twoSteps({
      onSuccess() {
        throw new Error('the callback is broken');
      },
    });
    const engine = open(t, workflow);
    const errors: unknown[] = [];
    engine.on('error', ({ error }) => errors.push(error));
    engine.registerStepProcessor(first, () => 1);
    engine.registerStepProcessor(second, () => 2);
    assert.equal(await (await engine.execute(name, 0)).result(soon), 2);
    await eventually('it was told', () => errors.length === 1);
  });

  it('refuses workflows that make no sense, by name', (t) => {
    const refused = (workflow: unknown) => {
      assert.throws(
        () => open(t, workflow as Workflow),
        (error) => error instanceof WorkerError && error.code === 'DEFINITION_INVALID',
      );
    };
    const step = { name: 'a', processor: 'A' };
    refused({ name: '', steps: [step] });
    refused({ name: 'empty', steps: [] });
    refused({ name: 'twice', steps: [step, step] });
    refused({ name: 'delay', steps: [{ ...step, retryDelay: -1 }] });
    refused({ name: 'processor', steps: [{ name: 'a', processor: 'not a name' }] });
  });

  it('does not execute what it does not know', async (t) => {
    await assert.rejects(open(t).execute('unknown', 1), (error) => {
      return error instanceof WorkerError && error.code === 'NOT_FOUND';
    });
  });
});

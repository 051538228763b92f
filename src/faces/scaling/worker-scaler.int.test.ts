/** Real worker processes on a real queue; only the thresholds and the waits are small. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { freshDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { connectJobs } from '../../connect.ts';
import { defineJob } from '../../core/job-definition.ts';
import { WorkerScaler, type WorkerScalerOptions } from './worker-scaler.ts';

const execute = promisify(execFile);
const source = (file: string) => JSON.stringify(new URL(`../../${file}`, import.meta.url).href);
const workerCode = `
  const timers = await import('node:timers/promises');
  const { connectJobs } = await import(${source('connect.ts')});
  const { defineJob } = await import(${source('core/job-definition.ts')});
  const jobs = await connectJobs(process.env.MILLRACE_URL, { heartbeatMs: 100 });
  jobs.work([defineJob('nap', { handler: () => timers.setTimeout(100) })], { concurrency: 2 });
  process.once('SIGTERM', () => jobs.stop().then(() => process.exit(0)));
  await jobs.start();
`;

let directory = '';
let worker = '';
let database: TestDatabase;
before(async () => {
  database = await freshDatabase();
  directory = await mkdtemp(path.join(tmpdir(), 'millrace-scaler-'));
  worker = path.join(directory, 'worker.mjs');
  await writeFile(worker, workerCode);
});
after(async () => {
  await database.drop();
  await rm(directory, { recursive: true, force: true });
});

function open(t: TestContext, options: WorkerScalerOptions = {}) {
  const scaler = new WorkerScaler({
    postgres: { url: database.url },
    worker: { module: worker, env: { MILLRACE_URL: database.url }, graceMs: 10_000 },
    ...options,
  });
  const heard: string[] = [];
  const errors: Error[] = [];
  scaler.on('scaled', ({ from, to, reason }) => heard.push(`${from} → ${to}: ${reason}`));
  scaler.on('workerCrashed', ({ reason }) => errors.push(new Error(reason)));
  scaler.on('error', ({ error }) => errors.push(error));
  t.after(() => scaler.stop());
  return { scaler, heard, errors };
}

describe('the worker scaler', () => {
  it('starts more workers for more work, and ends them after it', async (t) => {
    const jobs = await connectJobs(database.url);
    t.after(() => jobs.stop());
    const scaling = {
      minWorkers: 1,
      maxWorkers: 3,
      scaleUpCooldown: 200,
      scaleDownCooldown: 400,
      interval: 50,
    };
    const { scaler, heard, errors } = open(t, { scaling });
    await scaler.start();
    assert.deepEqual(heard, ['0 → 1: below minWorkers 1']);
    const live = async () => (await jobs.workers()).filter(({ alive }) => alive);
    await eventually('one works', async () => (await live()).length === 1, 20_000);
    const nap = defineJob('nap', {});
    const naps = await jobs.enqueueMany(
      nap,
      Array.from({ length: 200 }, () => null),
    );
    await eventually('three work', async () => (await live()).length === 3, 20_000);
    assert.match(heard[1] ?? '', /^1 → 2: utilization \d+\.\d\d from 0.8 on$/);
    await Promise.all(naps.map((it) => jobs.result(it, { timeoutMs: 30_000 })));
    await eventually('one is left', async () => (await live()).length === 1, 20_000);
    assert.match(heard.at(-1) ?? '', /→ 1: utilization 0\.\d\d down to 0.2$/);
    const seen = () => scaler.status.load?.concurrency === 2 && scaler.status;
    const { active, workers } = await eventually('it has seen that', seen);
    assert.deepEqual([active, workers], [true, 1]);
    await scaler.stop();
    assert.equal((await live()).length, 0, 'they said goodbye');
    assert.deepEqual(errors, []);
    assert.equal((await jobs.counts()).get('default')?.completed, 200);
  });

  it('is set by hand, within its limits', async (t) => {
    const { scaler, heard, errors } = open(t);
    await scaler.scaleTo(2);
    assert.deepEqual(heard, ['0 → 2: set by hand']);
    await scaler.scaleTo(2);
    await assert.rejects(scaler.scaleTo(11), { code: 'REQUEST_INVALID', message: /from 1 to 10/ });
    await assert.rejects(scaler.scaleTo(0), { code: 'REQUEST_INVALID' });
    await scaler.stop();
    assert.deepEqual([heard.length, errors.length], [1, 0]);
  });

  it('fails to start when it cannot look, and survives it later', async (t) => {
    const gone = new Error('no such cluster');
    let fails = true;
    const asked: number[] = [];
    const provider = {
      count: async () => (fails ? Promise.reject(gone) : 4),
      scaleTo: async (count: number) => void asked.push(count),
      close: async () => {},
    };
    const scaling = { maxWorkers: 3, interval: 20 };
    const { scaler, errors } = open(t, { provider, scaling });
    await assert.rejects(scaler.start(), gone);
    assert.equal(scaler.status.active, false);
    fails = false;
    await scaler.start();
    assert.deepEqual(asked, [3], 'above maxWorkers');
    fails = true;
    await eventually('it is told', () => errors.includes(gone));
    fails = false;
    const { length } = asked;
    await eventually('it goes on', () => asked.length > length);
  });

  it('counts only the queues it is asked for', async (t) => {
    const info = { alive: true, running: 9, concurrency: 10 };
    const jobs = {
      workers: async () => [
        { ...info, queues: ['mails'] },
        { ...info, queues: ['reports', 'bills'], running: 1 },
        { ...info, queues: ['mails'], alive: false },
      ],
      counts: async () =>
        new Map([
          ['mails', { waiting: 50 }],
          ['bills', { waiting: 2 }],
        ]),
    };
    const provider = { count: async () => 1, scaleTo: async () => {}, close: async () => {} };
    const { scaler } = open(t, { jobs: jobs as never, provider, queues: ['bills'] });
    await scaler.start();
    assert.deepEqual(scaler.status.load, { workers: 1, running: 1, concurrency: 10, waiting: 2 });
    assert.equal(scaler.status.utilization, 0.3);
  });

  it('runs its own program by default, which finds the embedded Postgres', async () => {
    const program = path.join(directory, 'program.mjs');
    const data = JSON.stringify(path.join(directory, 'data'));
    await writeFile(
      program,
      `import { setTimeout as sleep } from 'node:timers/promises';
       import { WorkerScaler } from ${source('faces/scaling/worker-scaler.ts')};
       const scaling = { minWorkers: 2, interval: 50 };
       const scaler = new WorkerScaler({ postgres: { directory: ${data} }, scaling });
       scaler.on('workerCrashed', ({ reason }) => console.error(reason));
       await scaler.start(); // the workers pass here too, and it does nothing
       if (process.env.MILLRACE_SCALED === '1') {
         ${workerCode}
       } else {
         while (scaler.status.load?.workers !== 2) await sleep(20);
         await scaler.stop();
         console.log('two have worked');
       }`,
    );
    const { MILLRACE_URL: _, ...env } = process.env;
    const flags = ['--conditions=millrace-source', program];
    const { stdout, stderr } = await execute(process.execPath, flags, { timeout: 60_000, env });
    assert.deepEqual([stdout, stderr], ['two have worked\n', '']);
  });

  it('rests in a process that a scaler started', async (t) => {
    process.env.MILLRACE_SCALED = '1';
    t.after(() => {
      delete process.env.MILLRACE_SCALED;
    });
    const { scaler, heard } = open(t);
    await scaler.start();
    await scaler.scaleTo(5);
    assert.deepEqual([scaler.status.active, heard], [false, []]);
  });
});

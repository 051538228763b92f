/**
 * Random sequences of commands against a real job store and a model of it in memory; after each the
 * two must agree. Every run prints its seed: `FUZZ_SEED=<seed>` repeats it; `FUZZ_RUNS`,
 * `FUZZ_COMMANDS` and `FUZZ_MS` make it longer. A failure shows the shortest sequence that
 * fast-check found.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from 'fast-check';
import { openPostgresJobStore } from '../../src/drivers/postgres/jobs/store.ts';
import { openRedisJobStore } from '../../src/drivers/redis/store.ts';
import { freshPrefix } from '../../src/drivers/redis/test-keys.ts';
import { idOf, idsOf } from '../../src/ports/jobs.fixtures.conformance.ts';
import type { JobStore } from '../../src/ports/jobs.ts';
import { eachPostgres } from '../support/database.ts';
import {
  checkCounts,
  commands,
  exchange,
  type RealQueue,
  startModelWorker,
  workerNames,
} from './job-commands.ts';
import { JobModel } from './job-model.ts';

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env.FUZZ_RUNS ?? 60);
const maxCommands = Number(process.env.FUZZ_COMMANDS ?? 40);
/** All of it ends by then, the search for a shorter failure included. */
const fuzzMsMax = Number(process.env.FUZZ_MS ?? 90_000);
/** Suspects run one at a time. */
const roundsMax = 1_000;

interface Opened {
  open(): Promise<JobStore>;
  remove(): Promise<void>;
}

let queues = 0;

async function startQueue(stores: readonly [JobStore, JobStore]): Promise<RealQueue> {
  queues += 1;
  const names = { queue: `model-${queues}`, tenant: `tenant-${queues}` };
  const real: RealQueue = { stores, ...names, workers: new Map(), held: new Map() };
  await stores[0].configure([{ queue: real.queue }]);
  for (const name of workerNames) await startModelWorker(real, name);
  return real;
}

/** Whatever is left can still be run to its end, and nothing is lost on the way. */
async function runToTheEnd(model: JobModel, real: RealQueue): Promise<void> {
  const { stores, queue } = real;
  await stores[0].configure([{ queue, paused: false }]);
  model.paused = false;
  const delayed = model.list().filter(({ due }) => due !== null);
  const refs = delayed.map(({ ref }) => ref);
  const changed = idsOf(await stores[0].change('run', refs));
  for (const job of delayed) {
    model.change('run', job, changed.includes(idOf(job.ref)), performance.now());
  }
  const all = { done: 2 ** 24 - 1, failed: 0, released: 0, enqueue: [], claim: 100, again: false };
  const failure = { status: 'dead', delayMs: 0, counts: true } as const;
  const open = ['waiting', 'running', 'delayed', 'retrying'];
  const left = () => model.list().filter(({ status }) => open.includes(status));
  for (let round = 0; left().length > 0 && round < roundsMax; round += 1) {
    const worker = workerNames[round % workerNames.length] as (typeof workerNames)[0];
    await exchange(model, real, { ...all, worker, failure });
  }
  assert.deepEqual(left(), [], 'nothing is left');
  await checkCounts(model, real);
}

function fuzz(makeStores: () => Promise<Opened>): void {
  let opened: Opened;
  const stores: JobStore[] = [];
  before(async () => {
    opened = await makeStores();
    stores.push(await opened.open(), await opened.open());
  });
  after(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await opened?.remove();
  });
  it('does what the model does', async (t) => {
    t.diagnostic(`FUZZ_SEED=${seed}`);
    let tried = 0;
    const sequences = fc.commands(commands, { maxCommands, size: 'max' });
    const property = fc.asyncProperty(sequences, async (sequence) => {
      tried += 1;
      const model = new JobModel();
      const real = await startQueue(stores as [JobStore, JobStore]);
      try {
        await fc.asyncModelRun(() => ({ model, real }), sequence);
        await runToTheEnd(model, real);
      } finally {
        for (const { epoch } of real.workers.values()) await stores[0]?.retire(epoch);
      }
    });
    await fc.assert(property, { seed, numRuns, interruptAfterTimeLimit: fuzzMsMax });
    t.diagnostic(`${tried} sequences of up to ${maxCommands} commands`);
  });
}

eachPostgres('the model of a queue', (server) => {
  fuzz(async () => {
    const { url, drop } = await server.fresh();
    return { open: () => openPostgresJobStore({ url }), remove: drop };
  });
});

const redisUrl = process.env.REDIS_URL;
if (redisUrl) {
  describe('the model of a queue on Redis', () => {
    fuzz(async () => {
      const { prefix, remove } = freshPrefix(redisUrl);
      return { open: () => openRedisJobStore({ url: redisUrl, prefix }), remove };
    });
  });
} else {
  describe('the model of a queue on Redis', { skip: 'REDIS_URL is not set' }, () => {});
}

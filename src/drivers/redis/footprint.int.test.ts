/** What is left in Redis: history up to its limit, and of everything else nothing. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  claimOne,
  configure,
  drain,
  enqueuePlain,
  enqueueRow,
  enqueueRows,
  type JobCaseContext,
  newJobs,
  recoverFrom,
  ref,
  startMortal,
  startWorker,
  statusesOf,
} from '../../ports/jobs.fixtures.conformance.ts';
import type { ClaimedJob, JobRef, JobStore } from '../../ports/jobs.ts';
import { openRedis, type Redis } from './connection.ts';
import { createKeys } from './keys.ts';
import { Lanes } from './lanes.ts';
import { sweepQueues } from './news.ts';
import { openRedisJobStore } from './store.ts';
import { freshPrefix } from './test-keys.ts';

const url = process.env.REDIS_URL;
const skip = url ? false : 'REDIS_URL is not set';
const historyMax = 300;

/** Names and numbers that are kept for good, and answers and epochs that go with time. */
const lasting = ['q', 'lanes', 'ln', 'at', 'a0', 'a1', 'alive'];

async function suffixesOf(redis: Redis, base: string): Promise<string[]> {
  const suffixes: string[] = [];
  for (let cursor = '0'; ; ) {
    const args = ['SCAN', cursor, 'MATCH', `${base}:*`, 'COUNT', '1000'];
    const [next, keys] = await redis.send<[string, string[]]>(base, args);
    suffixes.push(...keys.map((key) => key.slice(base.length + 1)));
    cursor = next;
    if (cursor === '0') return [...new Set(suffixes)].sort();
  }
}

/** Jobs of all kinds, and what can happen to them. */
async function liveThroughAll(context: JobCaseContext): Promise<void> {
  const { store, queue } = context;
  await configure(context, { keyLimits: { concurrency: 100, rate: { max: 1000, perMs: 100 } } });
  const plain = await enqueuePlain(store, newJobs(context, 150, { key: 'k' }));
  const worker = await startWorker(store, queue);
  const held = await worker.claim(90);
  await store.progress(held.slice(0, 3).map((job) => ({ ...ref(job), progressJson: '1' })));
  await store.change('cancel', [held[2] as ClaimedJob, plain[100] as JobRef].map(ref));
  await store.change('remove', [plain[101] as JobRef, plain[149] as JobRef].map(ref));
  await worker.fail(held[3] as ClaimedJob, { status: 'dead' });
  await worker.fail(held[4] as ClaimedJob, { delayMs: 1 });
  await worker.settle({ released: held.slice(5, 8).map(ref) });
  await worker.done([...held.slice(0, 3), ...held.slice(8)], '"result"');
  const unique = (mode: 'keep' | 'throttle') => ({ unique: { key: mode, mode, windowMs: 10 } });
  await enqueueRow(context, unique('keep'));
  await enqueueRow(context, unique('throttle'));
  const [parent] = await enqueueRows(store, newJobs(context, 1, { delayMs: 1 }));
  await enqueueRow(context, { dependsOn: [ref(parent as JobRef), ref(plain[120] as JobRef)] });
  const [elsewhere] = await enqueuePlain(store, newJobs({ ...context, queue: `${queue} b` }, 1));
  await enqueueRow(context, { dependsOn: [ref(elsewhere as JobRef)] });
  const there = await startWorker(store, `${queue} b`);
  await drain(there);
  await store.retire(there.epoch);
  const failing = await enqueueRow(context, { delayMs: 60_000 });
  const onParentFailure = 'cancel';
  await enqueueRow(context, { dependsOn: [ref(failing)], onParentFailure });
  await store.change('cancel', [failing]);
  const mortal = await startMortal(store, queue);
  await mortal.claim(10);
  await recoverFrom(store, mortal);
  await store.retire(worker.epoch);
}

describe('what Redis keeps', { skip }, () => {
  const { prefix, remove } = freshPrefix(url as string);
  const keys = createKeys(prefix);
  let store: JobStore;
  let redis: Redis;
  before(async () => {
    store = await openRedisJobStore({ url: url as string, prefix, historyMax });
    redis = await openRedis(url as string);
  });
  after(async () => {
    await Promise.all([store.close(), redis.close()]);
    await remove();
  });
  const contextOf = (queue: string) => ({ store, queue, tenant: 't' }) as never as JobCaseContext;

  it('is nothing of jobs that have ended and were pruned', async () => {
    const context = contextOf('all kinds');
    await liveThroughAll(context);
    const worker = await startWorker(store, context.queue);
    for (let idle = 0; idle < 20; idle += 1) {
      if ((await drain(worker)).length > 0) idle = 0;
      await sleep(10);
    }
    await store.retire(worker.epoch);
    const base = keys.queue(context.queue);
    const before = await suffixesOf(redis, base);
    assert.ok(before.includes('done') && before.includes('data'), 'there is history');
    while ((await store.prune({ olderThanMs: 0, limit: 50 })) > 0);
    await sleep(150); // windows end, tokens come back
    await sweepQueues({ redis, keys, historyMax, lanes: new Lanes(redis, keys) });
    const left = (await suffixesOf(redis, base)).filter((suffix) => !lasting.includes(suffix));
    assert.deepEqual(left, []);
    const counts = (await store.queries.counts([context.queue])).get(context.queue) ?? {};
    assert.deepEqual(
      Object.values(counts).filter((count) => count !== 0),
      [],
    );
    assert.deepEqual(await suffixesOf(redis, `${keys.registry}:wq`), [], 'nor of workers');
  });

  it('is a bounded history, the newest of it', async () => {
    const context = contextOf('history');
    const worker = await startWorker(store, context.queue);
    const refs: JobRef[] = [];
    for (let round = 0; round < 6; round += 1) {
      refs.push(...(await enqueuePlain(store, newJobs(context, 400))));
      await drain(worker, 100);
      await enqueueRows(store, newJobs(context, 100));
      await drain(worker, 100);
    }
    const counts = (await store.queries.counts([context.queue])).get(context.queue);
    const completed = counts?.completed ?? 0;
    assert.ok(completed >= historyMax && completed <= 2 * historyMax + 640, `${completed}`);
    const [first, last] = await statusesOf(store, [refs[0], refs.at(-1)] as JobRef[]);
    assert.deepEqual([first, last], [null, 'completed']);
  });

  it('are results that children have not read, beyond all history', async () => {
    const context = contextOf('results');
    const worker = await startWorker(store, context.queue);
    const [plain] = (await enqueuePlain(store, newJobs(context, 1))) as [JobRef];
    const row = await enqueueRow(context, { priority: -1 });
    const child = { dependsOn: [plain, row].map(ref), delayMs: 60_000 };
    await enqueueRow(context, child);
    await worker.done([await claimOne(worker), await claimOne(worker)], '"for the child"');
    for (let round = 0; round < 12; round += 1) {
      await enqueuePlain(store, newJobs(context, 200));
      await enqueueRows(store, newJobs(context, 50));
      await drain(worker, 250);
    }
    assert.deepEqual(await statusesOf(store, [plain, row]), [null, null]);
    const kept = await store.queries.results([plain, row]);
    assert.deepEqual(kept, ['"for the child"', '"for the child"']);
  });

  it('is nothing completed when no history is wanted', async () => {
    const context = contextOf('none');
    const bare = await openRedisJobStore({ url: url as string, prefix, historyMax: 0 });
    const worker = await startWorker(bare, context.queue);
    await enqueuePlain(bare, newJobs(context, 200));
    await enqueueRows(bare, newJobs(context, 20));
    await worker.done(await worker.claim(100), '"unread"');
    await drain(worker, 30);
    await bare.retire(worker.epoch);
    const left = await suffixesOf(redis, keys.queue(context.queue));
    assert.deepEqual(
      left.filter((suffix) => !lasting.includes(suffix)),
      [],
    );
    await bare.close();
  });
});

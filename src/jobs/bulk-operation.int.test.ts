/** One verb for many: what it takes, its pace, pausing and stopping, and a store that is away. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { freshDatabase, type TestDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { MillraceError } from '../core/errors.ts';
import { openPostgresJobStore } from '../drivers/postgres/jobs/store.ts';
import {
  countsOf,
  enqueuePlain,
  enqueueRows,
  newJobs,
  startWorker,
} from '../ports/jobs.fixtures.conformance.ts';
import type { JobStore } from '../ports/jobs.ts';
import { type BulkState, startBulkOperation } from './bulk-operation.ts';

let database: TestDatabase;
let store: JobStore;

before(async () => {
  database = await freshDatabase();
  store = await openPostgresJobStore({ url: database.url });
});
after(async () => {
  await store?.close();
  await database?.drop();
});

const plain = (queue: string, count: number) =>
  enqueuePlain(store, newJobs({ queue, tenant: 'acme' }, count));

test('a dry run counts and shows, and changes nothing', async () => {
  await plain('dry', 30);
  const request = { verb: 'cancel', filter: { queue: 'dry' }, dryRun: true } as const;
  const operation = await startBulkOperation(store, request);
  assert.deepEqual([operation.matched, operation.more, operation.sample.length], [30, false, 5]);
  assert.equal((await operation.finished).status, 'finished');
  assert.equal((await operation.finished).done, 0);
  assert.deepEqual(await countsOf(store, 'dry'), { waiting: 30 });
  const some = await startBulkOperation(store, { ...request, limit: 10 });
  assert.deepEqual([some.matched, some.more], [10, true]);
});

test('every status the verb is for is taken, the others are left alone', async () => {
  await plain('mixed', 1_200);
  const worker = await startWorker(store, 'mixed');
  const claimed = await worker.claim(300);
  await worker.done(claimed.slice(0, 100));
  await enqueueRows(store, newJobs({ queue: 'mixed', tenant: 'acme' }, 40, { delayMs: 60_000 }));
  const states: BulkState[] = [];
  const operation = await startBulkOperation(store, {
    verb: 'cancel',
    filter: { queue: 'mixed' },
    ratePerSecond: 100_000,
    onProgress: (state) => states.push(state),
  });
  const end = await operation.finished;
  assert.deepEqual([end.status, end.matched, end.done, end.failed], ['finished', 1_140, 1_140, 0]);
  assert.deepEqual(await countsOf(store, 'mixed'), { completed: 100, cancelled: 1_140 });
  assert.ok(states.length >= 3);
  assert.equal(states.at(-1)?.status, 'finished');

  await store.retire(worker.epoch);
  const kept = { queue: 'mixed', status: 'completed' } as const;
  const remove = await startBulkOperation(store, { verb: 'remove', filter: kept });
  assert.equal((await remove.finished).done, 100);
  assert.deepEqual(await countsOf(store, 'mixed'), { cancelled: 1_140 });
});

test('it keeps its pace, waits while paused, and stops', async () => {
  await plain('paced', 100);
  const started = performance.now();
  const operation = await startBulkOperation(store, {
    verb: 'cancel',
    filter: { queue: 'paced' },
    ratePerSecond: 100,
  });
  await eventually('a few are done', () => operation.done >= 20);
  assert.ok(performance.now() - started >= 90, 'two chunks of 10 take a tenth of a second');
  operation.pause();
  assert.equal(operation.status, 'paused');
  await eventually('the chunk under way has ended', async () => {
    const { done } = operation;
    return (await countsOf(store, 'paced')).cancelled === done;
  });
  const { done } = operation;
  operation.resume();
  await eventually('it goes on', () => operation.done > done);
  operation.stop();
  const end = await operation.finished;
  assert.equal(end.status, 'stopped');
  assert.ok(end.done < 100);
  assert.equal((await countsOf(store, 'paced')).cancelled, end.done);
});

test('what others did meanwhile is counted as not changed', async () => {
  const refs = await plain('raced', 20);
  const operation = await startBulkOperation(
    {
      queries: store.queries,
      async change(verb, jobs) {
        await store.change('cancel', refs.slice(0, 5));
        return store.change(verb, jobs);
      },
    },
    { verb: 'cancel', filter: { queue: 'raced' } },
  );
  const end = await operation.finished;
  assert.deepEqual([end.done, end.failed], [15, 5]);
});

test('a store that is away is asked again; one that refuses ends it', async () => {
  await plain('away', 10);
  let calls = 0;
  const request = { verb: 'cancel', filter: { queue: 'away' } } as const;
  const flaky = await startBulkOperation(
    {
      queries: store.queries,
      async change(verb, jobs) {
        calls += 1;
        if (calls === 1) throw new MillraceError('STORE_UNAVAILABLE', 'gone for a moment');
        return store.change(verb, jobs);
      },
    },
    request,
  );
  assert.equal((await flaky.finished).done, 10);
  await plain('away', 10);
  const broken = await startBulkOperation(
    { queries: store.queries, change: () => Promise.reject(new Error('no right to do this')) },
    request,
  );
  const end = await broken.finished;
  assert.deepEqual([end.status, end.error], ['failed', 'no right to do this']);
  const wrong = startBulkOperation(store, { ...request, verb: 'forget' as never });
  await assert.rejects(wrong, { code: 'REQUEST_INVALID' });
  const hasty = startBulkOperation(store, { ...request, ratePerSecond: 0 });
  await assert.rejects(hasty, { code: 'REQUEST_INVALID' });
});

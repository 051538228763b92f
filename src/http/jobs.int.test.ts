/** The routes of jobs, queues, schedules and workers over a platform that works. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { freshDatabase } from '../../test/support/database.ts';
import { eventually, gate } from '../../test/support/eventually.ts';
import { names, openMill } from '../../test/support/mill.ts';
import { permanentFailure } from '../core/errors.ts';
import { defineJob } from '../core/job-definition.ts';
import type { Why } from '../jobs/reason.ts';
import type { JobView } from '../jobs/view.ts';
import type { ErrorBody } from './failures.ts';
import { jobBulkRoutes } from './job-bulk-routes.ts';
import { jobRoutes } from './job-routes.ts';
import { type QueueAnswer, queueRoutes } from './queue-routes.ts';
import { scheduleRoutes } from './schedule-routes.ts';
import { createHttpServer } from './server.ts';

const database = await freshDatabase();

async function open(t: TestContext) {
  const mill = await openMill(t, database.url);
  const { jobs } = mill;
  const { group: queue, tenant } = names();
  const routes = [
    ...jobRoutes(jobs),
    ...jobBulkRoutes(jobs),
    ...queueRoutes(jobs),
    ...scheduleRoutes(jobs),
  ];
  const server = createHttpServer({ routes });
  t.after(() => server.close());
  const ask =
    (method: 'GET' | 'POST') =>
    async <T>(path: string, body?: unknown, as: string | null = tenant) =>
      (await server.dispatch({
        method,
        path,
        headers: as === null ? {} : { 'x-tenant-id': as },
        body,
      })) as { status: number; body: T };
  return { mill, jobs, queue, tenant, get: ask('GET'), post: ask('POST') };
}

interface Page {
  readonly items: readonly JobView[];
  readonly next: string | null;
}

const codeOf = (answer: { body: unknown }) => (answer.body as ErrorBody).error.code;

test('a job is added, listed, asked about, cancelled and retried', async (t) => {
  const { queue, tenant, get, post } = await open(t);
  const job = { name: 'mail.send', queue, payload: { to: 'a' }, metadata: { by: 'hand' } };
  const added = await post<{ id: string; duplicate: boolean }>('/ops/jobs', job);
  assert.deepEqual([added.status, added.body.duplicate], [201, false]);
  const { id } = added.body;
  const { body: shown } = await get<JobView>(`/ops/jobs/${id}`);
  assert.deepEqual([shown.name, shown.tenantId, shown.status], ['mail.send', tenant, 'waiting']);
  assert.deepEqual([shown.payload, shown.options.metadata], [{ to: 'a' }, { by: 'hand' }]);
  const { body: why } = await get<Why>(`/ops/jobs/${id}/why`);
  assert.equal(why.reasons[0].kind, 'no-worker');

  await post('/ops/jobs', { ...job, delayMs: 60_000 });
  const { body: page } = await get<Page>(`/ops/jobs?queue=${queue}&limit=1`);
  assert.deepEqual([page.items.length, page.next === null], [1, false]);
  const { body: rest } = await get<Page>(`/ops/jobs?queue=${queue}&after=${page.next}`);
  assert.equal(rest.items.length, 1);
  const delayed = await get<Page>(`/ops/jobs?queue=${queue}&status=delayed`);
  assert.equal((await post(`/ops/jobs/${delayed.body.items[0]?.id}/run`)).status, 200);

  const cancelled = await post<{ job: JobView }>(`/ops/jobs/${id}/cancel`);
  assert.equal(cancelled.body.job.status, 'cancelled');
  const again = await post<ErrorBody>(`/ops/jobs/${id}/cancel`);
  assert.equal(again.status, 409);
  assert.match(again.body.error.message, /cannot be cancelled: it is cancelled/);
  const retried = await post<{ job: JobView }>(`/ops/jobs/${id}/retry`);
  assert.equal(retried.body.job.status, 'waiting');
  assert.equal((await post<{ job: null }>(`/ops/jobs/${id}/remove`)).body.job, null);
  assert.equal((await get(`/ops/jobs/${id}`)).status, 404);
});

test('a tenant sees and changes its own jobs only', async (t) => {
  const { queue, get, post } = await open(t);
  const job = { name: 'mail.send', queue, payload: null };
  const { body } = await post<{ id: string }>('/ops/jobs', job);
  const path = `/ops/jobs/${body.id}`;
  assert.equal((await get(path, undefined, 'somebody else')).status, 404);
  assert.equal((await post(`${path}/cancel`, undefined, 'somebody else')).status, 404);
  assert.equal((await get(`${path}/why`, undefined, 'somebody else')).status, 404);
  const others = await get<Page>(`/ops/jobs?queue=${queue}`, undefined, 'somebody else');
  assert.deepEqual(others.body.items, []);
  assert.equal((await get<Page>(`/ops/jobs?queue=${queue}`, undefined, null)).body.items.length, 1);
  const bulk = { verb: 'cancel', filter: { queue } };
  const none = await post<{ matched: number }>('/ops/jobs/bulk', bulk, 'somebody else');
  assert.equal(none.body.matched, 0);
});

test('wrong requests are told what is wrong', async (t) => {
  const { queue, get, post } = await open(t);
  const job = { name: 'mail.send', queue, payload: null };
  for (const [body, wanted] of [
    [{ ...job, payload: undefined }, /payload is missing/],
    [{ ...job, name: '' }, /name/],
    [{ ...job, name: 'no spaces please' }, /name/],
    [{ ...job, prio: 1 }, /prio/],
    [{ ...job, priority: 'high' }, /priority/],
    [{ ...job, runAt: 'tomorrow' }, /runAt/],
    [{ ...job, unique: { key: 'k', mode: 'sometimes' } }, /mode/],
    [{ ...job, dependsOn: ['x'] }, /job id/],
  ] as const) {
    const answer = await post<ErrorBody>('/ops/jobs', body);
    assert.equal(answer.status, 400, JSON.stringify(body));
    assert.match(answer.body.error.message, wanted);
  }
  assert.equal(codeOf(await get('/ops/jobs/17')), 'REQUEST_INVALID');
  assert.equal(codeOf(await get('/ops/jobs?status=lost')), 'REQUEST_INVALID');
  assert.equal(codeOf(await get('/ops/jobs?after=nonsense')), 'REQUEST_INVALID');
  assert.equal(codeOf(await get('/ops/jobs?from=yesterday')), 'REQUEST_INVALID');
  assert.equal(codeOf(await get('/ops/jobs/999999-1')), 'NOT_FOUND');
  const every = await post<ErrorBody>('/ops/jobs/bulk', { verb: 'remove', filter: {} }, null);
  assert.match(every.body.error.message, /every job there is/);
  assert.equal(codeOf(await post('/ops/jobs/bulk', { verb: 'forget' })), 'REQUEST_INVALID');
  const unique = { ...job, unique: { key: 'k', mode: 'reject' } };
  assert.equal((await post('/ops/jobs', unique)).status, 201);
  assert.equal((await post('/ops/jobs', unique)).status, 409);
});

test('what failed alike is retried in bulk; queues are paused, resumed and limited', async (t) => {
  const { mill, jobs, queue, get, post } = await open(t);
  let broken = true;
  const Mail = defineJob('mail.send', {
    queue,
    handler: () => {
      if (broken) throw permanentFailure('the server is away');
    },
  });
  jobs.work(Mail);
  await mill.start();
  const count = 30;
  const payloads = Array.from({ length: count }, (_, n) => ({ n }));
  const [first] = await jobs.enqueueMany(Mail, payloads, { tenantId: 'acme' });
  const path = `/ops/queues/${queue}`;
  await eventually('all are dead', async () => {
    return (await get<QueueAnswer>(path)).body.counts.dead === count;
  });
  const { body: dead } = await get<JobView>(`/ops/jobs/${first?.id}`, undefined, 'acme');
  const fingerprint = dead.error?.fingerprint;
  broken = false;
  const filter = { queue, status: 'dead', fingerprint };
  const dry = await post<{ matched: number; status: string }>(
    '/ops/jobs/bulk',
    { verb: 'retry', filter, dryRun: true },
    null,
  );
  assert.deepEqual([dry.body.matched, dry.body.status], [count, 'finished']);
  const begun = await post<{ id: string }>('/ops/jobs/bulk', { verb: 'retry', filter }, null);
  assert.equal(begun.status, 202);
  await eventually('the operation has ended', async () => {
    const { body } = await get<{ status: string; done: number }>(`/ops/jobs/bulk/${begun.body.id}`);
    return body.status === 'finished' && body.done === count;
  });
  await eventually('all are completed', async () => {
    return (await get<QueueAnswer>(path)).body.counts.completed === count;
  });
  assert.equal((await get<{ items: [] }>('/ops/jobs/bulk')).body.items.length, 2);
  assert.equal((await post('/ops/jobs/bulk/nobody/stop')).status, 404);

  const paused = await post<QueueAnswer>(`${path}/pause`);
  assert.deepEqual([paused.body.paused, paused.body.workers], [true, 1]);
  const { id } = await jobs.enqueue(Mail, {});
  const why = await get<Why>(`/ops/jobs/${id}/why`, undefined, null);
  assert.equal(why.body.reasons[0].kind, 'queue-paused');
  const limits = { concurrency: 3, rate: { max: 10, perMs: 1_000 } };
  const limited = await post<QueueAnswer>(`${path}/limits`, { limits, lengthMax: 500 });
  assert.deepEqual([limited.body.limits, limited.body.lengthMax], [limits, 500]);
  const free = await post<QueueAnswer>(`${path}/limits`, { limits: null });
  assert.deepEqual([free.body.limits, free.body.lengthMax, free.body.paused], [null, 500, true]);
  assert.equal(codeOf(await post(`${path}/limits`, {})), 'REQUEST_INVALID');
  assert.equal(
    codeOf(await post(`${path}/limits`, { limits: { rate: { max: 1 } } })),
    'REQUEST_INVALID',
  );
  await post(`${path}/resume`);
  await jobs.result(id, { timeoutMs: 10_000 });
  assert.equal((await post('/ops/queues/nowhere/pause')).status, 404);
});

test('a running job is cancelled from here, and workers and schedules are listed', async (t) => {
  const { mill, jobs, queue, tenant, get, post } = await open(t);
  const { open: letGo, opened } = gate();
  let aborted = false;
  const Slow = defineJob('slow', {
    queue,
    handler: async (_payload: unknown, { signal }) => {
      signal.addEventListener('abort', () => {
        aborted = true;
        letGo();
      });
      await opened;
      signal.throwIfAborted();
    },
  });
  jobs.work(Slow);
  await mill.start();
  const { id } = await jobs.enqueue(Slow, {}, { tenantId: tenant });
  await eventually('it runs', async () => (await jobs.get(id))?.status === 'running');
  const why = await get<Why>(`/ops/jobs/${id}/why`);
  assert.match(why.body.reasons[0].text, new RegExp(`process ${process.pid}`));
  assert.equal((await post(`/ops/jobs/${id}/cancel`)).status, 200);
  await eventually('its handler was told', () => aborted);
  const { body } = await get<{ items: { queues: string[]; alive: boolean }[] }>('/ops/workers');
  assert.ok(body.items.some(({ queues, alive }) => alive && queues.includes(queue)));

  const rule = { cron: '0 2 * * *', timezone: 'Europe/Berlin' };
  await jobs.schedule('nightly', rule, Slow, {}, { tenantId: tenant });
  const list = await get<{ items: { name: string }[] }>('/ops/schedules');
  assert.deepEqual(
    list.body.items.map(({ name }) => name),
    ['nightly'],
  );
  const { body: ticks } = await get<{ items: string[] }>('/ops/schedules/nightly/next?count=3');
  assert.equal(ticks.items.length, 3);
  const paused = await post<{ paused: boolean }>('/ops/schedules/nightly/pause');
  assert.equal(paused.body.paused, true);
  const resumed = await post<{ paused: boolean }>('/ops/schedules/nightly/resume');
  assert.equal(resumed.body.paused, false);
  assert.equal((await get('/ops/schedules/nightly', undefined, 'somebody else')).status, 404);
  assert.deepEqual((await post('/ops/schedules/nightly/remove')).body, { removed: true });
  assert.equal((await get('/ops/schedules/nightly')).status, 404);
});

/** The routes of workflows over real HTTP, on a platform that works. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { freshDatabase } from '../../test/support/database.ts';
import { eventually, gate } from '../../test/support/eventually.ts';
import { names, openMill } from '../../test/support/mill.ts';
import { permanentFailure } from '../core/errors.ts';
import type { StandardSchemaV1 } from '../core/schema.ts';
import { defineWorkflow } from '../workflows/functions/define-workflow.ts';
import type { ErrorBody } from './failures.ts';
import { createHttpServer } from './server.ts';
import { workflowDeskRoutes } from './workflow-desk-routes.ts';
import type {
  InvestigationDocument,
  StepDocument,
  TaskDetailsDocument,
  TaskDocument,
} from './workflow-documents.ts';
import { workflowDoor } from './workflow-door.ts';
import { workflowRoutes } from './workflow-routes.ts';

const database = await freshDatabase();

const positive: StandardSchemaV1<{ n: number }, { n: number }> = {
  '~standard': {
    version: 1,
    vendor: 'test',
    validate: (value) =>
      (value as { n?: unknown })?.n === undefined || Number((value as { n: number }).n) < 0
        ? { issues: [{ message: 'n must be a number from 0', path: ['n'] }] }
        : { value: value as { n: number } },
  },
};

/** Workflows of a namespace of the test's own. */
function workflowsOf(namespace: string, opened: Promise<void>) {
  const add = defineWorkflow(
    'add',
    { namespace, input: positive, identity: 'strict' },
    (ctx, { n }) => ctx.run('add one', () => n + 1),
  );
  const keyed = defineWorkflow('keyed', { namespace, identity: 'caller_provided' }, (ctx) =>
    ctx.run('once', () => 'done'),
  );
  const bad = defineWorkflow('bad', { namespace }, async (ctx) => {
    await ctx.run('fine', () => 1);
    await ctx.run('broken', () => {
      throw permanentFailure('it is broken');
    });
  });
  const asks = defineWorkflow('asks', { namespace }, async (ctx) => {
    const word = await ctx.waitForSignal<string>('word');
    const { approved } = await ctx.approval('sure');
    return { word, approved };
  });
  const slow = defineWorkflow('slow', { namespace }, (ctx) =>
    ctx.run('wait', async () => {
      await opened;
      return 'late';
    }),
  );
  return [add, keyed, bad, asks, slow];
}

interface Answer<T> {
  readonly status: number;
  readonly body: T;
}

async function open(t: TestContext) {
  const mill = await openMill(t, database.url);
  const { tenant } = names();
  const namespace = `ns_${tenant.replace('-', '_')}`;
  const { open: letGo, opened } = gate();
  t.after(letGo);
  mill.workflows.work(workflowsOf(namespace, opened));
  await mill.start();
  const door = workflowDoor(mill);
  const server = createHttpServer({
    routes: [...workflowRoutes(door), ...workflowDeskRoutes(door)],
    onError: (error) => console.error(error),
  });
  t.after(() => server.close());
  const url = await server.listen(0);
  const call =
    (method: string) =>
    async <T>(
      path: string,
      body?: unknown,
      { as = tenant as string | null, headers = {} as Record<string, string> } = {},
    ): Promise<Answer<T>> => {
      const response = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(as !== null && { 'x-tenant-id': as }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      return { status: response.status, body: (await response.json()) as T };
    };
  const [get, post, patch, remove] = ['GET', 'POST', 'PATCH', 'DELETE'].map(call) as [
    ReturnType<typeof call>,
    ReturnType<typeof call>,
    ReturnType<typeof call>,
    ReturnType<typeof call>,
  ];
  const started = async (name: string, input: unknown = {}) => {
    const answer = await post<TaskDetailsDocument>('/v1/tasks', { name, namespace, input });
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    return answer.body.task_uuid;
  };
  const untilState = (id: string, ...states: string[]) =>
    eventually(
      `${id} is ${states.join(' or ')}`,
      async () => {
        const { body } = await get<TaskDetailsDocument>(`/v1/tasks/${id}`);
        return states.includes(body.state) && body;
      },
      30_000,
    );
  return { mill, tenant, namespace, letGo, get, post, patch, remove, started, untilState };
}

const codeOf = (answer: Answer<unknown>) => (answer.body as ErrorBody).error.code;

test('a task is started, runs, and is shown with steps, summary, audit and drawing', async (t) => {
  const { get, post, namespace, tenant, untilState } = await open(t);
  const created = await post<TaskDetailsDocument>('/v1/tasks', {
    name: 'add',
    namespace,
    context: { n: 41 },
    priority: -2,
    correlation_id: 'order-7',
    tags: ['a'],
    initiator: 'test',
  });
  assert.equal(created.status, 201);
  const { task_uuid: id } = created.body;
  const task = await untilState(id, 'complete');
  assert.deepEqual(
    [task.result, task.priority, task.correlation_id, task.tenant_id, task.input],
    [42, -2, 'order-7', tenant, { n: 41 }],
  );
  assert.deepEqual(task.metadata, { tags: ['a'], initiator: 'test' });
  const steps = await get<{ items: StepDocument[] }>(`/v1/tasks/${id}/workflow_steps`);
  const [step] = steps.body.items;
  assert.deepEqual([step?.name, step?.state, step?.result], ['add one', 'complete', 42]);
  for (const name of ['add%20one', '0', step?.step_uuid]) {
    const found = await get<StepDocument & { audit: { to: string }[] }>(
      `/v1/tasks/${id}/workflow_steps/${name}`,
    );
    assert.equal(found.body.name, 'add one', name);
    assert.equal(found.body.audit.at(-1)?.to, 'complete');
  }
  const summary = await get<{ completion_percentage: number; steps: { total: number } }>(
    `/v1/tasks/${id.slice(-12)}/summary`,
  );
  assert.deepEqual([summary.body.completion_percentage, summary.body.steps.total], [100, 1]);
  const audit = await get<{ items: { step: string | null; to: string }[] }>(
    `/v1/tasks/${id}/audit`,
  );
  assert.deepEqual(audit.body.items.filter((row) => row.step === null).at(-1)?.to, 'complete');
  const why = await get<{ state: string; reasons: { kind: string }[] }>(`/v1/tasks/${id}/why`);
  assert.deepEqual([why.body.state, why.body.reasons[0]?.kind], ['complete', 'complete']);
  const drawn = await get<{ mermaid: string }>(`/v1/tasks/${id}/visualize`);
  assert.match(drawn.body.mermaid, /s0\["add one<br\/>complete/);
});

test('starting is idempotent: 409 without an id, 400 without a needed key', async (t) => {
  const { post, namespace } = await open(t);
  const strict = { name: 'add', namespace, input: { n: 1 } };
  assert.equal((await post('/v1/tasks', strict)).status, 201);
  const again = await post<ErrorBody>('/v1/tasks', strict);
  assert.deepEqual([again.status, codeOf(again)], [409, 'WORKFLOW_DUPLICATE']);
  assert.doesNotMatch(JSON.stringify(again.body), /[0-9a-f]{8}-[0-9a-f]{4}-7/, 'no id is told');
  // A key of the request overrides.
  const key = (idempotency_key: string) => post('/v1/tasks', { ...strict, idempotency_key });
  assert.deepEqual([(await key('a')).status, (await key('a')).status], [201, 409]);

  const keyed = { name: 'keyed', namespace };
  const bare = await post('/v1/tasks', keyed);
  assert.equal(bare.status, 400, JSON.stringify(bare.body));
  const headers = { 'idempotency-key': 'k-1' };
  assert.equal((await post('/v1/tasks', keyed, { headers })).status, 201);
  assert.equal((await post('/v1/tasks', keyed, { headers })).status, 409);
  const other = await post('/v1/tasks', { ...keyed, idempotency_key: 'k-2' }, { headers });
  assert.deepEqual([other.status, codeOf(other)], [400, 'REQUEST_INVALID']);
});

test('what is wrong with a request is said, and nothing is started', async (t) => {
  const { get, post, patch, namespace, started } = await open(t);
  const id = await started('add', { n: 2 });
  const cases: [Promise<Answer<unknown>>, number, string][] = [
    [
      post('/v1/tasks', { name: 'add', namespace, input: { n: -1 } }),
      400,
      'WORKFLOW_INPUT_INVALID',
    ],
    [post('/v1/tasks', { name: 'nothing', namespace }), 404, 'WORKFLOW_UNKNOWN'],
    [post('/v1/tasks', { name: 'add', namespace, version: '9' }), 404, 'WORKFLOW_UNKNOWN'],
    [post('/v1/tasks', { namespace }), 400, 'REQUEST_INVALID'],
    [post('/v1/tasks', { name: 'add', inputs: {} }), 400, 'REQUEST_INVALID'],
    [post('/v1/tasks', { name: 'add', input: {}, context: {} }), 400, 'REQUEST_INVALID'],
    [post('/v1/tasks', { name: 'add', namespace, priority: 1.5 }), 400, 'REQUEST_INVALID'],
    [get('/v1/tasks?state=gone'), 400, 'REQUEST_INVALID'],
    [get('/v1/tasks?stat=error'), 400, 'REQUEST_INVALID'],
    [get('/v1/tasks?from=yesterday'), 400, 'REQUEST_INVALID'],
    [get('/v1/tasks?parent=x'), 400, 'REQUEST_INVALID'],
    [get('/v1/tasks/zzz'), 400, 'REQUEST_INVALID'],
    [get('/v1/tasks/01a1fe00-0000-7000-8000-000000000000'), 404, 'NOT_FOUND'],
    [get(`/v1/tasks/${id}/workflow_steps/none`), 404, 'NOT_FOUND'],
    [patch(`/v1/tasks/${id}`, {}), 400, 'REQUEST_INVALID'],
    [patch(`/v1/tasks/${id}`, { action_type: 'explode' }), 400, 'REQUEST_INVALID'],
    [patch(`/v1/tasks/${id}/workflow_steps/0`, { action_type: 'cancel' }), 400, 'REQUEST_INVALID'],
    [post(`/v1/tasks/${id}/signals`, {}), 400, 'REQUEST_INVALID'],
    [post(`/v1/tasks/${id}/approvals`, { step: 'x' }), 400, 'REQUEST_INVALID'],
    [get('/v1/dlq?status=open'), 400, 'REQUEST_INVALID'],
    [get('/v1/dlq/entry/17'), 400, 'REQUEST_INVALID'],
    [get('/v1/analytics/performance?minutes=0'), 400, 'REQUEST_INVALID'],
  ];
  for (const [i, [call, status, code]] of cases.entries()) {
    const answer = await call;
    assert.deepEqual([answer.status, codeOf(answer)], [status, code], `case ${i}`);
  }
});

test('a tenant sees and changes its own tasks only', async (t) => {
  const { get, post, patch, remove, started, untilState } = await open(t);
  const id = await started('asks');
  await untilState(id, 'waiting_for_dependencies', 'steps_in_process');
  const as = 'somebody-else';
  const other = { as };
  for (const path of ['', '/why', '/audit', '/summary', '/workflow_steps', '/visualize']) {
    assert.equal((await get(`/v1/tasks/${id}${path}`, undefined, other)).status, 404, path);
  }
  assert.equal((await remove(`/v1/tasks/${id}`, undefined, other)).status, 404);
  assert.equal((await get(`/v1/tasks/${id.slice(-10)}`, undefined, other)).status, 404);
  const pause = { action_type: 'pause' };
  assert.equal((await patch(`/v1/tasks/${id}`, pause, other)).status, 404);
  assert.equal((await post(`/v1/tasks/${id}/signals`, { name: 'word' }, other)).status, 404);
  assert.equal((await post(`/v1/dlq/task/${id}`, {}, other)).status, 404);
  const listed = await get<{ items: TaskDocument[] }>('/v1/tasks', undefined, other);
  assert.deepEqual(listed.body.items, []);
  const all = await get<{ items: TaskDocument[] }>('/v1/tasks?limit=1000', undefined, { as: null });
  assert.ok(all.body.items.some((task) => task.task_uuid === id));
});

test('tasks are listed in pages by filter, and counted', async (t) => {
  const { get, started, untilState } = await open(t);
  const ids: string[] = [];
  for (let n = 10; n < 13; n += 1) ids.push(await started('add', { n }));
  const bad = await started('bad');
  for (const id of ids) await untilState(id, 'complete');
  await untilState(bad, 'error', 'blocked_by_failures');
  type Page = { items: TaskDocument[]; next: string | null };
  const page = (await get<Page>('/v1/tasks?name=add&limit=2')).body;
  const rest = (await get<Page>(`/v1/tasks?name=add&limit=2&after=${page.next}`)).body;
  const found = [...page.items, ...rest.items].map((task) => task.task_uuid);
  assert.deepEqual(found, [...ids].reverse());
  assert.equal(rest.next, null);
  const failed = await get<Page>('/v1/tasks?state=error,blocked_by_failures');
  assert.deepEqual(
    failed.body.items.map((task) => task.task_uuid),
    [bad],
  );
  const counts = (await get<Record<string, number>>('/v1/tasks/counts')).body;
  assert.equal(counts.complete, 3);
});

test('signals and approvals reach a run; why says what it waits for', async (t) => {
  const { get, post, started, untilState } = await open(t);
  const id = await started('asks');
  const waits = (kind: string) =>
    eventually(
      `it ${kind}`,
      async () => {
        const { body } = await get<{ reasons: { kind: string; command: string }[] }>(
          `/v1/tasks/${id}/why`,
        );
        return body.reasons.find((reason) => reason.kind === kind);
      },
      30_000,
    );
  assert.equal((await waits('waits-for-signal')).command, `workflow signal ${id} word`);
  const body = { name: 'word', payload: 'hello', id: 's1' };
  const sent = await post<{ duplicate: boolean }>(`/v1/tasks/${id}/signals`, body);
  assert.deepEqual([sent.status, sent.body.duplicate], [202, false]);
  const twice = await post<{ duplicate: boolean }>(`/v1/tasks/${id}/signals`, body);
  assert.equal(twice.body.duplicate, true);
  const { command } = await waits('waits-for-approval');
  const step = command.split(' ').at(-1);
  await post(`/v1/tasks/${id}/approvals`, { step, approved: true, by: 'ann' });
  const done = await untilState(id, 'complete');
  assert.deepEqual(done.result, { word: 'hello', approved: true });
  const late = await post(`/v1/tasks/${id}/signals`, { name: 'word' });
  assert.deepEqual([late.status, codeOf(late)], [409, 'WORKFLOW_STATE']);
});

test('a task is cancelled by DELETE, once', async (t) => {
  const { get, remove, started, untilState } = await open(t);
  const id = await started('slow');
  await untilState(id, 'steps_in_process');
  const body = { reason: 'not any more', by: 'ann', wait_ms: 30_000 };
  const cancelled = await remove<{ applied: boolean; task: TaskDocument }>(`/v1/tasks/${id}`, body);
  assert.equal(cancelled.status, 200, JSON.stringify(cancelled.body));
  await untilState(id, 'cancelled');
  const audit = await get<{ items: { by: string; reason: string | null; to: string }[] }>(
    `/v1/tasks/${id}/audit`,
  );
  const last = audit.body.items.at(-1);
  assert.deepEqual([last?.to, last?.by, last?.reason], ['cancelled', 'ann', 'not any more']);
  const again = await remove(`/v1/tasks/${id}`);
  assert.deepEqual([again.status, codeOf(again)], [409, 'WORKFLOW_STATE']);
});

test('a run that failed is investigated, retried, and figures show it', async (t) => {
  const { get, post, patch, started, untilState } = await open(t);
  const id = await started('bad');
  await untilState(id, 'error', 'blocked_by_failures');
  const why = await get<{ reasons: { text: string }[] }>(`/v1/tasks/${id}/why`);
  assert.match(JSON.stringify(why.body.reasons), /it is broken/);
  const opened = await post<InvestigationDocument>(`/v1/dlq/task/${id}`, { notes: 'look' });
  assert.equal(opened.status, 201);
  assert.equal((await post(`/v1/dlq/task/${id}`, {})).status, 409);
  const entry = `/v1/dlq/entry/${opened.body.entry_id}`;
  const shown = await get<InvestigationDocument>(entry);
  assert.match(JSON.stringify(shown.body.snapshot), /it is broken/);
  assert.equal((await get(entry, undefined, { as: 'somebody-else' })).status, 404);
  const list = await get<{ items: InvestigationDocument[] }>('/v1/dlq?status=pending');
  assert.deepEqual(
    list.body.items.map((one) => one.entry_id),
    [opened.body.entry_id],
  );
  for (const path of [`/v1/dlq/task/${id}`, '/v1/dlq/investigation-queue']) {
    const { body } = await get<{ items: InvestigationDocument[] }>(path);
    assert.equal(body.items[0]?.task_uuid, id, path);
  }
  assert.deepEqual((await get<{ items: [] }>('/v1/dlq/staleness')).body.items, []);
  const change = { status: 'manually_resolved', by: 'ann', notes: 'mended' };
  assert.equal((await patch(entry, { status: 'pending' })).status, 400);
  const closed = await patch<InvestigationDocument>(entry, change);
  assert.deepEqual([closed.body.status, closed.body.notes], ['manually_resolved', 'mended']);
  assert.equal((await patch(entry, change)).status, 409);
  const stats = await get<{ pending: number; resolved: number }>('/v1/dlq/stats');
  assert.deepEqual([stats.body.pending, stats.body.resolved], [0, 1]);

  const before = (await get<TaskDocument>(`/v1/tasks/${id}`)).body.seq;
  const retried = await patch<{ applied: boolean }>(`/v1/tasks/${id}`, {
    action_type: 'retry',
    wait_ms: 30_000,
  });
  assert.equal(retried.status, 200, JSON.stringify(retried.body));
  const after = await untilState(id, 'error', 'blocked_by_failures');
  assert.ok(after.seq > before, 'it was tried again');
  const slow = await get<{ steps: { step: string; failed: number }[] }>(
    '/v1/analytics/bottlenecks',
  );
  assert.equal(slow.body.steps.find((one) => one.step === 'broken')?.failed, 1);
  const figures = await get<{ success_rate: number | null }>('/v1/analytics/performance');
  assert.equal(figures.body.success_rate, 0);
});

test('templates are what the process knows; bulk verbs are watched', async (t) => {
  const { get, post, namespace, started, untilState } = await open(t);
  type Template = { name: string; namespace: string; identity_strategy: string };
  const { items } = (await get<{ items: Template[] }>('/v1/templates')).body;
  const add = items.find((one) => one.namespace === namespace && one.name === 'add');
  assert.equal(add?.identity_strategy, 'strict');
  const version = (add as unknown as { version: string }).version;
  assert.equal((await get(`/v1/templates/${namespace}/add/${version}`)).status, 200);
  assert.equal((await get(`/v1/templates/${namespace}/add/none`)).status, 404);

  const ids = [await started('asks'), await started('asks')];
  for (const id of ids) await untilState(id, 'waiting_for_dependencies', 'steps_in_process');
  type Bulk = { id: string; status: string; matched: number; done: number };
  const bulk = { verb: 'cancel', filter: { name: 'asks' } };
  const dry = await post<Bulk>('/v1/tasks/bulk', { ...bulk, dry_run: true });
  assert.deepEqual([dry.status, dry.body.matched, dry.body.done], [202, 2, 0]);
  const begun = await post<Bulk>('/v1/tasks/bulk', bulk);
  const done = await eventually('it is done', async () => {
    const { body } = await get<Bulk>(`/v1/tasks/bulk/${begun.body.id}`);
    return body.status !== 'running' && body;
  });
  assert.deepEqual([done.status, done.done], ['finished', 2]);
  for (const id of ids) await untilState(id, 'cancelled');
  const all = await post('/v1/tasks/bulk', { verb: 'cancel', filter: {} }, { as: null });
  assert.equal(all.status, 400);
});

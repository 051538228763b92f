import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { connect, type StoredEvent } from 'millrace';
import { createHttpServer } from '../../src/http/server.ts';
import { freshDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { installExceptions } from './application.ts';
import type { ExceptionPage, ExceptionView } from './projection/queries.ts';

const database = await freshDatabase();
const mill = await connect(database.url, { partitions: 4, pollMs: [10, 100] });
const app = await installExceptions(mill);
const server = createHttpServer({ routes: app.routes });
await mill.start();
after(async () => {
  await server.close();
  await mill.stop();
  await database.drop();
});

async function call<T>(method: 'GET' | 'POST', path: string, body?: unknown) {
  return (await server.dispatch({ method, path, body })) as { status: number; body: T };
}

/** The exception, once it is in the state that is wanted. */
function settled(tenant: string, id: string, wanted: (view: ExceptionView) => boolean) {
  return eventually(`${id} settled`, async () => {
    const { status, body } = await call<ExceptionView>('GET', `/exceptions/${tenant}/${id}`);
    return status === 200 && wanted(body) && body;
  });
}

const trade = (exceptionId: string, extra: object = {}) => ({
  exceptionId,
  domain: 'finance',
  sourceSystem: 'OMS',
  exceptionType: 'SETTLEMENT_FAIL',
  rawPayload: {
    tradeId: `T-${exceptionId}`,
    amount: 1200.5,
    failCode: 'SSI',
    daysOverdue: 1,
    ...extra,
  },
});

test('an exception is accepted durably and shows up with its timeline and trace', async () => {
  const tenant = 'northwind';
  const sent = await call<{ exceptionId: string; status: string }>(
    'POST',
    `/exceptions/${tenant}`,
    {
      exception: trade('S-1'),
    },
  );
  assert.deepEqual(
    [sent.status, sent.body.exceptionId, sent.body.status],
    [202, 'S-1', 'accepted'],
  );
  const stored = await mill.history.list({ tenantId: tenant, key: 'S-1', limit: 1 });
  assert.equal(stored.events[0]?.eventType, 'ExceptionIngested');

  const view = await settled(
    tenant,
    'S-1',
    ({ stage, waiting }) => stage === 'done' || waiting !== null,
  );
  assert.equal(view.type, 'SETTLEMENT_FAIL');
  assert.equal(view.source, 'OMS');
  assert.equal(view.amount, 1200.5);
  const timeline = await call<{ items: StoredEvent[] }>('GET', `/exceptions/${tenant}/S-1/events`);
  const types = timeline.body.items.map(({ eventType }) => eventType);
  assert.deepEqual(types.slice(0, 2), ['ExceptionIngested', 'ExceptionNormalized']);
  const trace = await call<{ count: number; complete: boolean }>(
    'GET',
    `/exceptions/${tenant}/S-1/trace`,
  );
  assert.equal(trace.body.count, types.length);
  assert.equal(view.events, types.length);
});

test('the same exception twice is stored once', async () => {
  const send = () =>
    call<{ message: string }>('POST', '/exceptions/northwind', { exception: trade('D-1') });
  assert.match((await send()).body.message, /1 stored/);
  assert.match((await send()).body.message, /1 were there already/);
  const { events } = await mill.history.list({
    tenantId: 'northwind',
    key: 'D-1',
    eventTypes: ['ExceptionIngested'],
  });
  assert.equal(events.length, 1);
});

test('every item of a batch is kept, or none with the place of the wrong one', async () => {
  const exceptions = [trade('B-1'), trade('B-2'), { domain: 'finance', tradeId: 'T-9' }];
  const sent = await call<{ exceptionIds: string[]; accepted: number }>(
    'POST',
    '/exceptions/batches',
    { exceptions },
  );
  assert.equal(sent.status, 202);
  assert.equal(sent.body.accepted, 3);
  assert.deepEqual(sent.body.exceptionIds.slice(0, 2), ['B-1', 'B-2']);

  const wrong = [trade('B-3'), { ...trade('B-4'), severity: 'HUGE' }];
  const refused = await call<{ error: { message: string } }>('POST', '/exceptions/batches', {
    exceptions: wrong,
  });
  assert.equal(refused.status, 400);
  assert.match(refused.body.error.message, /exceptions\[1\]\.severity/);
  const { events } = await mill.history.list({ tenantId: 'batches', key: 'B-3' });
  assert.equal(events.length, 0);

  for (const body of [
    {},
    { exception: 1 },
    { exceptions: {} },
    { exception: {}, exceptions: [] },
    [],
  ]) {
    assert.equal(
      (await call('POST', '/exceptions/batches', body)).status,
      400,
      JSON.stringify(body),
    );
  }
});

test('lists are filtered and paged; no page misses or repeats an exception', async () => {
  const tenant = 'lists';
  const ids = Array.from({ length: 23 }, (_, i) => `L-${i}`);
  await call('POST', `/exceptions/${tenant}`, { exceptions: ids.map((id) => trade(id)) });
  const path = `/exceptions/${tenant}?domain=finance&limit=5`;
  await eventually('all of them', async () => {
    const { body } = await call<ExceptionPage>('GET', path);
    return body.total === ids.length;
  });
  const seen: string[] = [];
  let next: string | null = null;
  do {
    const page: { body: ExceptionPage } = await call(
      'GET',
      next === null ? path : `${path}&after=${encodeURIComponent(next)}`,
    );
    seen.push(...page.body.items.map(({ exceptionId }) => exceptionId));
    next = page.body.next;
  } while (next !== null);
  assert.deepEqual(seen.toSorted(), ids.toSorted());
  const none = await call<ExceptionPage>('GET', `/exceptions/${tenant}?severity=LOW&type=NOTHING`);
  assert.equal(none.body.total, 0);
  for (const query of ['status=open', 'severity=x', 'limit=101', 'created_from=soon', 'x=1']) {
    assert.equal((await call('GET', `/exceptions/${tenant}?${query}`)).status, 400, query);
  }
  const others = await call<ExceptionPage>('GET', '/exceptions/somebody-else');
  assert.equal(others.body.total, 0);
});

test('an approval is given once; the second answer hears that it was decided', async () => {
  const tenant = 'northwind';
  await call('POST', `/exceptions/${tenant}`, { exception: trade('A-1', { daysOverdue: 9 }) });
  const { waiting } = await settled(tenant, 'A-1', (view) => view.waiting?.kind === 'approval');
  const listed = await call<{ items: { approvalId: string }[] }>('GET', `/approvals/${tenant}`);
  assert.ok(listed.body.items.some(({ approvalId }) => approvalId === waiting?.id));
  const path = `/approvals/${tenant}/${waiting?.id}`;
  assert.equal((await call('POST', `${path}/approve`, {})).status, 400);
  const [first, second] = await Promise.all([
    call('POST', `${path}/approve`, { user: 'ada', comments: 'go' }),
    call('POST', `${path}/reject`, { user: 'bob' }),
  ]);
  assert.deepEqual([first.status, second.status].toSorted(), [202, 409]);
  const view = await settled(tenant, 'A-1', ({ waiting: now }) => now?.kind !== 'approval');
  const { events } = await mill.history.list({
    tenantId: tenant,
    key: 'A-1',
    eventTypes: ['ApprovalDecided'],
  });
  assert.equal(events.length, 1);
  assert.equal(
    (await call('GET', `/exceptions/${tenant}/${view.exceptionId}/playbook`)).status,
    200,
  );
});

test('what does not exist is not found; a step that waits for nobody stays', async () => {
  assert.equal((await call('GET', '/exceptions/northwind/NOPE')).status, 404);
  assert.equal((await call('GET', '/exceptions/northwind/NOPE/events')).status, 404);
  assert.equal(
    (await call('POST', '/approvals/northwind/NOPE/approve', { user: 'a' })).status,
    404,
  );
  const step = '/exceptions/northwind/S-1/playbook/steps/1/complete';
  const refused = await call('POST', step, { actorType: 'human', actorId: 'ada' });
  assert.ok(refused.status === 400 || refused.status === 202, String(refused.status));
});

test('counts agree with what was sent, and every tenant is known', async () => {
  const tenants = await app.tenants();
  assert.ok(['northwind', 'batches', 'lists'].every((tenant) => tenants.includes(tenant)));
  const counts = await app.counts(['lists']);
  assert.equal(counts.total, 23);
  assert.equal(
    Object.values(counts.byOutcome).reduce((sum, n) => sum + n, 0),
    23,
  );
});

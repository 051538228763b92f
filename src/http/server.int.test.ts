import assert from 'node:assert/strict';
import { connect as connectSocket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { freshDatabase } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { names, openMill } from '../../test/support/mill.ts';
import { permanentFailure } from '../core/errors.ts';
import { deadLetterRoutes } from './dead-letter-routes.ts';
import { eventRoutes } from './event-routes.ts';
import type { ErrorBody } from './failures.ts';
import { healthRoutes } from './health-routes.ts';
import { operationsRoutes } from './operations-routes.ts';
import type { Route } from './route.ts';
import { createHttpServer, type HttpServer } from './server.ts';
import { createStatistics } from './statistics.ts';

const database = await freshDatabase();

async function open(t: TestContext, extra: readonly Route[] = []) {
  const mill = await openMill(t, database.url);
  const { Thing, group, tenant } = names();
  const tenants = async () => [tenant];
  const statistics = createStatistics({ mill, tenants, app: async () => ({ answer: 42 }) });
  const errors: unknown[] = [];
  const server = createHttpServer({
    routes: [
      ...healthRoutes(mill),
      ...eventRoutes(mill),
      ...deadLetterRoutes(mill),
      ...operationsRoutes({ mill, statistics }),
      ...extra,
    ],
    onError: (error) => errors.push(error),
  });
  t.after(() => server.close());
  const headers = { 'x-tenant-id': tenant };
  const get = async <T>(path: string) =>
    (await server.dispatch({ method: 'GET', path, headers })) as { status: number; body: T };
  const post = async <T>(path: string, body?: unknown) =>
    (await server.dispatch({ method: 'POST', path, headers, body })) as { status: number; body: T };
  return { mill, server, Thing, group, tenant, get, post, errors };
}

const codeOf = (answer: { body: unknown }) => (answer.body as ErrorBody).error.code;

test('health says what runs, and ready follows start()', async (t) => {
  const { mill, get } = await open(t);
  assert.equal((await get('/health/live')).status, 200);
  assert.equal((await get('/health/ready')).status, 503);
  await mill.start();
  assert.equal((await get('/health/ready')).status, 200);
  const health = await get<{ status: string; mode: string }>('/health');
  assert.equal(health.status, 200);
  assert.equal(health.body.mode, 'Hybrid');
});

test('events are listed in pages, shown alone and as a tree of causes', async (t) => {
  const { mill, Thing, group, tenant, get } = await open(t);
  const Next = names().Thing;
  mill.subscribe({
    group,
    events: [Thing],
    handle: (event, context) => void context.publish(Next, { payload: { n: event.payload.n + 1 } }),
  });
  const first = await mill.publish(Thing, { tenantId: tenant, key: 'a', payload: { n: 1 } });
  for (let n = 2; n <= 5; n += 1) {
    await mill.publish(Thing, { tenantId: tenant, key: 'b', payload: { n } });
  }
  interface Page {
    items: { eventId: string; payload: { n: number } }[];
    next: string | null;
  }
  const seen: number[] = [];
  let after = '';
  do {
    const { body } = await get<Page>(`/api/events?type=${Thing.type}&limit=2${after}`);
    seen.push(...body.items.map(({ payload }) => payload.n));
    after = body.next === null ? '' : `&after=${body.next}`;
  } while (after !== '');
  assert.deepEqual(seen, [1, 2, 3, 4, 5]);
  const byKey = await get<Page>('/api/events?key=b&newestFirst=true&limit=1');
  assert.equal(byKey.body.items[0]?.payload.n, 5);
  assert.equal((await get(`/api/events/${first.eventId}`)).status, 200);

  await mill.start();
  const tree = await eventually('the follow-up event', async () => {
    const { body } = await get<{ items: { depth: number; event: { eventType: string } }[] }>(
      `/api/events/${first.eventId}/tree`,
    );
    return body.items.length === 2 && body.items;
  });
  assert.deepEqual(
    tree.map(({ depth, event }) => [depth, event.eventType]),
    [
      [0, Thing.type],
      [1, Next.type],
    ],
  );
});

test('a dead letter is listed, grouped, edited and handled again', async (t) => {
  const { mill, Thing, group, tenant, get, post } = await open(t);
  const handled: number[] = [];
  mill.subscribe({
    group,
    events: [Thing],
    handle({ payload }) {
      if (payload.n < 0) throw permanentFailure(`the number ${payload.n} is negative`);
      handled.push(payload.n);
    },
  });
  await mill.start();
  const bad = await mill.publish(Thing, { tenantId: tenant, key: 'k', payload: { n: -1 } });
  await mill.publish(Thing, { tenantId: tenant, key: 'k', payload: { n: 2 } });
  interface Letter {
    eventId: string;
    status: string;
    waiting: number;
    fingerprint: string;
  }
  const letter = await eventually('the dead letter', async () => {
    const { body } = await get<{ items: Letter[] }>('/ops/dlq?status=pending');
    return body.items[0]?.waiting === 1 && body.items[0];
  });
  assert.equal(letter.eventId, bad.eventId);
  const path = `/ops/dlq/${group}/${bad.eventId}`;
  const groups = await get<{ items: { count: number }[] }>('/ops/dlq/fingerprints');
  assert.equal(groups.body.items[0]?.count, 1);
  const dry = await post<{ matched: number; changed: number }>('/ops/dlq/bulk', {
    fingerprint: letter.fingerprint,
    verb: 'retry',
    dryRun: true,
  });
  assert.deepEqual([dry.body.matched, dry.body.changed], [1, 0]);

  assert.equal(
    codeOf(await post(`${path}/edit-and-retry`, { payload: { n: 'x' } })),
    'EVENT_INVALID',
  );
  const edited = await post(`${path}/edit-and-retry`, { payload: { n: 1 } });
  assert.equal(edited.status, 200);
  await eventually('both events', () => handled.length === 2);
  assert.deepEqual(handled, [1, 2]);
  const again = await post(`${path}/skip`);
  assert.equal(again.status, 409);
  assert.equal(codeOf(again), 'DEAD_LETTER_STATE');
});

test('statistics cover the engine and the app; the mode changes while running', async (t) => {
  const { mill, get, post, tenant } = await open(t);
  await mill.start();
  const { body } = await get<{ app: unknown; tenants: string[] }>('/ops/statistics');
  assert.deepEqual(body.app, { answer: 42 });
  assert.deepEqual(body.tenants, [tenant]);
  const changed = await post<{ mode: string }>('/ops/mode', { mode: 'PollingOnly' });
  assert.equal(changed.body.mode, 'PollingOnly');
  assert.equal(mill.mode, 'PollingOnly');
  const refused = await post<ErrorBody>('/ops/mode', { mode: 'pollingonly' });
  assert.equal(refused.status, 400);
  assert.match(refused.body.error.message, /EventDrivenOnly, PollingOnly, Hybrid/);
});

test('wrong requests are told what is wrong, without a stack', async (t) => {
  const broken: Route = {
    method: 'GET',
    path: '/broken',
    tenant: 'none',
    handle: () => {
      throw new Error('password=secret');
    },
  };
  const { server, get, errors } = await open(t, [broken]);
  const noTenant = await server.dispatch({ method: 'GET', path: '/api/events' });
  assert.equal(noTenant.status, 400);
  assert.match(JSON.stringify(noTenant.body), /x-tenant-id/);
  const two = await get('/api/events?tenant=other');
  assert.equal(two.status, 400);
  assert.equal(codeOf(await get('/api/events?tpye=X')), 'REQUEST_INVALID');
  assert.equal(codeOf(await get('/api/events?limit=1&limit=2')), 'REQUEST_INVALID');
  assert.equal(codeOf(await get('/api/events?limit=0')), 'REQUEST_INVALID');
  assert.equal(codeOf(await get('/api/events?after=x')), 'REQUEST_INVALID');
  assert.equal(codeOf(await get('/api/events/42')), 'REQUEST_INVALID');
  assert.equal((await get('/api/events/00000000-0000-7000-8000-000000000000')).status, 404);
  const nowhere = await get<ErrorBody>('/ops/nothing');
  assert.equal(nowhere.status, 404);
  assert.match(nowhere.body.error.fix, /\/ops\/dlq/);
  const failed = await get<ErrorBody>('/broken');
  assert.equal(failed.status, 500);
  assert.doesNotMatch(JSON.stringify(failed.body), /secret|at /);
  assert.equal(errors.length, 1);
});

test('bodies are checked before a route sees them', async (t) => {
  const echo: Route = {
    method: 'POST',
    path: '/echo',
    tenant: 'none',
    handle: ({ body }) => ({ body: { got: body ?? null } }),
  };
  const { server } = await open(t, [echo]);
  const url = await listen(server);
  const send = async (body: string | Uint8Array, type = 'application/json') => {
    const headers = { 'content-type': type };
    const response = await fetch(`${url}/echo`, { method: 'POST', headers, body });
    return { status: response.status, text: await response.text() };
  };
  assert.deepEqual(JSON.parse((await send('{"a":[1]}')).text), { got: { a: [1] } });
  assert.deepEqual(JSON.parse((await send('')).text), { got: null });
  for (const bad of ['{"a":1', '{"a":1,"a":2}', '{"n":9007199254740993}', '{"__proto__":{}}']) {
    const { status, text } = await send(bad);
    assert.equal(status, 400, bad);
    assert.match(text, /PAYLOAD_NOT_JSON/);
  }
  assert.equal((await send(Uint8Array.of(0x22, 0xff, 0x22))).status, 400);
  assert.equal((await send('a=1', 'application/x-www-form-urlencoded')).status, 415);
  assert.equal((await send(`"${'x'.repeat(1024 * 1024)}"`)).status, 413);
});

test('only this machine is answered, and what is not HTTP gets JSON too', async (t) => {
  const { server } = await open(t);
  await assert.rejects(server.listen(0, '0.0.0.0'), { code: 'CONFIG_INVALID' });
  const url = await listen(server);
  const fromPage = await fetch(`${url}/health/live`, { headers: { origin: 'https://evil.test' } });
  assert.equal(fromPage.status, 403);
  const port = Number(new URL(url).port);
  assert.match(
    await raw(port, 'GET /health/live HTTP/1.1\r\nhost: evil.test\r\n\r\n'),
    /^HTTP\/1.1 403/,
  );
  const garbage = await raw(port, 'not http at all\r\n\r\n');
  assert.match(garbage, /^HTTP\/1.1 400/);
  assert.match(garbage, /"code":"REQUEST_INVALID"/);
});

async function listen(server: HttpServer): Promise<string> {
  return server.listen(0);
}

function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket(port, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
      if (answer.includes('}')) socket.end();
    });
    socket.on('close', () => resolve(answer));
    socket.on('error', reject);
  });
}

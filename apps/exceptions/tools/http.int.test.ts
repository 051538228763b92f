/** Network tools against a server on loopback: what is sent, how answers are judged, the guards. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { compilePacks } from '../packs/load.ts';
import { createHttpProvider, createWebhookProvider, signWebhook } from './http.ts';
import type { ToolOutcome } from './outcome.ts';
import { createToolRunner } from './runner.ts';

interface Seen {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

let server: Server;
let port = 0;
const seen: Seen[] = [];
const routes: Record<string, (response: ServerResponse) => void> = {
  '/ok': (response) => response.end('{"status":"done"}'),
  '/text': (response) => response.end('plain'),
  '/busy': (response) => response.writeHead(503).end('later'),
  '/wrong': (response) => response.writeHead(422).end('no such order'),
  '/huge': (response) => response.end('x'.repeat(3_000_000)),
  '/never': () => {},
  '/to-ok': (response) => response.writeHead(307, { location: '/ok' }).end(),
  '/loop': (response) => response.writeHead(307, { location: '/loop' }).end(),
  '/to-metadata': (response) =>
    response.writeHead(307, { location: 'http://169.254.169.254/latest' }).end(),
  '/to-other': (response) =>
    response.writeHead(307, { location: `http://other.test:${port}/ok` }).end(),
  '/see-other': (response) => response.writeHead(303, { location: '/ok' }).end(),
};

before(async () => {
  server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    seen.push({ method: request.method, url: request.url, headers: request.headers, body });
    (routes[request.url ?? ''] ?? routes['/ok'])?.(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});
after(() => {
  server.closeAllConnections();
  server.close();
});

const own = 'allowHttp: true, allowPrivate: true, tenantScope: global, executionMode';

interface Call {
  /** Members of the tool beside the endpoint. */
  readonly tool: string;
  readonly url?: string;
  readonly path?: string;
  readonly environment?: Record<string, string>;
  readonly addresses?: readonly string[];
  readonly signal?: AbortSignal;
}

/** A pack with one tool, `t`. */
function packWith(endpoint: string, tool: string) {
  const tools = `tools: { t: { endpoint: '${endpoint}', ${tool} } }`;
  const text = `domainName: shop\nexceptionTypes: {}\n${tools}`;
  return compilePacks([{ file: 'shop.yaml', text }], []);
}

/** Calls the tool of a pack made for it; host names resolve to `addresses`, else to loopback. */
function call({ tool, url, path = '/ok', ...more }: Call): Promise<ToolOutcome> | ToolOutcome {
  const endpoint = url ?? `http://tools.test:${port}${path}`;
  const packs = packWith(endpoint, tool);
  const network = {
    environment: more.environment ?? {},
    now: () => 1_767_323_045_000,
    resolver: (
      _host: string,
      callback: (error: null, addresses: { address: string; family: number }[]) => void,
    ) => {
      const addresses = more.addresses ?? ['127.0.0.1'];
      callback(
        null,
        addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
      );
    },
  };
  return createToolRunner({
    http: createHttpProvider(network),
    webhook: createWebhookProvider(network),
  }).run({
    tenantId: 'acme',
    tool: packs.requireScope('acme', 'shop').tools.get('t'),
    toolName: 't',
    executionId: 'run-1:2',
    payload: { orderId: 'O-1' },
    attempt: 1,
    signal: more.signal ?? new AbortController().signal,
  });
}

async function failure(input: Call) {
  const outcome = await call(input);
  assert.ok(!outcome.ok, 'it should fail');
  const { errorCode, error, retryable } = outcome;
  return { errorCode, error, retryable };
}

describe('an http tool', () => {
  it('sends the payload with the execution id as idempotency key', async () => {
    const outcome = await call({ tool: `${own}: http` });
    assert.ok(outcome.ok);
    assert.deepEqual(outcome.output, { status: 'done' });
    const request = seen.at(-1);
    assert.equal(request?.method, 'POST');
    assert.equal(request?.body, '{"orderId":"O-1"}');
    assert.equal(request?.headers['idempotency-key'], 'run-1:2');
    assert.equal(request?.headers.host, `tools.test:${port}`);
  });

  it('sends its key from the environment, and is not called without it', async () => {
    const tool = `${own}: http, authType: api_key, secretEnv: SHOP_KEY`;
    assert.ok((await call({ tool, environment: { SHOP_KEY: 's3' } })).ok);
    assert.equal(seen.at(-1)?.headers['x-api-key'], 's3');
    const missing = await failure({ tool });
    assert.equal(missing.errorCode, 'TOOL_BLOCKED');
    assert.match(missing.error, /SHOP_KEY, the secret of tool t, is not set/);
  });

  it('keeps an answer that is no JSON as text, and cuts a long one', async () => {
    const text = await call({ tool: `${own}: http`, path: '/text' });
    assert.ok(text.ok);
    assert.deepEqual(text.output, { httpStatus: 200, body: 'plain', truncated: false });
    const huge = await call({ tool: `${own}: http`, path: '/huge' });
    assert.ok(huge.ok);
    assert.equal(huge.output.truncated, true);
    assert.equal(String(huge.output.body).length, 4_096);
  });

  it('tells what may pass from what will not', async () => {
    assert.deepEqual(await failure({ tool: `${own}: http`, path: '/busy' }), {
      errorCode: 'TOOL_FAILED',
      error: 'answered 503: later',
      retryable: true,
    });
    assert.deepEqual(await failure({ tool: `${own}: http`, path: '/wrong' }), {
      errorCode: 'TOOL_FAILED',
      error: 'answered 422: no such order',
      retryable: false,
    });
  });

  it('gives up at its deadline, and at a shutdown', async () => {
    const tool = `${own}: http, timeoutSeconds: 0.05`;
    const late = await failure({ tool, path: '/never' });
    assert.deepEqual([late.error, late.retryable], ['no answer within 50 ms', true]);
    const stopped = new AbortController();
    const waiting = failure({ tool: `${own}: http`, path: '/never', signal: stopped.signal });
    stopped.abort();
    assert.equal((await waiting).retryable, true);
  });

  it('refuses an answer that is not what the tool promises', async () => {
    const promise = 'outputSchema: { type: object, required: [receipt] }';
    const wrong = await failure({ tool: `${own}: http, ${promise}` });
    assert.equal(wrong.error, 'answer.receipt is required');
  });

  it('stops calling after five failures', async () => {
    const packs = packWith(`http://tools.test:${port}/busy`, `${own}: http`);
    const resolver: NonNullable<Parameters<typeof createHttpProvider>[0]>['resolver'] = (_, done) =>
      done(null, [{ address: '127.0.0.1', family: 4 }]);
    const runner = createToolRunner({ http: createHttpProvider({ resolver }), now: () => 0 });
    const request = {
      tenantId: 'acme',
      tool: packs.requireScope('acme', 'shop').tools.get('t'),
      toolName: 't',
      executionId: 'x',
      payload: {},
      attempt: 1,
      signal: new AbortController().signal,
    };
    const before = seen.length;
    for (let attempt = 0; attempt < 5; attempt++) await runner.run(request);
    const outcome = await runner.run(request);
    assert.equal(seen.length - before, 5);
    assert.ok(!outcome.ok);
    assert.deepEqual(
      [outcome.error, outcome.retryable],
      ['the circuit is open for 60 s more', true],
    );
    const other = await runner.run({ ...request, tenantId: 'other' });
    assert.ok(!other.ok && other.error.startsWith('answered 503'), 'another tenant still calls');
  });
});

describe('the guards of network tools', () => {
  const blockedBy = async (input: Call, pattern: RegExp) => {
    const before = seen.length;
    const { errorCode, error, retryable } = await failure(input);
    assert.match(error, pattern);
    assert.deepEqual([errorCode, retryable], ['TOOL_BLOCKED', false]);
    return seen.length - before;
  };
  const guarded = 'allowHttp: true, tenantScope: global, executionMode: http';

  it('refuse private addresses, where the connection is made', async () => {
    assert.equal(await blockedBy({ tool: guarded }, /tools\.test: 127\.0\.0\.1 is a private/), 0);
    const mixed = { tool: guarded, addresses: ['1.1.1.1', '10.0.0.1'] };
    assert.equal(await blockedBy(mixed, /10\.0\.0\.1 is a private/), 0);
    for (const url of [`http://127.0.0.1:${port}/ok`, `http://[::1]:${port}/ok`]) {
      assert.equal(await blockedBy({ tool: guarded, url }, /is a private or reserved/), 0);
    }
    const odd = { tool: guarded, url: `http://0x7f000001:${port}/ok` };
    assert.equal(await blockedBy(odd, /127\.0\.0\.1 is a private/), 0);
  });

  it('refuse metadata services to every tool', async () => {
    const tool = `${own}: http`;
    await blockedBy({ tool, addresses: ['169.254.169.254'] }, /metadata service/);
  });

  it('refuse hosts that are not on the list', async () => {
    const tool = `${own}: http, allowedDomains: ['*.example.org']`;
    await blockedBy({ tool }, /tools\.test is not on the tool's list of domains/);
  });

  it('refuse names and passwords in the address', async () => {
    const url = `http://ada:secret@tools.test:${port}/ok`;
    await blockedBy({ tool: `${own}: http`, url }, /user name or password/);
  });

  it('follow a redirect inside the list, and check each one', async () => {
    const tool = `${own}: http`;
    assert.ok((await call({ tool, path: '/to-ok' })).ok);
    await blockedBy({ tool, path: '/to-metadata' }, /169\.254\.169\.254 is not on the tool's list/);
    await blockedBy({ tool, path: '/to-other' }, /other\.test is not on the tool's list/);
    await blockedBy({ tool, path: '/loop' }, /too many redirects/);
    await blockedBy({ tool, path: '/see-other' }, /POST was answered with a redirect \(303\)/);
    const anywhere = `${own}: http, allowedDomains: ['*']`;
    await blockedBy({ tool: anywhere, path: '/to-metadata' }, /metadata service/);
  });

  it('keep secrets from another origin', async () => {
    const tool = `${own}: http, allowedDomains: ['*.test'], authType: api_key, secretEnv: KEY`;
    const outcome = await call({ tool, path: '/to-other', environment: { KEY: 's3' } });
    assert.ok(outcome.ok);
    assert.equal(seen.at(-2)?.headers['x-api-key'], 's3');
    assert.equal(seen.at(-1)?.headers['x-api-key'], undefined);
    assert.equal(seen.at(-1)?.body, '{"orderId":"O-1"}');
  });
});

describe('a webhook', () => {
  it('is signed as Standard Webhooks describe it', async () => {
    // The example of the specification's reference libraries.
    const signature = signWebhook(
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1_614_265_330,
      '{"test": 2432232314}',
    );
    assert.equal(signature, 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=');
  });

  it('carries id, time and signature of what was sent', async () => {
    const tool = `${own}: webhook, secretEnv: HOOK`;
    assert.ok((await call({ tool, environment: { HOOK: 'plain secret' } })).ok);
    const { headers, body } = seen.at(-1) as Seen;
    assert.deepEqual(JSON.parse(body), {
      type: 't',
      timestamp: '2026-01-02T03:04:05.000Z',
      data: { orderId: 'O-1' },
    });
    assert.equal(headers['webhook-id'], 'run-1:2');
    const expected = signWebhook(
      'plain secret',
      'run-1:2',
      Number(headers['webhook-timestamp']),
      body,
    );
    assert.equal(headers['webhook-signature'], expected);
  });

  it('is not sent without its secret, and follows no redirect', async () => {
    const tool = `${own}: webhook, secretEnv: HOOK`;
    assert.match((await failure({ tool })).error, /HOOK, the secret of tool t, is not set/);
    assert.match((await failure({ tool: `${own}: webhook` })).error, /needs secretEnv/);
    const moved = await failure({ tool, path: '/to-ok', environment: { HOOK: 'x' } });
    assert.match(moved.error, /too many redirects/);
  });
});

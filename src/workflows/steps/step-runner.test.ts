/** One try of a step: what it comes to, and what its handler is given. */
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, it } from 'node:test';
import { StoredRun } from '../../../test/support/stored-run.ts';
import { MillraceError, permanentFailure } from '../../core/errors.ts';
import { stepUuid } from '../../core/workflow/step-uuid.ts';
import type { HeldRun, StepCall, StepEnding, StepTools } from '../run/driver.ts';
import { defineApiHandler } from './define-api-handler.ts';
import { defineHandler } from './define-handler.ts';
import { HandlerRegistry } from './handler-registry.ts';
import { completeBatches, readDecision } from './outcomes.ts';
import { StepContext, type StepFactsSource } from './step-context.ts';
import { parseRetryAfter, stepError, viewFailure } from './step-failure.ts';
import { failure, StepHandler, success } from './step-handler.ts';
import { callStep } from './step-runner.ts';

const step = { no: 0, name: 'charge' } as StepCall['step'];

function call(handle: (tools: StepTools) => unknown, more: Partial<StepCall> = {}, run?: HeldRun) {
  const usual = { step, attempt: 1, attemptsMax: 3, timeoutMs: 0, transactional: false };
  return callStep(run ?? new StoredRun(null).hold(), { ...usual, ...more, handle });
}

function errorOf(ending: StepEnding) {
  assert.equal(ending.kind, 'error');
  return ending as Extract<StepEnding, { kind: 'error' }>;
}

describe('callStep', () => {
  it('prints what a handler returns, at once or later', async () => {
    for (const handle of [() => ({ a: [1] }), async () => ({ a: [1] })]) {
      const ending = await call(handle);
      assert.equal(ending.kind === 'value' && ending.resultJson, '{"a":[1]}');
    }
    const nothing = await call(() => undefined);
    assert.equal(nothing.kind === 'value' && nothing.resultJson, null);
  });

  it('names the path of what is not JSON', async () => {
    const { error, retryable } = errorOf(await call(() => ({ a: [new Date()] })));
    assert.equal(error.code, 'RESULT_INVALID');
    assert.match(error.message, /Step 'charge': result\.a\[0\] is a Date/);
    assert.equal(retryable, false);
  });

  it('ends a handler that takes too long, and lets a heartbeat put that off', async () => {
    let signal: AbortSignal | undefined;
    const slow = await call(
      (tools) => {
        signal = tools.signal;
        return new Promise(() => {});
      },
      { timeoutMs: 10 },
    );
    assert.equal(errorOf(slow).error.code, 'HANDLER_TIMEOUT');
    assert.equal(errorOf(slow).retryable, true);
    assert.equal(signal?.aborted, true);
    const beating = await call(
      async ({ heartbeat }) => {
        const until = performance.now() + 600;
        while (performance.now() < until) {
          heartbeat();
          await new Promise((resolve) => setImmediate(resolve));
        }
        return 'alive';
      },
      { timeoutMs: 300 },
    );
    assert.equal(beating.kind, 'value');
  });

  it('is aborted when its run is lost or its try is cancelled', async () => {
    const run = new StoredRun(null).hold();
    const lost = call(() => new Promise(() => {}), {}, run);
    run.lose();
    assert.equal((await lost).kind, 'aborted');
    assert.equal((await call(() => 1, {}, run)).kind, 'aborted', 'nothing begins any more');
    const cancel = new AbortController();
    let reason: unknown;
    const cancelled = call(
      ({ signal }) =>
        new Promise(() => signal.addEventListener('abort', () => (reason = signal.reason))),
      { cancel: cancel.signal },
    );
    cancel.abort('by hand');
    assert.equal((await cancelled).kind, 'aborted');
    assert.equal(reason, 'by hand');
  });

  it('keeps events that were published, as they were then', async () => {
    const payload = { n: 1 };
    const ending = await call(({ publishEvent }) => {
      publishEvent('a.b', payload);
      payload.n = 2;
      throw new Error('no');
    });
    assert.deepEqual(errorOf(ending).events, [['a.b', { n: 1 }]]);
  });

  it('rolls a transaction back unless the try succeeds', async () => {
    const stored = new StoredRun(null);
    const held = stored.hold();
    const log: string[] = [];
    const run: HeldRun = Object.create(held, {
      begin: {
        value: async () => ({
          tx: { query: async () => [] },
          commit: async () => void log.push('commit'),
          rollback: async () => void log.push('rollback'),
        }),
      },
      signal: { value: held.signal },
      info: { value: held.info },
    });
    const good = await call(({ tx }) => typeof tx?.query, { transactional: true }, run);
    assert.equal(good.kind === 'value' && good.value, 'function');
    assert.ok(good.kind === 'value' && good.transaction !== null);
    await call(() => Promise.reject(new Error('no')), { transactional: true }, run);
    assert.deepEqual(log, ['rollback']);
  });
});

describe('failures', () => {
  const status = (code: number, headers?: Record<string, string>) =>
    Object.assign(new Error('http'), { status: code, headers });

  it('says whether another try may help', () => {
    const cases: readonly (readonly [unknown, boolean])[] = [
      [new Error('any'), true],
      ['text', true],
      [permanentFailure('never'), false],
      [stepError('no', { retryable: false }), false],
      [stepError('yes'), true],
      ...[408, 429, 500, 501, 502, 503, 504].map((code) => [status(code), true] as const),
      ...[400, 401, 403, 404, 409, 422].map((code) => [status(code), false] as const),
      [new MillraceError('STORE_UNAVAILABLE', 'away'), true],
    ];
    for (const [thrown, retryable] of cases) {
      assert.equal(viewFailure(thrown).retryable, retryable, String(thrown));
    }
  });

  it('reads Retry-After in seconds and as a date', () => {
    const now = Date.parse('2026-01-01T00:00:00Z');
    assert.equal(parseRetryAfter('7', now), 7_000);
    assert.equal(parseRetryAfter('Thu, 01 Jan 2026 00:00:05 GMT', now), 5_000);
    assert.equal(parseRetryAfter('soon', now), null);
    assert.equal(viewFailure(status(429, { 'retry-after': '2' })).delayMs, 2_000);
    assert.equal(viewFailure(stepError('x', { delayMs: 9 })).delayMs, 9);
  });

  it('keeps the type as the code', () => {
    const { error } = viewFailure(stepError('declined', { type: 'CardDeclined' }));
    assert.equal(error.code, 'CardDeclined');
    assert.equal(error.fingerprint, 'CardDeclined: declined');
  });
});

function contextOf(facts: Partial<StepFactsSource> = {}): StepContext {
  const source: StepFactsSource = {
    ...{ taskUuid: 'run', stepUuid: 'step', correlationId: 'c', namespace: 'n' },
    ...{ input: { card: 'visa' }, config: {}, stepInputs: null, dependsOn: [], eventNames: [] },
    resultOf: (name) => (name === 'cart' ? { total: 3, lines: [{ sku: 'a' }] } : undefined),
    namesBefore: () => ['cart'],
    ownResult: undefined,
    checkpoint: null,
    saveCheckpoint: () => Promise.resolve(),
    ...facts,
  };
  const signal = new AbortController().signal;
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  return new StepContext(source, {
    ...{ runId: 'run', stepName: 'charge', idempotencyKey: 'run:charge' },
    ...{ attempt: 1, attemptsMax: 3, signal, log, tx: undefined },
    heartbeat: () => {},
    publishEvent: () => {},
  });
}

describe('handlers', () => {
  it('get what they ask for by name', () => {
    const ctx = contextOf();
    const handler = defineHandler(
      'Charge',
      { depends: { cart: 'cart', gone: 'nobody' }, inputs: { card: 'card' } },
      ({ cart, gone, card, context }) => [cart.total, gone, card, context.retryCount],
    );
    assert.deepEqual(handler.call(ctx), [3, undefined, 'visa', 0]);
    assert.deepEqual(handler.depends, ['cart', 'nobody']);
    assert.equal(ctx.getDependencyField('cart', 'lines', 0, 'sku'), 'a');
    assert.equal(ctx.getDependencyField('cart', 'lines', 5, 'sku'), undefined);
    assert.deepEqual(Object.keys(ctx.getAllDependencyResults('ca')), ['cart']);
    assert.throws(() => ctx.publishEvent('a.b', {}), /declares none/);
  });

  it('are found by name, by class, by method and by resolver', () => {
    class Ship extends StepHandler {
      static override readonly handlerName = 'Orders::Ship';
      call() {
        return this.success('shipped');
      }
      again() {
        return failure('no van', 'NoVan', false);
      }
    }
    const registry = new HandlerRegistry([Ship, defineHandler('Charge', {}, () => success(1))], {
      modules: (name) => (name === './x.ts' ? () => 'x' : null),
    });
    const bind = (callable: string, more: { method?: string; resolver?: string } = {}) =>
      registry.bind({ callable, method: null, resolver: null, initialization: {}, ...more });
    assert.equal(bind('Orders::Ship')?.call(contextOf()), 'shipped');
    assert.throws(() => bind('Orders::Ship', { method: 'again' })?.call(contextOf()), /no van/);
    assert.throws(() => bind('Orders::Ship', { method: 'agian' }), { fix: /'again'/ });
    assert.equal(bind('Charge')?.call(contextOf()), 1);
    assert.equal(bind('./x.ts', { resolver: 'modules' })?.call(contextOf()), 'x');
    assert.equal(bind('Nobody'), null);
    assert.throws(() => bind('Charge', { resolver: 'module' }), /no resolver 'module'/);
  });

  it('call services, and turn refusals into failures that say what they mean', async () => {
    const keys: unknown[] = [];
    const server = createServer((request, response) => {
      keys.push(request.headers['idempotency-key']);
      const status = Number(request.url?.slice(1));
      response.writeHead(status, { 'content-type': 'application/json', 'retry-after': '3' });
      response.end('{"ok":true}');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const handler = (status: number) =>
      defineApiHandler('Api', { baseUrl: `http://127.0.0.1:${port}` }, async ({ api }) => {
        return (await api.post(`/${status}`, { a: 1 })).data;
      });
    try {
      assert.deepEqual(await handler(200).call(contextOf()), { ok: true });
      for (const [status, retryable] of [
        [404, false],
        [429, true],
        [503, true],
      ] as const) {
        const thrown = await (handler(status).call(contextOf()) as Promise<unknown>).catch(
          (e) => e,
        );
        const view = viewFailure(thrown);
        assert.deepEqual([view.error.code, view.retryable], [`HTTP_${status}`, retryable]);
        assert.equal(view.delayMs, 3_000);
      }
      assert.deepEqual(keys, Array(4).fill('run:charge'));
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });
});

describe('outcomes', () => {
  const rule = { batchSize: 4, workerTemplate: 'work' };

  it('are cut from a number of items', () => {
    const { batch_processing_outcome: outcome } = completeBatches(
      's',
      { totalItems: 10 },
      rule,
    ) as {
      batch_processing_outcome: { cursor_configs: object[]; worker_count: number };
    };
    assert.equal(outcome.worker_count, 3);
    assert.deepEqual(outcome.cursor_configs[2], {
      batch_id: '003',
      start_cursor: 8,
      end_cursor: 10,
      batch_size: 2,
    });
    assert.deepEqual(completeBatches('s', { totalItems: 0 }, rule), {
      batch_processing_outcome: { type: 'no_batches' },
    });
    assert.throws(() => completeBatches('s', { totalItems: -1 }, rule), { code: 'RESULT_INVALID' });
    assert.throws(() => completeBatches('s', { totalItems: 1e9 }, rule), /10000 are allowed/);
  });

  it('of decisions are names, or are refused', () => {
    assert.deepEqual(readDecision('s', ['a', 'a']), { type: 'create_steps', step_names: ['a'] });
    assert.deepEqual(readDecision('s', null), { type: 'no_branches' });
    assert.throws(() => readDecision('s', { other: 1 }), { code: 'RESULT_INVALID' });
  });
});

it('ids of steps are UUIDs of their own that stay', () => {
  const runId = '018f0000-0000-7000-8000-ffffffffffff';
  const ids = Array.from({ length: 1_000 }, (_, no) => stepUuid(runId, no));
  assert.equal(new Set(ids).size, 1_000);
  assert.ok(ids.every((id) => /^018f0000-0000-8000-8000-[0-9a-f]{12}$/.test(id)));
  assert.equal(stepUuid(runId, 7), ids[7]);
});

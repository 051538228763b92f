import assert from 'node:assert/strict';
import { it } from 'node:test';
import { MillraceError } from '../core/errors.ts';
import { carryError, reviveError } from './carried-error.ts';

/** As it arrives: through a structured clone. */
const travel = (thrown: unknown) => reviveError(structuredClone(carryError(thrown)));

it('brings one of ours over whole', () => {
  const cause = new RangeError('too far');
  const details = { path: 'a.b', limit: 3 };
  const sent = new MillraceError('PERMANENT_FAILURE', 'no', { fix: 'go', details, cause });
  const arrived = travel(sent) as MillraceError;
  assert.ok(arrived instanceof MillraceError);
  assert.equal(arrived.code, 'PERMANENT_FAILURE');
  assert.equal(arrived.message, 'no');
  assert.equal(arrived.fix, 'go');
  assert.equal(arrived.retryable, false);
  assert.deepEqual(arrived.details, details);
  assert.equal(arrived.stack, sent.stack);
  assert.equal((arrived.cause as Error).name, 'RangeError');
});

it('keeps name, stack and plain members of others', () => {
  class QuotaError extends Error {
    override name = 'QuotaError';
    code = 'E_QUOTA';
    limit = { max: 3 };
    socket = () => {};
  }
  const sent = new QuotaError('full');
  const arrived = travel(sent) as QuotaError;
  assert.ok(arrived instanceof Error);
  assert.deepEqual(
    [arrived.name, arrived.message, arrived.code],
    ['QuotaError', 'full', 'E_QUOTA'],
  );
  assert.deepEqual(arrived.limit, { max: 3 });
  assert.equal(arrived.socket, undefined);
  assert.equal(arrived.stack, sent.stack);
});

it('knows a class made from ours by its code', () => {
  class QueueError extends MillraceError {
    static {
      Object.defineProperty(QueueError.prototype, 'name', { value: 'QueueError' });
    }
  }
  const arrived = travel(new QueueError('PERMANENT_FAILURE', 'no')) as MillraceError;
  assert.ok(arrived instanceof MillraceError);
  assert.deepEqual([arrived.name, arrived.code], ['QueueError', 'PERMANENT_FAILURE']);
});

it('does not take a stranger for one of ours', () => {
  const stranger = Object.assign(new Error('x'), { name: 'MillraceError', code: 'NO_SUCH_CODE' });
  assert.ok(!(travel(stranger) instanceof MillraceError));
});

it('carries whatever was thrown', () => {
  const loop = new Error('loop');
  loop.cause = loop;
  const trap = new Proxy(new Error('x'), {
    get: () => assert.fail('trapped'),
    getPrototypeOf: () => assert.fail('trapped'),
  });
  const angry = new Error('angry');
  Object.defineProperty(angry, 'message', { get: () => assert.fail('no message') });
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const big = Object.assign(new Error('x'.repeat(1_000_000)), { cyclic, n: 1n, s: Symbol('s') });
  for (const thrown of [
    loop,
    trap,
    angry,
    big,
    null,
    undefined,
    Object.create(null),
    1n,
    () => 1,
  ]) {
    travel(thrown);
  }
  assert.equal(travel('text'), 'text');
  assert.equal(travel(null), 'object');
  assert.ok((travel(big) as Error).message.length < 20_000);
});

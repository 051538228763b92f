import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runInNewContext } from 'node:vm';
import { errorRecord, kindOf } from './error-record.ts';
import { MillraceError } from './errors.ts';

describe('the record of an error', () => {
  it('has its code, message and stack', () => {
    const record = errorRecord(new MillraceError('TOOL_FAILED', 'Tool 7 said no.'));
    assert.equal(record.code, 'TOOL_FAILED');
    assert.equal(record.message, 'Tool 7 said no.');
    assert.match(record.stack ?? '', /^MillraceError: Tool 7 said no\.\n\s+at /);
    assert.equal(record.fingerprint, 'TOOL_FAILED: Tool <n> said no.');
  });

  it('has the name where there is no code', () => {
    assert.equal(errorRecord(new TypeError('x')).code, 'TypeError');
    assert.equal(errorRecord(Object.assign(new Error('x'), { code: 42 })).code, 'Error');
  });

  it('tells the causes, each once', () => {
    const root = new Error('the disk is full');
    const error = new Error('not written', { cause: new Error('no space', { cause: root }) });
    root.cause = error;
    const { stack } = errorRecord(error);
    const heads = (stack ?? '').split('\n').filter((line) => !line.startsWith(' '));
    assert.deepEqual(heads, [
      'Error: not written',
      'Caused by: Error: no space',
      'Caused by: Error: the disk is full',
    ]);
    const self = new Error('self');
    self.cause = self;
    assert.equal(errorRecord(self).stack?.includes('Caused by'), false);
  });

  it('says what several failures said when the error itself says nothing', () => {
    const refused = [new Error('connect ::1'), new Error(''), new Error('connect 127.0.0.1'), 7];
    const error = Object.assign(new AggregateError(refused, ''), { code: 'ECONNREFUSED' });
    const { code, message } = errorRecord(error);
    assert.deepEqual([code, message], ['ECONNREFUSED', 'connect ::1; connect 127.0.0.1']);
  });

  it('takes errors of other realms, and objects with a message', () => {
    assert.equal(errorRecord(runInNewContext('new RangeError("far")')).code, 'RangeError');
    const plain = { message: 'quota exceeded', code: 'E_QUOTA' };
    assert.deepEqual(errorRecord(plain), {
      code: 'E_QUOTA',
      message: 'quota exceeded',
      stack: 'quota exceeded',
      fingerprint: 'E_QUOTA: quota exceeded',
    });
  });
});

function hostile(): unknown[] {
  const cyclic: Record<string, unknown> = {};
  cyclic.self = cyclic;
  const explode = () => {
    throw new Error('from inside');
  };
  const traps = { get: explode, getPrototypeOf: explode, ownKeys: explode, has: explode };
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const revokedList = Proxy.revocable([], {});
  revokedList.revoke();
  const getters = new Error('x');
  for (const member of ['message', 'stack', 'code', 'name', 'cause', 'errors']) {
    Object.defineProperty(getters, member, { get: explode });
  }
  return [
    ...['', 'text', undefined, null, 7, 7n, Number.NaN, true, Symbol('s'), () => 1, cyclic],
    ...[[], {}, Object.create(null), { toJSON: explode }, { toJSON: () => undefined }, getters],
    ...[
      Object.assign(() => 1, { toString: explode }),
      new Proxy({}, traps),
      new Proxy(new Error('p'), traps),
      revoked.proxy,
    ],
    { message: '', errors: revokedList.proxy, cause: revoked.proxy },
    Object.assign(new Error('nul \0 and \ud800'), { code: 'C\0\udfff', stack: 7 }),
    Object.assign(new Error(''), { message: 7, stack: null, cause: 0, name: Symbol('n') }),
    new Error('é'.repeat(1_000_000), { cause: new Error('y'.repeat(100_000)) }),
    new Error(`${'x'.repeat(4_095)}😀`),
  ];
}

describe('whatever was thrown', () => {
  it('can be recorded, within bounds, as text that stores take', () => {
    for (const thrown of hostile()) {
      const { code, message, stack, fingerprint } = errorRecord(thrown);
      assert.ok(message.length > 0 && message.length <= 4_096);
      assert.ok(code === null || code.length <= 100);
      assert.ok(stack === null || stack.length <= 8_192);
      assert.ok(fingerprint.length > 0 && fingerprint.length < 270);
      for (const text of [message, code ?? '', stack ?? '', fingerprint]) {
        assert.ok(text.isWellFormed() && !text.includes('\0'));
      }
    }
  });
});

describe('the kind of a message', () => {
  it('leaves out what differs from case to case', () => {
    const same: readonly [string, string][] = [
      ['order 17 of 3.5 kg is late', 'order 4 of 12 kg is late'],
      ["no account 'a-1'", "no account 'b'"],
      ['no "x"', 'no "y z"'],
      [`event ${crypto.randomUUID()}`, `event ${crypto.randomUUID()}`],
      ['document 507f1f77bcf86cd799439011', 'document 507f191e810c19729de860ea'],
      ['job 17-4242 is gone', 'job 3-1 is gone'],
    ];
    for (const [one, other] of same) assert.equal(kindOf(one), kindOf(other));
  });

  it('keeps what tells kinds apart', () => {
    assert.notEqual(kindOf('order is late'), kindOf('order is lost'));
    assert.equal(kindOf('a defaced facade'), 'a defaced facade');
    assert.ok(kindOf('x '.repeat(10_000)).length <= 160);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { parseBackoff } from './backoff.ts';
import { MillraceError } from './errors.ts';
import { defineJob } from './job-definition.ts';

const schema = z.object({ invoiceId: z.string(), copies: z.number().default(1) });
const Send = defineJob('invoice.send', {
  queue: 'invoices',
  schema,
  version: 2,
  upcasters: { 1: ({ id }: { id: string }) => ({ invoiceId: id }) },
  priority: -5,
  attempts: 4,
  backoff: { kind: 'fixed', delayMs: 10 },
  timeoutMs: 1_000,
  key: ({ invoiceId }) => invoiceId.slice(0, 3),
  handler: ({ copies }) => copies,
});
const Bare = defineJob('bare');

/** Runs it and answers with the error's code and message. */
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof MillraceError, String(error));
    assert.ok(error.fix.length > 0);
    return `${error.code} ${error.message}`;
  }
  assert.fail('it was taken');
}

describe('a definition', () => {
  it('is frozen and has every default', () => {
    const { name, queue, version, priority, attempts, timeoutMs, transactional, body } = Bare;
    assert.deepEqual(
      { name, queue, version, priority, attempts, timeoutMs, transactional, body },
      {
        name: 'bare',
        queue: 'default',
        version: 1,
        priority: 0,
        attempts: 3,
        timeoutMs: 300_000,
        transactional: false,
        body: { kind: 'none' },
      },
    );
    assert.deepEqual(Bare.backoff, parseBackoff({}));
    assert.ok(Object.isFrozen(Bare) && Object.isFrozen(Bare.body) && Object.isFrozen(Bare.backoff));
  });

  it('says what runs it', () => {
    const handler = async () => {};
    const module = new URL('file:///render.ts');
    assert.deepEqual(defineJob('a', { handler }).body, { kind: 'single', handle: handler });
    assert.deepEqual(
      defineJob('a', { batch: { max: 9 }, handler: (jobs) => jobs.map(() => 1) }).body.kind,
      'batch',
    );
    assert.deepEqual(defineJob('a', { sandbox: { module } }).body, {
      kind: 'sandbox',
      module,
      memoryMbMax: null,
    });
    const sandbox = { module: 'file:///render.ts', memoryMbMax: 64 };
    const { body } = defineJob('a', { sandbox });
    assert.ok(body.kind === 'sandbox' && body.module.href === module.href);
    assert.equal(body.memoryMbMax, 64);
  });

  it('is refused with the option that is wrong', () => {
    const handler = () => 1;
    const module = new URL('file:///a.ts');
    const cases: readonly [unknown, RegExp, string?][] = [
      [{}, /The job name '' is not a name/, ''],
      [{}, /The job name '1st' is not a name/, '1st'],
      [null, /its options are null, not an object/],
      [{ retries: 3 }, /retries is not an option/],
      [{ queue: 'my queue' }, /the queue 'my queue' is not a name/],
      [{ queue: 7 }, /the queue '7' is not a name/],
      [{ schema: {} }, /schema is an object, which does not implement Standard Schema/],
      [{ result: 'text' }, /result is a string, which does not implement/],
      [{ progress: () => 1 }, /progress is a function, which does not implement/],
      [{ version: 0 }, /version is 0, not a whole number from 1/],
      [{ version: 2 }, /there is no upcaster from version 1/],
      [{ upcasters: { 1: handler } }, /there is an upcaster from version 1, but version is 1/],
      [{ priority: 1.5 }, /priority is 1.5, not a whole number from -2147483648 to 2147483647/],
      [{ priority: '1' }, /priority is a string/],
      [{ attempts: 0 }, /attempts is 0, not a whole number from 1 to 1000/],
      [{ timeoutMs: -1 }, /timeoutMs is -1/],
      [{ timeoutMs: Number.NaN }, /timeoutMs is NaN/],
      [{ key: 'customerId' }, /key is a string, not a function/],
      [{ unique: {} }, /unique is an object, not a function/],
      [{ handler: 'send' }, /handler is a string, not a function/],
      [{ transactional: 'yes' }, /transactional is a string, not a boolean/],
      [{ batch: { max: 9 } }, /batch is given without a handler/],
      [{ batch: 9, handler }, /batch is a number, not an object/],
      [{ batch: {}, handler }, /batch.max is undefined, not a whole number from 1 to 10000/],
      [{ batch: { max: 1, wait: 1 }, handler }, /batch.wait is not an option/],
      [{ batch: { max: 1, waitMs: -1 }, handler }, /batch.waitMs is -1/],
      [{ batch: { max: 1 }, transactional: true, handler }, /batch and transactional exclude/],
      [{ sandbox: { module }, handler }, /sandbox and handler exclude each other/],
      [{ sandbox: { module }, transactional: true }, /sandbox and transactional exclude/],
      [{ sandbox: { module }, batch: { max: 1 } }, /sandbox and batch exclude/],
      [{ sandbox: { module: './a.ts' } }, /sandbox.module is a string that is not a URL/],
      [{ sandbox: {} }, /sandbox.module is undefined that is not a URL/],
      [{ sandbox: module }, /sandbox.* is not a/],
      [{ sandbox: { module, memoryMbMax: 1 } }, /sandbox.memoryMbMax is 1, not a whole number/],
    ];
    for (const [options, expected, name = 'job'] of cases) {
      const message = refusal(() => defineJob(name, options as object));
      assert.match(message, /^DEFINITION_INVALID /);
      assert.match(message, expected);
    }
    const message = refusal(() => defineJob('job', { backoff: { kind: 'custom' } as never }));
    assert.equal(message, 'CONFIG_INVALID job.backoff.delay is undefined, not a function.');
  });

  it('takes names as other queues have them', () => {
    for (const name of ['invoice.processing', 'email:send', 'billing/close-month', 'A_1']) {
      assert.equal(defineJob(name).name, name);
    }
  });
});

describe('a prepared job', () => {
  it('is validated, printed and filled up', () => {
    assert.deepEqual(Send.prepare({ invoiceId: 'abc-1' }), {
      queue: 'invoices',
      tenantId: 'default',
      key: 'abc',
      priority: -5,
      name: 'invoice.send',
      version: 2,
      payloadJson: '{"invoiceId":"abc-1","copies":1}',
      optionsJson: null,
      delayMs: 0,
      unique: null,
      dependsOn: [],
      onParentFailure: 'wait',
    });
    assert.equal(Bare.prepare(undefined).payloadJson, 'null');
    assert.equal(Bare.prepare([1, -0]).payloadJson, '[1,0]');
  });

  it('takes what it says itself over what its definition says', () => {
    const job = Send.prepare(
      { invoiceId: 'abc-1' },
      {
        tenantId: 'acme',
        key: '',
        priority: 7,
        delayMs: 0.5,
        attempts: 9,
        timeoutMs: 0,
        backoff: 5,
        unique: { key: 'u' },
        dependsOn: ['1-2', { id: '3-4' }, '1-2'],
        onParentFailure: 'cancel',
        correlationId: 'c',
        causationId: 'e',
        traceparent: '00-1-2-01',
        metadata: { source: 'test' },
      },
    );
    assert.deepEqual(job, {
      queue: 'invoices',
      tenantId: 'acme',
      key: '',
      priority: 7,
      name: 'invoice.send',
      version: 2,
      payloadJson: '{"invoiceId":"abc-1","copies":1}',
      optionsJson: job.optionsJson,
      delayMs: 1,
      unique: { key: 'u', mode: 'reject', windowMs: 0 },
      dependsOn: [
        { lane: 1, offset: 2 },
        { lane: 3, offset: 4 },
      ],
      onParentFailure: 'cancel',
    });
    assert.deepEqual(Send.settings(job.optionsJson), {
      attempts: 9,
      timeoutMs: 0,
      backoff: parseBackoff(5),
      correlationId: 'c',
      causationId: 'e',
      traceparent: '00-1-2-01',
      metadata: { source: 'test' },
    });
  });

  it('stores no options that say nothing new', () => {
    const backoff = { kind: 'fixed', delayMs: 10 } as const;
    const same = { attempts: 4, timeoutMs: 1_000, backoff, metadata: {}, correlationId: undefined };
    assert.equal(Send.prepare({ invoiceId: 'a' }, { ...same, tenantId: 't' }).optionsJson, null);
    const { optionsJson } = Send.prepare({ invoiceId: 'a' }, { ...same, attempts: 5 });
    assert.equal(optionsJson, '{"attempts":5}');
  });

  it('becomes due at its time', () => {
    const nowMs = Date.parse('2025-01-31T12:00:00Z');
    const delay = (runAt: string) => Bare.prepare(1, { runAt: new Date(runAt) }, nowMs).delayMs;
    assert.equal(delay('2025-01-31T12:00:05Z'), 5_000);
    assert.equal(delay('2025-01-31T11:00:00Z'), 0);
  });

  it('is unique by its definition, by its own word, or not at all', () => {
    const Unique = defineJob('unique', {
      schema: z.object({ id: z.string(), mode: z.enum(['keep', 'throttle']).nullable() }),
      unique: ({ id, mode }) =>
        mode && { key: id, mode, ...(mode === 'throttle' && { windowMs: 9.5 }) },
    });
    const unique = (mode: 'keep' | 'throttle' | null, options = {}) =>
      Unique.prepare({ id: 'x', mode }, options).unique;
    assert.deepEqual(unique('keep'), { key: 'x', mode: 'keep', windowMs: 0 });
    assert.deepEqual(unique('throttle'), { key: 'x', mode: 'throttle', windowMs: 10 });
    assert.equal(unique(null), null);
    assert.equal(unique('keep', { unique: null }), null);
    const other = { key: 'y', mode: 'debounce', windowMs: 5 };
    assert.deepEqual(unique('keep', { unique: other }), other);
  });
});

describe('a job that cannot be enqueued', () => {
  it('is refused with the path of the payload that is wrong', () => {
    assert.match(
      refusal(() => Send.prepare({ invoiceId: 7 } as never)),
      /^JOB_INVALID invoice.send: payload.invoiceId: /,
    );
    assert.match(
      refusal(() => Bare.prepare({ at: [new Date()] })),
      /^PAYLOAD_NOT_JSON payload.at\[0\] is a Date/,
    );
    assert.match(
      refusal(() => Bare.prepare('x'.repeat(1_048_576))),
      /^JOB_TOO_LARGE bare: payload takes 1048578 bytes as JSON; 1048576 are allowed/,
    );
    const Async = defineJob('async', { schema: z.string().refine(async () => true) });
    assert.match(
      refusal(() => Async.prepare('x')),
      /^DEFINITION_INVALID /,
    );
  });

  it('is refused with the option that is wrong', () => {
    const cases: readonly [unknown, RegExp][] = [
      [{ delay: 5 }, /delay is not an option/],
      [{ tenantId: '' }, /tenantId is the empty string/],
      [{ tenantId: 'a\nb' }, /tenantId has a control character at index 1/],
      [{ tenantId: 'x'.repeat(129) }, /tenantId has 129 characters; 128 are allowed/],
      [{ key: 7 }, /key is a number, not a string/],
      [{ key: '\ud800' }, /key has half of a surrogate pair/],
      [{ priority: 2 ** 31 }, /priority is 2147483648, not a whole number/],
      [{ delayMs: -1 }, /delayMs is -1 ms away; 0 to/],
      [{ delayMs: Number.NaN }, /delayMs is NaN ms away/],
      [{ delayMs: '5' }, /delayMs is a string/],
      [{ delayMs: 1, runAt: new Date() }, /runAt and delayMs exclude each other/],
      [{ runAt: '2025-01-01' }, /runAt is a string that holds no time/],
      [{ runAt: new Date(Number.NaN) }, /runAt is a Date that holds no time/],
      [{ runAt: new Date(8.64e15) }, /runAt is \d+ ms away/],
      [{ attempts: 0 }, /attempts is 0, not a whole number from 1 to 1000/],
      [{ timeoutMs: 0.5 }, /timeoutMs is 0.5/],
      [{ backoff: { kind: 'custom', delay: () => 1 } }, /backoff is a function, which cannot be/],
      [{ unique: 'x' }, /unique is a string, not \{ key, mode, windowMs \}/],
      [{ unique: {} }, /unique.key is undefined, not a string/],
      [{ unique: { key: 'x', mode: 'once' } }, /unique.mode is not one of reject, keep/],
      [{ unique: { key: 'x', mode: 'throttle' } }, /windowMs is undefined; throttle needs/],
      [{ unique: { key: 'x', mode: 'debounce', windowMs: 0 } }, /windowMs is 0; debounce needs/],
      [{ unique: { key: 'x', windowMs: 5 } }, /unique.windowMs is given, but mode is 'reject'/],
      [
        { unique: { key: 'x', mode: 'debounce', windowMs: 5 }, delayMs: 5 },
        /delayMs and the unique mode debounce exclude/,
      ],
      [{ dependsOn: '1-2' }, /dependsOn is a string, not an array/],
      [{ dependsOn: ['1-2', null] }, /dependsOn\[1\] is null, not a job id/],
      [{ dependsOn: Array.from({ length: 1_001 }, (_, i) => `1-${i + 1}`) }, /has 1001 jobs/],
      [{ onParentFailure: 'fail' }, /onParentFailure is not 'wait', 'cancel' or 'run'/],
      [{ correlationId: '' }, /correlationId is the empty string/],
      [{ causationId: 7 }, /causationId is a number/],
      [{ traceparent: null }, /traceparent is null/],
      [{ metadata: [] }, /metadata is an array, not an object/],
    ];
    for (const [options, expected] of cases) {
      const message = refusal(() => Bare.prepare(1, options as object));
      assert.match(message, /^JOB_INVALID bare: /);
      assert.match(message, expected);
    }
    const others: readonly [unknown, RegExp][] = [
      [{ backoff: -1 }, /^CONFIG_INVALID bare: backoff.delayMs is -1/],
      [{ dependsOn: ['x'] }, /^REQUEST_INVALID 'x' is not a job id/],
      [{ metadata: { at: 7n } }, /^PAYLOAD_NOT_JSON metadata.at is a BigInt/],
      [{ metadata: { a: 'x'.repeat(70_000) } }, /^JOB_TOO_LARGE bare: options takes/],
    ];
    for (const [options, expected] of others) {
      assert.match(
        refusal(() => Bare.prepare(1, options as object)),
        expected,
      );
    }
  });

  it('is refused when its definition throws or answers nonsense', () => {
    const Broken = defineJob('broken', {
      key: (payload) => (payload as { key: { name: string } }).key.name,
      unique: (payload) => payload as { key: string },
    });
    const messages = [null, { key: { name: 7 } }, { key: { name: 'x' } }].map((payload) =>
      refusal(() => Broken.prepare(payload)),
    );
    assert.deepEqual(messages, [
      'JOB_INVALID broken: its key function threw.',
      'JOB_INVALID broken: key is a number, not a string.',
      'JOB_INVALID broken: unique.key is an object, not a string.',
    ]);
  });
});

describe('a stored job', () => {
  it('comes back as it was enqueued, a copy for each call', () => {
    const { version, payloadJson } = Send.prepare({ invoiceId: 'abc', copies: 3 });
    const payload = Send.decode(version, payloadJson);
    assert.deepEqual(payload, { invoiceId: 'abc', copies: 3 });
    assert.notEqual(Send.decode(version, payloadJson), payload);
  });

  it('is upcast step by step, then validated', () => {
    assert.deepEqual(Send.decode(1, '{"id":"abc"}'), { invoiceId: 'abc', copies: 1 });
    const steps = defineJob('steps', {
      version: 3,
      upcasters: { 1: (text: string) => `${text}2`, 2: (text: string) => `${text}3` },
    });
    assert.deepEqual(
      [1, 2, 3].map((from) => steps.decode(from, '"v"')),
      ['v23', 'v3', 'v'],
    );
  });

  it('is refused when it is newer than this release, or was upcast wrongly', () => {
    const Thrown = defineJob('thrown', {
      version: 2,
      upcasters: {
        1: () => {
          throw new Error('no such member');
        },
      },
    });
    const messages = [
      refusal(() => Send.decode(3, '{}')),
      refusal(() => Send.decode(0, '{}')),
      refusal(() => Send.decode(1, '{}')),
      refusal(() => Thrown.decode(1, '{}')),
    ];
    assert.match(
      messages[0] ?? '',
      /^JOB_VERSION_UNSUPPORTED invoice.send: version 3 was enqueued; versions 1 to 2 are known/,
    );
    assert.match(messages[1] ?? '', /^JOB_VERSION_UNSUPPORTED/);
    assert.match(
      messages[2] ?? '',
      /^JOB_INVALID invoice.send: a payload of version 1 could not be upcast: payload.invoiceId: /,
    );
    assert.match(messages[3] ?? '', /the upcaster from version 1 threw: no such member\.$/);
  });

  it('has the settings of its definition where it says nothing', () => {
    const usual = Send.settings(null);
    assert.equal(usual, Send.settings(null));
    assert.equal(usual.backoff, Send.backoff);
    assert.deepEqual(Send.settings('{"backoff":{"kind":"of the future"},"timeoutMs":5}'), {
      ...usual,
      timeoutMs: 5,
    });
  });
});

describe('what a handler returns', () => {
  const Count = defineJob('count', {
    result: z.object({ n: z.number(), unit: z.string().default('kg') }),
  });

  it('is printed and read back', () => {
    assert.equal(Bare.printResult(undefined), null);
    assert.equal(Bare.decodeResult(null), undefined);
    for (const value of [null, 0, '', { a: [1, undefined].slice(0, 1) }]) {
      assert.deepEqual(Bare.decodeResult(Bare.printResult(value)), value);
    }
    assert.deepEqual(Count.decodeResult(Count.printResult({ n: 1 })), { n: 1, unit: 'kg' });
  });

  it('is refused with the path of what cannot be stored', () => {
    const cyclic: Record<string, unknown> = { a: {} };
    (cyclic.a as Record<string, unknown>).b = cyclic;
    const throws = {
      get member() {
        throw new Error('from inside');
      },
    };
    const cases: readonly [unknown, RegExp][] = [
      [{ total: 7n }, /^RESULT_INVALID bare: result.total is a BigInt/],
      [[() => 1], /^RESULT_INVALID bare: result\[0\] is a function/],
      [{ at: new Date() }, /^RESULT_INVALID bare: result.at is a Date, not a plain object/],
      [new Map(), /^RESULT_INVALID bare: result is a Map/],
      [cyclic, /^RESULT_INVALID bare: result contains itself/],
      [Number.NaN, /^RESULT_INVALID bare: result is NaN/],
      ['\ud800', /^RESULT_INVALID bare: result holds half of a surrogate pair/],
      [throws, /^RESULT_INVALID bare: result cannot be read/],
      ['x'.repeat(1_048_576), /^RESULT_INVALID bare: result has 1048578 characters as JSON/],
    ];
    for (const [value, expected] of cases) {
      assert.match(
        refusal(() => Bare.printResult(value)),
        expected,
      );
    }
    for (const value of [undefined, { n: 'one' }]) {
      assert.match(
        refusal(() => Count.printResult(value)),
        /^RESULT_INVALID count: result/,
      );
    }
  });
});

describe('progress', () => {
  it('is printed, or refused as a wrong use of the context', () => {
    const Percent = defineJob('percent', { progress: z.object({ percent: z.number() }) });
    assert.equal(Percent.printProgress({ percent: 5 }), '{"percent":5}');
    assert.equal(Bare.printProgress(undefined), 'null');
    assert.match(
      refusal(() => Percent.printProgress({ percent: '5' } as never)),
      /^HANDLER_FAILED percent: progress.percent: /,
    );
    assert.match(
      refusal(() => Bare.printProgress(7n)),
      /^HANDLER_FAILED bare: progress is a BigInt/,
    );
  });
});

/** Every fault is done for real, in a real thread; each of these tests ends with main alive. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { eventually } from '../../../test/support/eventually.ts';
import { MillraceError } from '../../core/errors.ts';
import { outcomeOf } from '../../core/job-outcome.ts';
import { SandboxPool, type SandboxPoolOptions, type SandboxRun } from './sandbox-pool.ts';

const context = {
  id: '1-1',
  name: 'test.job',
  queue: 'default',
  tenantId: 'default',
  key: '',
  attempt: 1,
  priority: 0,
  enqueuedAt: new Date(0),
  correlationId: null,
  traceparent: null,
  metadata: {},
};

/** A module that exports this function by default. */
function moduleOf(code: string): URL {
  return new URL(`data:text/javascript,${encodeURIComponent(`export default ${code}`)}`);
}

function openPool(t: TestContext, options: SandboxPoolOptions = {}): SandboxPool {
  const pool = new SandboxPool({ max: 2, graceMs: 50, ...options });
  t.after(() => pool.close());
  return pool;
}

function task(code: string, options: Partial<SandboxRun> = {}): SandboxRun {
  return {
    module: moduleOf(code),
    payload: null,
    context,
    timeoutMs: 20_000,
    signal: new AbortController().signal,
    ...options,
  };
}

function failsWith(code: string, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof MillraceError, String(error));
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  };
}

const echo = task('(payload) => payload', { payload: 'alive' });

describe('a sandboxed handler', () => {
  it('gets payload and context, and its result comes back', async (t) => {
    const pool = openPool(t);
    const code = `async (payload, ctx) => {
      const { threadId } = await import('node:worker_threads');
      return { payload, id: ctx.id, at: ctx.enqueuedAt, aborted: ctx.signal.aborted, threadId };
    }`;
    const payload = { list: [1, 2], text: 'ä' };
    const { threadId, ...result } = (await pool.run(task(code, { payload }))) as {
      threadId: number;
    };
    assert.deepEqual(result, { payload, id: '1-1', at: new Date(0), aborted: false });
    assert.ok(threadId > 0);
  });

  it('may be a module of TypeScript', async (t) => {
    const directory = await mkdtemp(path.join(tmpdir(), 'millrace-sandbox-'));
    t.after(() => rm(directory, { recursive: true, force: true }));
    const file = path.join(directory, 'double.ts');
    await writeFile(file, 'export default (n: number): number => n * 2;\n');
    const pool = openPool(t);
    assert.equal(await pool.run(task('', { module: pathToFileURL(file), payload: 21 })), 42);
  });

  it('shows progress while it is busy, and its last one always', async (t) => {
    const pool = openPool(t);
    const seen: unknown[] = [];
    const code = '(n, ctx) => { for (let i = 0; i <= n; i += 1) ctx.progress(i); }';
    const onProgress = (value: unknown) => seen.push(value);
    await pool.run(task(code, { payload: 100_000, onProgress }));
    assert.equal(seen[0], 0);
    assert.equal(seen.at(-1), 100_000);
    assert.ok(seen.length < 1_000, `${seen.length} messages`);
  });

  it('logs, and learns what its parents answered', async (t) => {
    const pool = openPool(t);
    const lines: unknown[] = [];
    const line = (level: string) => (message: string, fields?: object) =>
      void lines.push([level, message, fields]);
    const log = {
      debug: line('debug'),
      info: line('info'),
      warn: line('warn'),
      error: line('error'),
    };
    const code = `async (_, ctx) => {
      ctx.log.info('begun', { n: 1 });
      ctx.log.error('with what cannot be copied', { f: () => 1 });
      for (let i = 0; i < 5_000; i += 1) ctx.log.debug('again');
      return [await ctx.results(), await ctx.results()];
    }`;
    const results = async () => ['first', { second: 2 }];
    const answer = await pool.run(task(code, { log, results }));
    assert.deepEqual(answer, [await results(), await results()]);
    assert.deepEqual(lines.slice(0, 2), [
      ['info', 'begun', { n: 1 }],
      ['error', 'with what cannot be copied', undefined],
    ]);
    assert.equal(lines.length, 1_000);
    const refused = pool.run(
      task(code, { results: () => Promise.reject(new Error('no parents')) }),
    );
    await assert.rejects(refused, /no parents/);
    const functions = pool.run(task(code, { results: async () => [() => 1] }));
    await assert.rejects(functions, /cannot be copied/);
  });

  it('may cancel or put off its job', async (t) => {
    const pool = openPool(t);
    const outcomes = new URL('../../core/job-outcome.ts', import.meta.url).href;
    const code = `async (verb) => { throw (await import('${outcomes}'))[verb](500); }`;
    const outcome = (verb: string) =>
      pool.run(task(code, { payload: verb })).then(() => null, outcomeOf);
    assert.deepEqual(await outcome('snooze'), { kind: 'snoozed', delayMs: 500 });
    assert.deepEqual(await outcome('cancelJob'), { kind: 'cancelled' });
  });

  it('fails when its progress is refused', async (t) => {
    const pool = openPool(t);
    const code = `(_, ctx) => {
      ctx.progress(1);
      return new Promise((_, reject) => ctx.signal.addEventListener('abort', reject));
    }`;
    const onProgress = () => {
      throw new Error('not a percentage');
    };
    await assert.rejects(pool.run(task(code, { onProgress })), /not a percentage/);
  });

  it('fails with the error it threw', async (t) => {
    const pool = openPool(t);
    const code = `() => {
      throw Object.assign(new TypeError('no such page', { cause: new Error('disk') }), { page: 7 });
    }`;
    await assert.rejects(pool.run(task(code)), (error: Error & { page?: number }) => {
      assert.equal(error.name, 'TypeError');
      assert.equal(error.page, 7);
      assert.match(error.stack ?? '', /data:text/);
      return /disk/.test((error.cause as Error).message);
    });
    assert.equal(pool.status.threads, 1, 'an error of its own does no harm to the thread');
  });
});

describe('a sandbox outlives', () => {
  const faults: readonly (readonly [name: string, code: string, message: RegExp])[] = [
    ['process.exit()', '() => process.exit(7)', /exit code 7/],
    ['an error outside', '() => new Promise(() => setTimeout(() => { throw 1 }, 1))', /: 1 /],
    [
      'a forgotten promise',
      '() => { Promise.reject(new Error("oh")); return new Promise(() => {}); }',
      /: oh/,
    ],
    [
      'a closed port',
      `async () => {
        (await import("node:worker_threads")).parentPort.close();
        await new Promise(() => {});
      }`,
      /exit code/,
    ],
    ['a function as result', '() => () => 1', /result cannot be copied/],
    ['a module without handler', '7', /no function as its default export/],
    ['a module that does not parse', '} {', /cannot be run/],
    ['a module that throws', '(() => { throw new Error("at load") })()', /at load/],
  ];
  for (const [name, code, message] of faults) {
    it(name, async (t) => {
      const pool = openPool(t);
      await assert.rejects(pool.run(task(code)), failsWith('SANDBOX_FAILED', message));
      assert.equal(await pool.run(echo), 'alive');
    });
  }

  it('a payload that cannot be copied', async (t) => {
    const pool = openPool(t);
    const run = pool.run(task('() => 1', { payload: { f: () => 1 } }));
    await assert.rejects(run, failsWith('SANDBOX_FAILED', /payload cannot be copied/));
    assert.equal(await pool.run(echo), 'alive');
  });

  it('a module that is not there', async (t) => {
    const pool = openPool(t);
    const module = new URL('./no-such-module.ts', import.meta.url);
    const run = pool.run(task('', { module }));
    await assert.rejects(run, failsWith('SANDBOX_FAILED', /no-such-module/));
  });

  const hogs: readonly (readonly [name: string, code: string])[] = [
    ['objects', '() => { const a = []; for (;;) a.push({ x: [1, 2, 3] }); }'],
    ['a growing array', '() => { const a = []; for (;;) a.push(Math.random()); }'],
    ['a growing map', '() => { const m = new Map(); for (let i = 0; ; i += 1) m.set(i, i); }'],
    ['Buffers', '() => { const a = []; for (;;) a.push(Buffer.alloc(1e6, 1)); }'],
  ];
  for (const [name, code] of hogs) {
    it(`a memory full of ${name}`, async (t) => {
      const pool = openPool(t);
      const run = pool.run(task(code, { memoryMbMax: 64 }));
      await assert.rejects(run, failsWith('SANDBOX_FAILED', /MB, 64 MB are allowed/));
      assert.equal(await pool.run(echo), 'alive');
    });
  }
});

describe('the time of a sandboxed handler', () => {
  it('ends an endless loop, and one at load', async (t) => {
    const pool = openPool(t);
    const late = failsWith('HANDLER_TIMEOUT', /longer than 150 ms/);
    await assert.rejects(pool.run(task('() => { for (;;); }', { timeoutMs: 150 })), late);
    await assert.rejects(pool.run(task('(() => { for (;;); })()', { timeoutMs: 150 })), late);
    await eventually('the threads are gone', () => pool.status.threads === 0);
    assert.equal(await pool.run(echo), 'alive');
  });

  it('is told to a handler that listens, whose thread is kept', async (t) => {
    const pool = openPool(t, { graceMs: 10_000 });
    const code = `(_, ctx) => new Promise((resolve) => {
      ctx.signal.addEventListener('abort', () => resolve(ctx.signal.reason.code));
    })`;
    const run = pool.run(task(code, { timeoutMs: 300 }));
    await assert.rejects(run, failsWith('HANDLER_TIMEOUT', /longer than 300 ms/));
    assert.deepEqual(pool.status, { threads: 1, busy: 0, waiting: 0 });
  });
});

describe('a cancelled sandboxed handler', () => {
  it('is told, and what it still answers counts', async (t) => {
    const pool = openPool(t, { graceMs: 10_000 });
    const cancel = new AbortController();
    const code = `(_, ctx) => new Promise((resolve) => {
      ctx.signal.addEventListener('abort', () => resolve('half of it'));
      ctx.progress('begun');
    })`;
    const onProgress = () => cancel.abort(new Error('cancelled'));
    const run = pool.run(task(code, { signal: cancel.signal, onProgress }));
    assert.equal(await run, 'half of it');
  });

  it('fails with the reason, and loses its thread when it does not listen', async (t) => {
    const pool = openPool(t);
    const cancel = new AbortController();
    const reason = new Error('cancelled by hand');
    const onProgress = () => cancel.abort(reason);
    const code = '(_, ctx) => { ctx.progress(1); for (;;); }';
    const run = pool.run(task(code, { signal: cancel.signal, onProgress }));
    await assert.rejects(run, (error) => error === reason);
    await eventually('the thread is gone', () => pool.status.threads === 0);
  });

  it('never begins when it was cancelled before', async (t) => {
    const pool = openPool(t, { max: 1 });
    const signal = AbortSignal.abort(new Error('too late'));
    await assert.rejects(pool.run(task('() => 1', { signal })), /too late/);
    assert.equal(pool.status.threads, 0);
  });
});

describe('threads', () => {
  const whoAmI = 'async () => (await import("node:worker_threads")).threadId';

  it('are used again for jobs of their module', async (t) => {
    const pool = openPool(t, { max: 1 });
    const ids = new Set<unknown>();
    for (let i = 0; i < 5; i += 1) ids.add(await pool.run(task(whoAmI)));
    assert.equal(ids.size, 1);
    const other = await pool.run(task(`${whoAmI} // another module`));
    assert.ok(!ids.has(other), 'another module has another thread');
    assert.equal(pool.status.threads, 1);
  });

  it('are at most so many', async (t) => {
    const pool = openPool(t, { max: 2 });
    const order: number[] = [];
    const runs = [0, 1, 2, 3, 4].map(async (i) => {
      await pool.run(task('(i) => i', { payload: i }));
      order.push(i);
    });
    await eventually('they have begun', () => pool.status.busy === 2);
    assert.deepEqual(pool.status, { threads: 2, busy: 2, waiting: 3 });
    await Promise.all(runs);
    assert.equal(order.length, 5);
    assert.deepEqual(pool.status, { threads: 2, busy: 0, waiting: 0 });
  });

  it('serve those in line by turns', async (t) => {
    const pool = openPool(t, { max: 1 });
    const order: unknown[] = [];
    const codes = ['(i) => i', '(i) => -i', '(i) => i', '(i) => -i'];
    const runs = codes.map((code, i) => pool.run(task(code, { payload: i })));
    for (const run of runs) void run.then((value) => order.push(value));
    await Promise.all(runs);
    assert.deepEqual(order, [0, -1, 2, -3]);
  });

  it('that nobody comes for leave the line', async (t) => {
    const pool = openPool(t, { max: 1 });
    const cancel = new AbortController();
    const long = pool.run(task('() => new Promise((resolve) => setTimeout(resolve, 100, 1))'));
    const second = pool.run(task('() => 2', { signal: cancel.signal }));
    cancel.abort(new Error('not wanted'));
    await assert.rejects(second, /not wanted/);
    assert.equal(pool.status.waiting, 0);
    assert.equal(await long, 1);
  });

  it('do not keep the process alive when they are idle, and do when busy', async () => {
    const pool = JSON.stringify(new URL('./sandbox-pool.ts', import.meta.url));
    const module = moduleOf('() => new Promise((resolve) => setTimeout(resolve, 100, "done"))');
    const code = `
      import { SandboxPool } from ${pool};
      const { signal } = new AbortController();
      const module = new URL(${JSON.stringify(module)});
      const run = { module, payload: 1, context: {}, timeoutMs: 0, signal };
      console.log(await new SandboxPool().run(run));`;
    const args = ['--input-type=module', '--eval', code];
    const limits = { timeout: 10_000 };
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, limits);
    assert.deepEqual([stdout, stderr], ['done\n', '']);
  });

  it('end when they were idle for a while, and with the pool', async (t) => {
    const pool = openPool(t, { idleMs: 20 });
    await pool.run(echo);
    await eventually('the idle thread has ended', () => pool.status.threads === 0);
    const endless = pool.run(task('() => { for (;;); }'));
    await eventually('it is busy', () => pool.status.busy === 1);
    const ended = assert.rejects(endless, failsWith('SHUTTING_DOWN', /closed/));
    await pool.close();
    await ended;
    await assert.rejects(pool.run(echo), failsWith('SHUTTING_DOWN', /closed/));
  });
});

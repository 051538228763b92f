/**
 * Real threads and a really blocked event loop. The beater is a module of text that speaks to the
 * test through shared memory: how often it was called, with what, and what it shall answer.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '../../../test/support/eventually.ts';
import type { MillraceError } from '../../core/errors.ts';
import { type HeartbeatOptions, startHeartbeat } from './heartbeat.ts';

/** Places in the shared memory. */
const [beats, mode, running, oldest, opened, closed, inMain] = [0, 1, 2, 3, 4, 5, 6] as const;
/** What the beater does, by `mode`. */
const [lives, isDead, fails, hangs, cancels, dies] = [0, 1, 2, 3, 4, 5] as const;

const beaterCode = `
  import { isMainThread } from 'node:worker_threads';
  export async function openBeater(cells) {
    Atomics.add(cells, ${opened}, 1);
    return {
      async beat(epoch, report) {
        if (epoch !== 7) throw new Error('another epoch: ' + epoch);
        const mode = Atomics.load(cells, ${mode});
        if (mode === ${fails}) throw Object.assign(new Error('down'), { code: 'ECONNREFUSED' });
        if (mode === ${hangs}) await new Promise(() => {});
        if (mode === ${dies} && !isMainThread) process.exit(3);
        Atomics.store(cells, ${running}, report.running);
        Atomics.store(cells, ${oldest}, report.oldestClaimNo);
        Atomics.store(cells, ${inMain}, isMainThread ? 1 : 0);
        Atomics.add(cells, ${beats}, 1);
        const cancelled = mode === ${cancels} ? [{ lane: 3, offset: 4 }] : [];
        return { alive: mode !== ${isDead}, cancelled };
      },
      async close() {
        Atomics.add(cells, ${closed}, 1);
      },
    };
  }`;
const module = `data:text/javascript,${encodeURIComponent(beaterCode)}`;

function start(t: TestContext, options: Partial<HeartbeatOptions> = {}) {
  const cells = new Int32Array(new SharedArrayBuffer(64));
  const heard: string[] = [];
  const errors: MillraceError[] = [];
  const say = (what: string) => () => void heard.push(what);
  const heartbeat = startHeartbeat({
    beater: { module, options: cells },
    epoch: 7,
    everyMs: 20,
    timeToLiveMs: 1_000,
    report: () => ({ running: 2, concurrency: 10, oldestClaimNo: 5_000_000_000 }),
    onCancelled: (jobs) => heard.push(`cancelled ${JSON.stringify(jobs)}`),
    onFenced: say('fenced'),
    onExpired: say('expired'),
    onRevived: say('revived'),
    onError: (error) => errors.push(error as MillraceError),
    ...options,
  });
  t.after(() => heartbeat.stop());
  const at = (cell: number) => Atomics.load(cells, cell);
  const set = (value: number) => Atomics.store(cells, mode, value);
  const beating = () => eventually('it beats', () => at(beats) > 0);
  return { heartbeat, heard, errors, at, set, beating };
}

/** Blocks the event loop, as a handler that computes does. */
function block(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe('the heartbeat', () => {
  it('goes on while the event loop is blocked', async (t) => {
    const { at, beating, heard, errors } = start(t);
    await beating();
    const before = at(beats);
    block(600);
    const during = at(beats) - before;
    assert.ok(during >= 3, `${during} beats in 600 ms`);
    assert.equal(at(running), 2);
    assert.deepEqual([heard, errors], [[], []]);
  });

  it('gives up for a loop that is blocked too long, and says so when it turns', async (t) => {
    const { at, beating, errors, heard } = start(t, { blockedMsMax: 200 });
    await beating();
    const before = at(beats);
    block(400);
    const silent = at(beats);
    block(200);
    assert.ok(silent > before, 'covered at first');
    assert.equal(at(beats), silent, 'and then no more');
    const [error] = await eventually('main is told', () => errors.length > 0 && errors);
    assert.equal(error?.code, 'LEASE_LOST');
    assert.match(error?.message ?? '', /blocked for \d+ ms, 200 are covered/);
    await eventually('it beats again', () => at(beats) > silent);
    assert.deepEqual(heard, []);
  });

  it('names cancelled jobs', async (t) => {
    const { set, heard } = start(t);
    set(cancels);
    await eventually('main is told', () => heard[0] === 'cancelled [{"lane":3,"offset":4}]');
  });

  it('ends with its epoch', async (t) => {
    const { set, at, beating, heard } = start(t);
    await beating();
    set(isDead);
    await eventually('main is told', () => heard.length > 0);
    await eventually('the connection is closed', () => at(closed) === 1);
    assert.deepEqual(heard, ['fenced']);
  });

  it('tries again when the store is away, and tells when its time is over', async (t) => {
    const { set, at, beating, heard, errors } = start(t);
    await beating();
    set(fails);
    const since = performance.now();
    await eventually('it expires', () => heard[0] === 'expired');
    const waited = performance.now() - since;
    assert.ok(waited > 900 && waited < 5_000, `${waited} ms`);
    assert.equal((errors[0] as { code?: string }).code, 'ECONNREFUSED');
    assert.ok(errors.some(({ message }) => /No heartbeat got through for \d+ ms/.test(message)));
    set(lives);
    await eventually('it is back', () => heard[1] === 'revived');
    assert.ok(at(opened) > 1, 'each try has a connection of its own');
    assert.deepEqual(heard, ['expired', 'revived']);
  });

  it('does not wait for a connection that is silent', async (t) => {
    const { set, at, beating, heard, errors } = start(t);
    await beating();
    set(hangs);
    await eventually('it doubts', () => errors.length > 0);
    assert.match(errors[0]?.message ?? '', /No answer to a heartbeat for \d+ ms/);
    set(lives);
    const before = at(beats);
    await eventually('it beats again', () => at(beats) > before);
    assert.deepEqual(heard, []);
  });

  it('beats in the loop when its thread has died', async (t) => {
    const { set, at, beating, errors, heartbeat } = start(t);
    await beating();
    assert.equal(at(inMain), 0);
    set(dies);
    await eventually('main takes over', () => at(inMain) === 1);
    assert.match(errors[0]?.message ?? '', /No thread for the heartbeat.*exit code 3/);
    await heartbeat.stop();
    const before = at(beats);
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(at(beats), before);
  });

  it('beats in the loop when there can be no thread for it', async (t) => {
    const beater = { module, options: () => 'cannot be copied' };
    const { errors, heartbeat } = start(t, { beater });
    assert.match(errors[0]?.message ?? '', /No thread for the heartbeat/);
    await heartbeat.stop();
  });

  it('is one thread for all epochs, and ends its beats when told', async (t) => {
    const threads = () => process.getActiveResourcesInfo().filter((it) => it === 'MessagePort');
    const before = threads().length;
    const [one, other] = [start(t), start(t)];
    await Promise.all([one.beating(), other.beating()]);
    assert.ok(threads().length - before <= 1);
    await one.heartbeat.stop();
    assert.equal(one.at(closed), 1);
    const [stopped, going] = [one.at(beats), other.at(beats)];
    await eventually('the other goes on', () => other.at(beats) > going + 2);
    assert.equal(one.at(beats), stopped);
  });

  it('goes on when the report cannot be made', async (t) => {
    const report = () => assert.fail('no report');
    const { beating, errors } = start(t, { report, blockedMsMax: 100 });
    await beating();
    assert.match(errors[0]?.message ?? '', /no report/);
  });

  it('does not keep the process alive', async () => {
    const code = `
      import { startHeartbeat } from ${JSON.stringify(new URL('./heartbeat.ts', import.meta.url))};
      const cells = new Int32Array(new SharedArrayBuffer(64));
      const nothing = () => {};
      startHeartbeat({
        beater: { module: ${JSON.stringify(module)}, options: cells }, epoch: 7,
        everyMs: 10, timeToLiveMs: 1_000, report: () => ({ running: 0, concurrency: 1,
        oldestClaimNo: 1 }), onCancelled: nothing, onFenced: nothing, onExpired: nothing,
        onRevived: nothing, onError: (error) => console.error(error),
      });
      const seen = setInterval(() => {
        if (Atomics.load(cells, 0) === 0) return;
        console.log('it beats');
        clearInterval(seen);
      }, 10);`;
    const args = ['--input-type=module', '--eval', code];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, args, {
      timeout: 30_000,
    });
    assert.deepEqual([stdout, stderr], ['it beats\n', '']);
  });
});

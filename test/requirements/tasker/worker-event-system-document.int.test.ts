/** docs/worker-event-system.md: its blocks are those of the modules here, and they run. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { defineJob } from 'millrace';
import { eventually } from '../../support/eventually.ts';
import { commands } from './worker-event-system/commands.ts';
import { configured } from './worker-event-system/configured.ts';
import { drain } from './worker-event-system/event-driven.ts';
import { eventSystem } from './worker-event-system/event-system.ts';
import { pollingSystem } from './worker-event-system/fallback-poller.ts';
import { watch } from './worker-event-system/queue-events.ts';
import { queueListener } from './worker-event-system/queue-listener.ts';
import { switchMode } from './worker-event-system/switch-mode.ts';
import { setUp } from './worker-setting.ts';

const page = readFileSync(new URL('../../../docs/worker-event-system.md', import.meta.url), 'utf8');
const blocks = [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, text]) => text as string);
/** In the order of the page. */
const modules = [
  'event-system',
  'event-driven',
  'switch-mode',
  'queue-events',
  'queue-listener',
  'fallback-poller',
  'commands',
  'configured',
];

function codeOf(module: string): string {
  const file = new URL(`worker-event-system/${module}.ts`, import.meta.url);
  const regions = readFileSync(file, 'utf8').matchAll(
    /\/\/ #region document\n(.*?)\/\/ #endregion/gs,
  );
  return [...regions].map(([, code]) => code).join('\n');
}
const plain = (code: string) => code.replace(/\s+/g, '');

const { url, open } = setUp();
const Step = defineJob<{ n: number; step_uuid?: string }>('step', { queue: 'payments_queue' });

describe('the blocks of the page', () => {
  it('are all here', () => assert.equal(blocks.length, modules.length));
  for (const [i, module] of modules.entries()) {
    it(`${module} says what the page says`, () => {
      assert.equal(plain(codeOf(module)), plain(blocks[i] as string));
    });
  }
  it('would be seen to differ', () => {
    assert.notEqual(plain(`${blocks[0]}x`), plain(codeOf('event-system')));
  });
});

describe('the page runs', () => {
  it('a system, its notifications, its statistics, its switch and its end', async (t) => {
    const charged: unknown[] = [];
    const { mill, system } = await eventSystem({ url: url(), charged });
    t.after(() => mill.stop());
    const lines: string[] = [];
    const unwatch = watch(system, lines);
    const enqueued = await mill.jobs.enqueue(Step, { n: 1, step_uuid: 's-1' });
    const result = await mill.jobs.result(enqueued, { timeoutMs: 10_000 });
    assert.deepEqual(result, { charged: true });
    await eventually('it was told', () =>
      lines.includes('payments: messages in payments_queue, heard of by local'),
    );
    unwatch();
    const printed: string[] = [];
    t.mock.method(console, 'log', (line: string) => void printed.push(line));
    queueListener(system);
    assert.match(printed.join('\n'), /heard: [1-9]\d* of this process[\s\S]*merged \d+, dropped 0/);
    await switchMode(system);
    assert.equal(system.deploymentMode, 'Hybrid');
    await mill.jobs.result(await mill.jobs.enqueue(Step, { n: 2 }), { timeoutMs: 10_000 });
    assert.equal(charged.length, 2);
    const statistics = await drain(system);
    assert.ok(statistics.eventsProcessed > 0);
    assert.equal(system.isRunning, false);
  });

  it('a poller, and commands to a system', async (t) => {
    const mill = await open(t);
    const seen: unknown[] = [];
    const system = pollingSystem(mill, seen);
    t.after(() => system.stop({ graceMs: 1_000 }));
    await system.start();
    const Order = defineJob<{ n: number }>('step', { queue: 'orders_queue' });
    await mill.jobs.enqueue(Order, { n: 1 });
    await mill.jobs.enqueue(Step, { n: 2 });
    await eventually('both were found', () => seen.length === 2);
    await system.switchMode('EventDrivenOnly');
    const { id } = await mill.jobs.enqueue(Step, { n: 3 }, { tenantId: 'other' });
    t.mock.method(console, 'log', () => {});
    assert.match(await commands(system, id), /accepted|duplicate/);
    await eventually('the third', () => seen.length === 3);
  });

  it('a system as the files say', async (t) => {
    const mill = await open(t);
    const system = configured(
      mill,
      fileURLToPath(new URL('../../../config/millrace', import.meta.url)),
    );
    t.after(() => system.stop());
    await system.start();
    const { id } = await mill.jobs.enqueue(Step, { n: 4 });
    assert.deepEqual(await mill.jobs.result(id, { timeoutMs: 10_000 }), { n: 4 });
    assert.equal(system.config.fallbackPoller.pollingIntervalMs, 5_000);
  });

  it('its TOML is the one of the built-in values', () => {
    const [, toml = ''] = /```toml\n(.*?)```/s.exec(page) ?? [];
    const shipped = readFileSync(
      new URL('../../../config/millrace/base/worker.toml', import.meta.url),
      'utf8',
    );
    const settings = toml.split('\n').filter((line) => /^\w/.test(line));
    assert.equal(settings.length, 13);
    for (const line of settings) assert.ok(shipped.includes(line.replace(/\s+#.*/, '')), line);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { eventually, gate } from '../../../test/support/eventually.ts';
import type { DomainEvent } from '../../core/workflow/domain-event.ts';
import { LocalDelivery, type LocalOptions } from './local-delivery.ts';
import { DomainEventCounters } from './metrics.ts';

function setup(options: Partial<LocalOptions> = {}) {
  const counters = new DomainEventCounters([0.001, 1], true);
  const handled: string[] = [];
  const errors: unknown[] = [];
  const local = new LocalDelivery({
    concurrency: 4,
    bufferSize: 3,
    overflow: 'drop_oldest',
    timeoutMs: 0,
    counters,
    wants: () => true,
    handle: (event) => handled.push(event.name),
    onError: (error) => errors.push(error),
    ...options,
  });
  const offer = (name: string, lane = name) =>
    local.offer({ name } as DomainEvent, lane, 'fire_and_forget');
  return { local, offer, handled, errors, counters };
}

describe('in-process delivery', () => {
  it('calls handlers after the publisher has gone on, and counts', async () => {
    const { offer, handled, counters, local } = setup();
    await offer('a');
    assert.deepEqual(handled, []);
    await offer('b');
    await local.stop(1_000);
    assert.deepEqual(handled, ['a', 'b']);
    const { delivered, handlerSeconds } = counters.read();
    assert.equal(delivered.fire_and_forget, 2);
    const { bounds, counts, count } = handlerSeconds.fire_and_forget ?? {};
    assert.deepEqual(bounds, [0.001, 1]);
    assert.equal(count, 2);
    assert.equal(counts?.length, 3);
    assert.equal(
      counts?.reduce((sum, n) => sum + n),
      2,
    );
  });

  it('drops the oldest, the newest, or makes the publisher wait', async () => {
    const oldest = setup();
    for (const name of ['a', 'b', 'c', 'd', 'e']) await oldest.offer(name);
    await oldest.local.stop(1_000);
    assert.deepEqual(oldest.handled, ['c', 'd', 'e']);
    assert.equal(oldest.counters.read().dropped.fire_and_forget, 2);

    const newest = setup({ overflow: 'drop_newest' });
    for (const name of ['a', 'b', 'c', 'd', 'e']) await newest.offer(name);
    await newest.local.stop(1_000);
    assert.deepEqual(newest.handled, ['a', 'b', 'c']);

    const blocks = setup({ overflow: 'block' });
    const places = ['a', 'b', 'c', 'd', 'e'].map((name) => blocks.offer(name));
    let placed = 0;
    for (const place of places) void place.then(() => (placed += 1));
    await Promise.resolve();
    await Promise.resolve();
    assert.equal(placed, 3);
    assert.equal(blocks.local.waiting, 5);
    await Promise.all(places);
    await blocks.local.stop(1_000);
    assert.deepEqual(blocks.handled, ['a', 'b', 'c', 'd', 'e']);
    assert.equal(blocks.counters.read().dropped.fire_and_forget, 0);
  });

  it('runs different keys at once, one key in order, and no more than allowed', async () => {
    const doors = [gate(), gate(), gate()];
    const started: string[] = [];
    let most = 0;
    let running = 0;
    const { offer, local } = setup({
      concurrency: 2,
      bufferSize: 10,
      handle: async ({ name }) => {
        started.push(name);
        running += 1;
        most = Math.max(most, running);
        await doors[Number(name.at(-1))]?.opened;
        running -= 1;
      },
    });
    for (const name of ['k0', 'k1']) await offer(name, 'k');
    for (const name of ['l0', 'm2']) await offer(name, name);
    await turn();
    await turn();
    assert.deepEqual(started, ['k0', 'l0'], 'k1 waits for k0, m2 for room');
    doors[0]?.open();
    await eventually('the others start', () => started.length === 4);
    assert.deepEqual(started.slice(2).sort(), ['k1', 'm2']);
    for (const door of doors) door.open();
    await local.stop(1_000);
    assert.equal(most, 2);
  });

  it('collects errors and goes on; a handler beyond its time is told to stop', async () => {
    const aborted: boolean[] = [];
    const { offer, errors, counters, local } = setup({
      bufferSize: 10,
      timeoutMs: 20,
      handle: ({ name }, { signal }) => {
        if (name === 'throws') throw new Error('at once');
        if (name === 'rejects') return Promise.reject(new Error('later'));
        if (name !== 'hangs') return undefined;
        signal.addEventListener('abort', () => aborted.push(true));
        return new Promise(() => {});
      },
    });
    for (const name of ['throws', 'rejects', 'hangs', 'works']) await offer(name);
    await eventually('all have ended', () => errors.length === 3);
    assert.deepEqual(aborted, [true]);
    const codes = errors.map((error) => (error as { code?: string }).code);
    assert.ok(codes.includes('HANDLER_TIMEOUT'));
    await local.stop(1_000);
    assert.equal(counters.read().handlerFailed.fire_and_forget, 3);
    assert.equal(counters.read().delivered.fire_and_forget, 1);
  });

  it('gives up at the end of the grace, and takes nothing after the end', async () => {
    const { offer, local, counters, handled } = setup({
      concurrency: 1,
      handle: () => new Promise(() => {}),
    });
    for (const name of ['a', 'b', 'c']) await offer(name);
    await turn();
    await turn();
    await local.stop(10);
    assert.equal(counters.read().dropped.fire_and_forget, 2);
    await offer('late');
    assert.equal(local.waiting, 0);
    assert.deepEqual(handled, []);
  });
});

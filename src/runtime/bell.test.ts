import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Bell, sleep } from './bell.ts';

const soon = (promise: Promise<unknown>) =>
  Promise.race([
    promise.then(() => 'rung'),
    new Promise((resolve) => setImmediate(resolve, 'silent')),
  ]);

it('a ring wakes the one who waits', async () => {
  const bell = new Bell();
  const waiting = bell.wait(60_000);
  assert.equal(await soon(waiting), 'silent');
  bell.ring();
  assert.equal(await soon(waiting), 'rung');
});

it('a ring before the wait is kept, once', async () => {
  const bell = new Bell();
  bell.ring();
  bell.ring();
  assert.equal(await soon(bell.wait(60_000)), 'rung');
  const second = bell.wait(60_000);
  assert.equal(await soon(second), 'silent');
  bell.ring();
  await second;
});

it('a wait ends by itself, at once when it is for no time', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const bell = new Bell();
  const waiting = bell.wait(1_000);
  t.mock.timers.tick(1_000);
  await waiting;
  await bell.wait(0);
  await bell.wait(-5);
});

it('a sleep is cut short by its signal', async () => {
  const stop = new AbortController();
  const asleep = sleep(60_000, stop.signal);
  assert.equal(await soon(asleep), 'silent');
  stop.abort();
  assert.equal(await soon(asleep), 'rung');
  assert.equal(await soon(sleep(60_000, stop.signal)), 'rung');
});

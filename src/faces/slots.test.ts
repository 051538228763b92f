/** Slots: never more than the capacity, the urgent first, nothing lost. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Slots } from './slots.ts';

const turns = async () => {
  for (let i = 0; i < 10; i += 1) await Promise.resolve();
};

describe('slots', () => {
  it('are given by priority, then in the order they were asked for', async () => {
    const slots = new Slots(1);
    const first = await slots.take(5);
    const order: string[] = [];
    const ask = async (name: string, priority: number) => {
      const release = await slots.take(priority);
      order.push(name);
      release();
    };
    const asked = [ask('reports', 4), ask('invoices', 1), ask('bills', 2), ask('invoices 2', 1)];
    await turns();
    assert.deepEqual(order, []);
    first();
    await Promise.all(asked);
    assert.deepEqual(order, ['invoices', 'invoices 2', 'bills', 'reports']);
    assert.equal(slots.taken, 0);
  });

  it('are never more than the capacity, which may change', async () => {
    const slots = new Slots(2);
    const releases = [await slots.take(0), await slots.take(0)];
    let third = false;
    const waiting = slots.take(0).then((release) => {
      third = true;
      releases.push(release);
    });
    await turns();
    assert.equal(third, false);
    slots.capacity = 3;
    await waiting;
    assert.equal(slots.taken, 3);
    slots.capacity = 1;
    releases[0]?.();
    releases[0]?.();
    assert.equal(slots.taken, 2, 'a slot is given back once');
  });

  it('are no longer waited for when the signal is aborted', async () => {
    const slots = new Slots(1);
    const release = await slots.take(0);
    const stop = new AbortController();
    const reason = new Error('stop');
    const given = slots.take(0, stop.signal);
    stop.abort(reason);
    await assert.rejects(given, reason);
    await assert.rejects(slots.take(0, stop.signal), reason);
    release();
    assert.equal(slots.taken, 0);
  });
});

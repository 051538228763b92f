import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { seedOf } from '../../test/support/random.ts';
import type { StoredEvent } from '../core/event.ts';
import { Tail } from './tail.ts';

const typeOf = (offset: number) => (offset % 3 === 0 ? 'third' : 'other');
const event = (offset: number) =>
  ({ partition: 0, offset, eventType: typeOf(offset) }) as unknown as StoredEvent;
const batch = (from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => event(from + i));
const read = (tail: Tail, after: number, limit: number, types: string[]) =>
  tail.read({ partition: 0, after, limit, types }, new Set(types));
const all = ['third', 'other'];
const offsetsOf = (events: readonly StoredEvent[]) => events.map(({ offset }) => offset);

it('answers from what was appended here, like the store', () => {
  const tail = new Tail({ partitions: 1, eventsMax: 100 });
  assert.equal(read(tail, 0, 10, all), null, 'empty');
  tail.push(0, batch(5, 9));
  assert.equal(read(tail, 3, 10, all), null, 'it does not reach back so far');
  const whole = read(tail, 4, 10, all);
  assert.deepEqual(offsetsOf(whole?.events ?? []), [5, 6, 7, 8, 9]);
  assert.deepEqual([whole?.scannedTo, whole?.atHead], [9, true]);
  const part = read(tail, 4, 2, all);
  assert.deepEqual(
    [offsetsOf(part?.events ?? []), part?.scannedTo, part?.atHead],
    [[5, 6], 6, false],
  );
  const third = read(tail, 4, 10, ['third']);
  assert.deepEqual([offsetsOf(third?.events ?? []), third?.scannedTo], [[6, 9], 9]);
  assert.equal(read(tail, 9, 10, all), null, 'at its end the store must say whether there is more');
});

it('whatever order answers come in, and whatever others append, it never skips or invents', (t) => {
  const seed = seedOf(t as TestContext);
  const appends = fc.array(
    fc.record({ size: fc.integer({ min: 1, max: 6 }), here: fc.boolean(), late: fc.nat(3) }),
    { maxLength: 60 },
  );
  const property = fc.property(appends, fc.integer({ min: 1, max: 20 }), (plan, eventsMax) => {
    const tail = new Tail({ partitions: 1, eventsMax });
    let head = 0;
    const answers: { at: number; events: StoredEvent[] }[] = [];
    for (const [i, { size, here, late }] of plan.entries()) {
      // Appends of other processes never come by; answers of our own may overtake each other.
      if (here) answers.push({ at: i + late, events: batch(head + 1, head + size) });
      head += size;
    }
    answers.sort((a, b) => a.at - b.at);
    for (const { events } of answers) {
      tail.push(0, events);
      for (const after of [0, Math.floor(head / 2), (events[0]?.offset ?? 1) - 1]) {
        const found = read(tail, after, 4, ['third']);
        if (found === null) continue;
        const { scannedTo } = found;
        assert.ok(scannedTo > after && scannedTo <= head);
        const wanted = batch(after + 1, scannedTo).filter(({ offset }) => offset % 3 === 0);
        assert.deepEqual(offsetsOf(found.events), offsetsOf(wanted));
        assert.ok(found.events.length <= 4);
      }
    }
  });
  fc.assert(property, { seed });
});

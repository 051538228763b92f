import assert from 'node:assert/strict';
import { it, type TestContext } from 'node:test';
import fc from 'fast-check';
import { seedOf } from '../../../test/support/random.ts';
import type { StoredEvent } from '../../core/event.ts';
import { createEntry, type Entry } from './entry.ts';
import { Window } from './window.ts';

const entry = (offset: number) => createEntry({ offset } as StoredEvent, 0, false);

/** The same in the plainest way: a set of what is done. */
class Model {
  readonly done = new Set<number>();
  scanned = 0;
  progress() {
    let position = 0;
    while (position < this.scanned && this.done.has(position + 1)) position += 1;
    const ahead = [...this.done].filter((offset) => offset > position).sort((a, b) => a - b);
    return { position, ahead };
  }
}

it('a cursor passes nothing that is not done, and forgets nothing that is', (t) => {
  const seed = seedOf(t as TestContext);
  const step = fc.oneof(
    fc.record({
      kind: fc.constant('fill' as const),
      wanted: fc.array(fc.boolean(), { maxLength: 8 }),
    }),
    fc.record({ kind: fc.constant('finish' as const), which: fc.nat(50) }),
    fc.record({ kind: fc.constant('settle' as const) }),
    fc.record({ kind: fc.constant('crash' as const) }),
  );
  const property = fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
    let window = new Window();
    let entries: Entry[] = [];
    const model = new Model();
    let settled: { position: number; ahead: number[] } = { position: 0, ahead: [] };
    /** Whether the group wants an offset: the same at every reading. */
    const wants = new Map<number, boolean>();
    for (const action of steps) {
      if (action.kind === 'fill') {
        for (const wanted of action.wanted) {
          const offset = window.scanned + 1;
          if (!wants.has(offset)) wants.set(offset, wanted);
          window.scanned = offset;
          model.scanned = offset;
          if (!wants.get(offset)) model.done.add(offset);
          else if (!window.isDone(offset)) {
            assert.ok(!model.done.has(offset), `${offset} is handled once`);
            const added = entry(offset);
            window.add(added);
            entries.push(added);
          }
        }
      } else if (action.kind === 'finish') {
        const open = entries.filter(({ done }) => !done);
        const one = open[action.which % Math.max(1, open.length)];
        if (one) one.done = true;
        if (one) model.done.add(one.event.offset);
      } else if (action.kind === 'settle') {
        settled = window.progress();
        window.settled(settled);
      } else {
        window = new Window();
        window.open(settled.position, settled.ahead);
        entries = [];
        model.scanned = settled.position;
        const kept = new Set([
          ...settled.ahead,
          ...Array.from({ length: settled.position }, (_, i) => i + 1),
        ]);
        for (const offset of model.done) if (!kept.has(offset)) model.done.delete(offset);
      }
      const { position, ahead } = window.progress();
      const wanted = model.progress();
      assert.equal(position, wanted.position);
      // What was filtered out beyond the position need not be said; all that was handled must be.
      const handled = wanted.ahead.filter((offset) => wants.get(offset));
      assert.deepEqual(ahead, handled);
      assert.equal(
        window.size > 0,
        entries.some(({ event }) => event.offset > window.position),
      );
    }
  });
  fc.assert(property, { seed, numRuns: 300 });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { claimWindow } from './claim-window.ts';

const known = (priorityOf: (lane: number) => number) => ({
  get: (lane: number) => ({ priority: priorityOf(lane) }) as never,
});
const lanesUpTo = (count: number) => Array.from({ length: count }, (_, i) => i + 1);

describe('the window of a claim', () => {
  it('is all lanes while there are few', () => {
    const lanes = [3, 1, 2];
    assert.deepEqual(
      claimWindow(
        lanes,
        1,
        known(() => 0),
      ),
      lanes,
    );
  });

  it('moves over all lanes of one priority', () => {
    const seen = new Set<number>();
    for (let turn = 1; turn <= 10; turn += 1) {
      const lanes = claimWindow(
        lanesUpTo(1000),
        turn,
        known(() => 0),
      );
      assert.equal(lanes.length, 256);
      for (const lane of lanes) seen.add(lane);
    }
    assert.equal(seen.size, 1000);
  });

  it('has the more urgent lanes always', () => {
    const priorityOf = (lane: number) => (lane % 10 === 0 ? -5 : lane % 2);
    for (let turn = 1; turn <= 5; turn += 1) {
      const lanes = claimWindow(lanesUpTo(1000), turn, known(priorityOf));
      assert.equal(new Set(lanes).size, 256);
      assert.equal(lanes.filter((lane) => priorityOf(lane) === -5).length, 100);
      assert.equal(lanes.filter((lane) => priorityOf(lane) === 1).length, 0);
    }
  });
});

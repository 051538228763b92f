import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fairShare } from './shares.ts';

describe('the fair share of a member', () => {
  it('adds up to all partitions, and differs by one at most', () => {
    for (let partitions = 1; partitions <= 20; partitions += 1) {
      for (let count = 1; count <= 25; count += 1) {
        const members = Array.from({ length: count }, (_, i) => `member-${(i * 7) % count}-${i}`);
        const shares = members.map((me) => fairShare(partitions, members, me));
        const sum = shares.reduce((a, b) => a + b, 0);
        assert.equal(sum, partitions, `${partitions} partitions, ${count} members`);
        assert.ok(Math.max(...shares) - Math.min(...shares) <= 1);
      }
    }
  });

  it('does not depend on the order in which members are told', () => {
    const members = ['b', 'c', 'a'];
    assert.deepEqual(
      ['a', 'b', 'c'].map((me) => fairShare(4, members, me)),
      [2, 1, 1],
    );
  });

  it('is everything for a member that has heard of nobody yet', () => {
    assert.equal(fairShare(8, [], 'me'), 8);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Lane } from './lane.ts';
import { comparePositions } from './positions.ts';

const ids = (first: number, count: number) =>
  Array.from({ length: count }, (_, i) => `1700000000000-${first + i}`);
const id = (n: number) => `1700000000000-${n}`;

describe('positions', () => {
  it('compare by time, then by number, and not as text', () => {
    const ascending = ['0-0', '9-1', '10-0', '10-2', '10-10', '1700000000000-0'];
    for (const [i, a] of ascending.entries()) {
      for (const [j, b] of ascending.entries()) {
        assert.equal(Math.sign(comparePositions(a, b)), Math.sign(i - j), `${a} ${b}`);
      }
    }
  });
});

describe('a lane', () => {
  it('acknowledges up to a position, once the server knows no more', () => {
    const lane = new Lane(0, 1, 100);
    lane.took(ids(0, 30), 3_000);
    assert.equal(lane.done(id(9)), true);
    assert.deepEqual(lane.unacknowledged(100), ids(0, 10));
    assert.equal(lane.done(id(3)), true, 'the tenth is not acknowledged yet');
    assert.deepEqual(lane.unacknowledged(4), ids(0, 4));
    lane.acknowledged(4);
    assert.deepEqual(lane.unacknowledged(100), ids(4, 6));
    lane.acknowledged(6);
    assert.equal(lane.done(id(9)), false);
    assert.equal(lane.inFlight, 20);
    assert.equal(lane.done('1700000000001-0'), true, 'beyond what was delivered');
    assert.equal(lane.unacknowledged(100).length, 20);
  });

  it('wants no more than may be in flight, and nothing when it leaves', () => {
    const lane = new Lane(0, 1, 40);
    lane.took(ids(0, 30), 3_000);
    assert.equal(lane.wanted, 10);
    lane.took(ids(30, 10), 1_000);
    assert.deepEqual([lane.wanted, lane.isFull], [0, true]);
    lane.acknowledged(5);
    assert.deepEqual([lane.wanted, lane.isFull], [5, false]);
    lane.isDoubtful = true;
    assert.equal(lane.wanted, 0);
  });

  it('asks for fewer entries when they are large, for more when they are small', () => {
    const lane = new Lane(0, 1, 100_000);
    const first = lane.wanted;
    for (let n = 0; n < 10; n += 1) lane.took(ids(n * 1_000, lane.wanted), 1_000);
    const most = lane.wanted;
    assert.ok(most > first);
    for (let n = 20; n < 40; n += 1) lane.took(ids(n * 1_000, lane.wanted), 20_000_000);
    assert.equal(lane.wanted, 1);
  });

  it('claims again what a lost answer may have taken, after what was delivered', () => {
    const lane = new Lane(0, 1, 100);
    assert.equal(lane.claimFrom, '0-0');
    lane.claimFrom = null;
    lane.resume();
    assert.equal(lane.claimFrom, '0-0');
    lane.took(ids(0, 3), 10);
    lane.resume();
    assert.equal(lane.claimFrom, `(${id(2)}`);
  });

  it('forgets what is acknowledged', () => {
    const lane = new Lane(0, 1, 1_000_000);
    for (let n = 0; n < 100; n += 1) {
      lane.took(ids(n * 100, 100), 10);
      assert.ok(lane.done(id(n * 100 + 99)));
      assert.deepEqual(lane.unacknowledged(1_000), ids(n * 100, 100));
      lane.acknowledged(100);
    }
    assert.equal(lane.inFlight, 0);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../test/support/random.ts';
import { share } from './sharing.ts';

function countsOf(shares: readonly string[], members: readonly string[]): number[] {
  return members.map((member) => shares.filter((name) => name === member).length);
}

test('shares differ by one, and do not depend on the order of the names', (t) => {
  const random = seededRandom(t);
  for (let round = 0; round < 200; round += 1) {
    const partitions = 1 + random.below(40);
    const members = Array.from({ length: 1 + random.below(10) }, () => `m-${random.next()}`);
    const shares = share('orders', partitions, members);
    assert.equal(shares.length, partitions);
    const counts = countsOf(shares, members);
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${counts}`);
    assert.deepEqual(share('orders', partitions, members.toReversed()), shares);
  }
});

test('few partitions move when a member comes', () => {
  const members = Array.from({ length: 5 }, (_, i) => `member-${i}`);
  const before = share('orders', 60, members);
  const after = share('orders', 60, [...members, 'new']);
  const toNew = after.filter((member) => member === 'new').length;
  const moved = after.filter((member, p) => member !== before[p]).length;
  assert.equal(toNew, 10);
  assert.ok(moved <= 30, `${moved} of 60 moved for ${toNew}`);
});

test('topics of one partition go to all members, not to the same one', () => {
  const members = ['a', 'b', 'c', 'd'];
  const holders = Array.from({ length: 200 }, (_, i) => share(`tenant-${i}`, 1, members)[0] ?? '');
  for (const count of countsOf(holders, members)) assert.ok(count > 25, `${count} of 200`);
});

test('nobody has anything where there is nobody', () => {
  assert.deepEqual(share('orders', 4, []), []);
});

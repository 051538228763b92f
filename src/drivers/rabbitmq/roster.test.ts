import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Roster, readWord, type Word } from './roster.ts';

const word = (member: string, more: Partial<Word> = {}): Word => ({
  topic: 'orders',
  member,
  queue: `queue-of-${member}`,
  holds: [],
  everyMs: 1_000,
  leaves: false,
  ...more,
});

test('tells when somebody comes, goes, or gives a partition up', () => {
  const roster = new Roster('me');
  assert.deepEqual(roster.members('orders'), ['me']);
  assert.equal(roster.hear(word('you', { holds: [[1, 0]] }), 0), true);
  assert.equal(roster.hear(word('you', { holds: [[1, 5]] }), 1), false);
  const more = [
    [1, 0],
    [2, 0],
  ] as const;
  assert.equal(roster.hear(word('you', { holds: more }), 2), false);
  assert.deepEqual(roster.members('orders'), ['you', 'me']);
  assert.deepEqual(roster.members('others'), ['me']);
  assert.equal(roster.isHeld({ topic: 'orders', partition: 2 }), true);
  assert.equal(roster.isHeld({ topic: 'others', partition: 2 }), false);
  assert.equal(roster.hear(word('you', { holds: [[1, 0]] }), 3), true);
  assert.equal(roster.isHeld({ topic: 'orders', partition: 2 }), false);
  assert.equal(roster.hear(word('you', { leaves: true }), 4), true);
  assert.equal(roster.hear(word('you', { leaves: true }), 5), false);
  assert.deepEqual(roster.members('orders'), ['me']);
});

test('does not take its own words for those of another', () => {
  const roster = new Roster('me');
  assert.equal(roster.hear(word('me', { holds: [[1, 0]] }), 0), false);
  assert.equal(roster.isHeld({ topic: 'orders', partition: 1 }), false);
  assert.deepEqual(roster.members('orders'), ['me']);
});

test('suspects who was silent for two and a half times its own interval', () => {
  const roster = new Roster('me');
  roster.hear(word('quick'), 0);
  roster.hear(word('slow', { everyMs: 10_000 }), 0);
  assert.deepEqual([...roster.suspects(2_500)], []);
  assert.deepEqual([...roster.suspects(2_501)], [['quick', 'queue-of-quick']]);
  roster.spare('quick', 2_501);
  assert.deepEqual([...roster.suspects(2_502)], []);
  assert.deepEqual([...roster.suspects(26_000).keys()], ['quick', 'slow']);
  roster.forget('quick');
  assert.deepEqual(roster.members('orders'), ['slow', 'me']);
});

test('reads words and questions, and nothing else', () => {
  assert.equal(readWord({ ask: true }), 'ask');
  assert.deepEqual(readWord(word('you')), word('you'));
  const others: unknown[] = [null, 'x', Buffer.from('x'), {}, [], { ...word('you'), holds: [1] }];
  others.push({ ...word('you'), member: 3 }, { ...word('you'), everyMs: '1' });
  for (const other of others) assert.equal(readWord(other), null, JSON.stringify(other));
});

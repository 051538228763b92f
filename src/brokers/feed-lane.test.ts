import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seededRandom } from '../../test/support/random.ts';
import type { ReceivedEvent } from '../core/cloud-event.ts';
import type { StoredEvent } from '../core/event.ts';
import { FeedLane, type Slot } from './feed-lane.ts';

const received = (type = 'Thing'): ReceivedEvent => ({
  id: 'i',
  source: 's',
  type,
  version: 1,
  tenantId: 't',
  key: null,
  partitionKey: null,
  timestamp: '2026-01-01T00:00:00.000Z',
  correlationId: null,
  causationId: null,
  dataJson: '{"n":1}',
  metadata: {},
  place: null,
});
const open = (offset: number, { received: { type } }: Slot) =>
  ({ offset, eventType: type }) as StoredEvent;
const all = { has: () => true };
const read = (lane: FeedLane, after: number, limit = 100) => {
  const found = lane.read({ partition: 0, after, limit, types: null }, all, open);
  return found && { offsets: found.events.map(({ offset }) => offset), to: found.scannedTo };
};
const filled = (...offsets: number[]) => {
  const lane = new FeedLane();
  for (const offset of offsets) lane.put(offset, received());
  return lane;
};

describe('a lane', () => {
  it('begins where the first delivery is, and leaves what lies before it to the log', () => {
    const lane = filled(40, 41);
    assert.equal(lane.reach, 41);
    assert.equal(read(lane, 10), null);
    assert.equal(lane.logLimit(10), 39);
    assert.deepEqual(read(lane, 39), { offsets: [40, 41], to: 41 });
    assert.equal(read(lane, 41), null);
  });

  it('drops what it had before, and counts it as a duplicate', () => {
    const lane = filled(1, 2);
    assert.equal(lane.put(1, received()), 'duplicate');
    assert.equal(lane.put(4, received()), 'taken');
    assert.equal(lane.put(4, received()), 'duplicate');
    assert.equal(lane.held, 3);
  });

  it('holds what is early until the gap closes', () => {
    const lane = filled(1, 4, 3);
    assert.equal(lane.reach, 1);
    assert.notEqual(lane.gapSince, null);
    assert.deepEqual(read(lane, 0), { offsets: [1], to: 1 });
    lane.put(2, received());
    assert.equal(lane.reach, 4);
    assert.equal(lane.gapSince, null);
    assert.deepEqual(read(lane, 0), { offsets: [1, 2, 3, 4], to: 4 });
  });

  it('lets readers go to the log for a gap, and no further', () => {
    const lane = filled(1, 5, 6, 9);
    assert.equal(lane.early, 5);
    assert.equal(lane.raise(4), 3);
    assert.equal(lane.reach, 6);
    assert.equal(read(lane, 1), null);
    assert.equal(lane.logLimit(1), 4);
    assert.deepEqual(read(lane, 4), { offsets: [5, 6], to: 6 });
    assert.equal(lane.early, 9);
    assert.equal(lane.put(3, received()), 'duplicate');
  });

  it('does not keep what is too far ahead, but knows of it', () => {
    const lane = filled(1);
    assert.equal(lane.put(1_000_000, received()), 'far');
    assert.equal(lane.held, 1);
    assert.equal(lane.early, 1_000_000);
    lane.raise(999_999);
    assert.equal(lane.reach, 999_999);
  });

  it('leaves what cannot be read to the log', () => {
    const lane = filled(1, 2, 3);
    const broken = (offset: number, slot: Slot) => (offset === 2 ? null : open(offset, slot));
    const request = { partition: 0, after: 0, limit: 10, types: null };
    assert.equal(lane.read(request, all, broken)?.scannedTo, 1);
    assert.equal(read(lane, 1), null);
    assert.equal(lane.logLimit(1), 2);
    assert.deepEqual(read(lane, 2), { offsets: [3], to: 3 });
  });

  it('opens only what somebody wants, and once', () => {
    const lane = new FeedLane();
    lane.put(1, received('A'));
    lane.put(2, received('B'));
    let opened = 0;
    const count = (offset: number, slot: Slot) => {
      opened += 1;
      return open(offset, slot);
    };
    const request = { partition: 0, after: 0, limit: 10, types: null };
    for (let i = 0; i < 3; i += 1) lane.read(request, new Set(['B']), count);
    assert.equal(opened, 1);
    assert.equal(lane.read(request, new Set(['C']), count)?.scannedTo, 2);
  });

  it('forgets everything when it is reset', () => {
    const lane = filled(5, 6, 9);
    lane.reset();
    assert.deepEqual([lane.reach, lane.held, lane.bytes, lane.known], [0, 0, 0, false]);
    lane.put(3, received());
    assert.equal(lane.reach, 3);
  });

  it('agrees with the log whatever comes in whatever order', (t) => {
    const random = seededRandom(t);
    for (let round = 0; round < 200; round += 1) {
      const lane = new FeedLane();
      const start = random.below(50);
      let sent = start;
      let position = start;
      lane.put(start + 1, received());
      for (let turn = 0; turn < 200; turn += 1) {
        const dice = random.below(10);
        if (dice < 6) {
          sent += 1;
          if (!random.chance(0.1)) lane.put(Math.max(1, sent - random.below(6)), received());
        } else if (dice === 6 && lane.early !== null) lane.raise(lane.early - 1);
        else if (dice === 7) lane.dropTo(position);
        else {
          const found = read(lane, position, 1 + random.below(5));
          if (found === null) {
            // As somebody does who asks the log: up to where it says, one or more further.
            const limit = lane.logLimit(position);
            if (position < lane.reach) assert.ok(limit > position && limit <= lane.reach);
            position = Math.max(position, limit);
            continue;
          }
          const expected = found.offsets.map((_, i) => position + 1 + i);
          assert.deepEqual(found.offsets, expected);
          assert.ok(found.to <= lane.reach);
          position = found.to;
        }
        assert.ok(lane.held >= 0 && lane.bytes === lane.held * 7);
      }
    }
  });
});

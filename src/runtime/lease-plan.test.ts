import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Lease } from '../ports/streams.ts';
import { type LeaseView, planLeases } from './lease-plan.ts';

const me = 'me';
const lease = (partition: number, workerId: string | null, ownerAlive = true): Lease => ({
  group: 'g',
  partition,
  epoch: 3,
  workerId,
  ownerAlive,
});
const plan = (view: Partial<LeaseView>) =>
  planLeases({
    partitions: 4,
    workerId: me,
    leases: [],
    held: [],
    staying: view.held ?? [],
    sharers: 1,
    preference: null,
    ...view,
  });
const preferring = (preferred: readonly number[], freeMs = 0) => ({
  prefers: (partition: number) => preferred.includes(partition),
  freeForMs: () => freeMs,
  patienceMs: 1_000,
});
const taken = (found: ReturnType<typeof plan>) =>
  found.candidates
    .filter(({ preferred }, i) => preferred || i < found.room)
    .map(({ partition }) => partition);

describe('without a broker', () => {
  it('takes a fair share of what is free, dead or its own', () => {
    const leases = [lease(0, 'dead', false), lease(1, 'other'), lease(2, me)];
    const found = plan({ leases, sharers: 2 });
    assert.deepEqual(taken(found), [0, 2]);
    assert.deepEqual(found.wanted, []);
    assert.equal(found.candidates[0]?.seenEpoch, 3);
  });

  it('hands back what is beyond its share, and never what is leaving already', () => {
    const leases = [0, 1, 2, 3].map((partition) => lease(partition, me));
    const found = plan({ leases, held: [0, 1, 2, 3], staying: [1, 2, 3], sharers: 2 });
    assert.deepEqual(found.surplus, [1]);
    assert.equal(found.room, -2);
  });
});

describe('with a broker', () => {
  it('takes at once what is brought here, beyond its share too', () => {
    const found = plan({ sharers: 4, preference: preferring([1, 3]) });
    assert.deepEqual(taken(found), [1, 3]);
  });

  it('leaves what is brought elsewhere to others, for a while', () => {
    assert.deepEqual(taken(plan({ preference: preferring([], 999) })), []);
    assert.deepEqual(taken(plan({ preference: preferring([], 1_000) })), [0, 1, 2, 3]);
  });

  it('adopts within its share, after those that are brought here', () => {
    const found = plan({ sharers: 2, preference: preferring([3], 5_000) });
    assert.deepEqual(taken(found), [3, 0]);
  });

  it('keeps what is brought here, whatever its share is', () => {
    const leases = [0, 1, 2, 3].map((partition) => lease(partition, me));
    const view = { leases, held: [0, 1, 2, 3], sharers: 2 };
    assert.deepEqual(plan({ ...view, preference: preferring([0, 1, 2, 3]) }).surplus, []);
    assert.deepEqual(plan({ ...view, preference: preferring([0, 1]) }).surplus, [2, 3]);
    // Adopted and within the share: nobody takes it away but somebody who asks for it.
    assert.deepEqual(plan({ ...view, sharers: 1, preference: preferring([0]) }).surplus, []);
  });

  it('asks for what is brought here and held elsewhere, not for its own', () => {
    const leases = [lease(0, 'other'), lease(1, 'dead', false), lease(2, me)];
    const found = plan({ leases, held: [2], preference: preferring([0, 1, 2]) });
    assert.deepEqual(found.wanted, [0]);
    assert.deepEqual(taken(found), [1, 3].slice(0, 1));
  });
});

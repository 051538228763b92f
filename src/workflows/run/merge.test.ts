import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { RunRecord } from '../../core/workflow/run-record.ts';
import type { Draft } from './driver.ts';
import { merge, mergeable, stateAfter } from './merge.ts';

const step = (name: string): Draft => ({
  create: [{ name, kind: 'run' }],
  transitions: [],
});

/** What a record looks like after the drafts, one change each or all that can be merged in one. */
function fold(drafts: readonly Draft[], merged: boolean): unknown {
  const record = new RunRecord();
  const left = [...drafts];
  while (left.length > 0) {
    const count = merged ? mergeable(left) : 1;
    record.apply({ at: 1, by: 'me', ...merge(left, count) });
    left.splice(0, count);
  }
  const { state, read, steps, notes } = record;
  return { state, read, steps, notes: [...notes] };
}

describe('drafts that gathered', () => {
  it('say in one change what they would say in many', () => {
    const drafts: Draft[] = [
      { ...step('a'), transitions: [[-1, 'initializing']] },
      { ...step('b'), transitions: [[0, 'enqueued']] },
      {
        transitions: [
          [0, 'in_progress'],
          [1, 'enqueued'],
        ],
        facts: [{ step: 1, inputsJson: '1' }],
        read: 3,
      },
      { transitions: [[1, 'in_progress']], facts: [{ step: 0, resultJson: '2' }], read: 2 },
      { transitions: [], notes: [['k', '1']] },
    ];
    assert.equal(mergeable(drafts), 5);
    const one = fold(drafts, true) as { read: number };
    assert.equal(one.read, 3, 'the highest, whatever came last');
    assert.deepEqual({ ...one, read: 2 }, fold(drafts, false));
  });

  it('stay apart when they have different authors or reasons', () => {
    const said = { transitions: [] };
    assert.equal(mergeable([said, { ...said, by: 'ann' }]), 1);
    assert.equal(mergeable([{ ...said, by: 'ann' }, { ...said, by: 'ann' }, said]), 2);
    assert.equal(mergeable([said, { ...said, reason: 'why' }]), 1);
  });

  it('stay apart when the order of facts and transitions matters', () => {
    const drafts: Draft[] = [
      step('a'),
      { transitions: [[0, 'in_progress']] },
      { transitions: [], facts: [{ step: 0, attempts: 0 }] },
    ];
    assert.equal(mergeable(drafts), 2);
    assert.deepEqual(fold(drafts, true), fold(drafts, false));
  });

  it('stay apart when waits are taken away after they were added, and after the end', () => {
    const waits = [{ eventType: 'X', eventKey: null, step: 0 }];
    assert.equal(
      mergeable([
        { transitions: [], waits },
        { transitions: [], unwait: [0] },
      ]),
      1,
    );
    assert.equal(
      mergeable([
        { transitions: [], unwait: [0] },
        { transitions: [], waits },
      ]),
      2,
    );
    const end = { state: 'complete', resultJson: null, error: null } as const;
    assert.equal(mergeable([{ transitions: [], end }, { transitions: [] }]), 1);
  });

  it('lead to the last state of the run that they name', () => {
    const record = new RunRecord();
    assert.equal(stateAfter(record, { transitions: [[0, 'complete']] }), 'pending');
    const transitions = [
      [-1, 'initializing'],
      [-1, 'enqueuing_steps'],
      [0, 'enqueued'],
    ] as const;
    assert.equal(stateAfter(record, { transitions }), 'enqueuing_steps');
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readVerb } from './verbs.ts';

const read = (payload: object) => readVerb({ payloadJson: JSON.stringify(payload) });

test('who sent a verb, and why, can be stored whatever was written', () => {
  assert.deepEqual(read({ by: 'a\0nn', reason: 'half \ud800 of\0 it' }), {
    by: 'ann',
    reason: 'half \ufffd of it',
  });
  const long = read({ by: 'x'.repeat(2_000), reason: `${'y'.repeat(999)}\u{1f600}` });
  assert.equal(long.by.length, 1_000);
  assert.equal(long.reason, `${'y'.repeat(999)}\ufffd`);
  assert.deepEqual(read({ by: '\0' }), { by: 'operator' });
  assert.deepEqual(readVerb({ payloadJson: 'no JSON' }), { by: 'operator' });
});

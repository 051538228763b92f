/** Which word was meant. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearestName, suggestName } from './nearest-name.ts';

test('the nearest word, at most a third of the letters away', () => {
  const known = ['dependencies', 'description', 'handler', 'retry', 'type'];
  for (const [word, meant] of [
    ['dependancies', 'dependencies'],
    ['Handler', 'handler'],
    ['hanlder', 'handler'],
    ['rtry', 'retry'],
    ['typ', 'type'],
    ['metadata', undefined],
    ['', undefined],
    ['dependencies'.repeat(20), undefined],
  ] as const) {
    assert.equal(nearestName(word, known), meant, word);
  }
  assert.equal(nearestName('max-attempts', ['max_attempts']), 'max_attempts');
});

test('a suggestion is a sentence, a short list, or nothing', () => {
  assert.equal(suggestName('retri', ['retry', 'type']), "Did you mean 'retry'?");
  assert.equal(suggestName('zzz', ['retry', 'type']), 'There are retry, type.');
  assert.equal(
    suggestName(
      'zzz',
      Array.from({ length: 13 }, (_, i) => `word${i}`),
    ),
    null,
  );
  assert.equal(suggestName('zzz', []), null);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createStemScanner } from './stem-scanner.ts';

test('finds stems in any case, across false starts and within other words', () => {
  const scanner = createStemScanner(['fail', 'timed out', 'lo', 'locked']);
  for (const text of [
    'it FAILed',
    'ffafail',
    'Timed Out',
    'timed timed out',
    'hello',
    'blocked é',
  ]) {
    assert.equal(scanner.test(text), true, text);
  }
  for (const text of ['', 'fai', 'timed-out', 'é', 'f\u0161il', 'fa il']) {
    assert.equal(scanner.test(text), false, text);
  }
});

test('says what a search of each stem says', () => {
  const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'A', 'é'), maxLength: 30 });
  const stem = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(fc.array(stem, { minLength: 1, maxLength: 8 }), letters, (stems, text) => {
      const expected = stems.some((one) => text.toLowerCase().includes(one));
      assert.equal(createStemScanner(stems).test(text), expected);
    }),
  );
});

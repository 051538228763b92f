import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { MillraceError } from '../core/errors.ts';
import { reportFailure, usage } from './failure.ts';
import { commandText, hint, quote } from './hint.ts';
import type { Io } from './io.ts';
import { table } from './table.ts';

function io(env: Io['env'] = {}) {
  const texts: string[] = [];
  const output = { write: (text: string) => void texts.push(text), isTTY: false, columns: 100 };
  const { signal } = new AbortController();
  const made: Io = { stdin: Readable.from([]), stdout: output, stderr: output, env, signal };
  return { made, text: () => texts.join('') };
}

test('an error says what, why, what to do and what to type; no stack', () => {
  const cause = new Error('connect ECONNREFUSED', { cause: new Error('the network is down') });
  const shown = io();
  const error = new MillraceError('JOB_STATE', 'The job cannot be retried', { cause });
  assert.equal(reportFailure(error, shown.made, false), 1);
  assert.match(
    shown.text(),
    /JOB_STATE[\s\S]*ECONNREFUSED[\s\S]*network is down[\s\S]*fix[\s\S]*next/,
  );
  assert.doesNotMatch(shown.text(), /\bat .*\.ts:/);
  const debug = io({ MILLRACE_DEBUG: '1' });
  reportFailure(error, debug.made, false);
  assert.match(debug.text(), /\bat .*\.ts:/);
});

test('what to type next belongs to the command that failed, and is not that command', () => {
  const next = (error: Error, named?: string): string | undefined => {
    const shown = io();
    reportFailure(error, shown.made, true, named);
    return JSON.parse(shown.text()).error.next;
  };
  const missing = new MillraceError('NOT_FOUND', 'There is no such thing.');
  assert.equal(next(missing, 'jobs show'), 'millrace jobs list');
  assert.equal(next(missing, 'broker status'), undefined);
  assert.equal(next(missing, 'exceptions list'), undefined);
  assert.equal(next(usage('Nothing was named.'), 'jobs show'), 'millrace jobs show --help');
});

test('a cause that the message ends with is not said twice', () => {
  const shown = io();
  const cause = new Error('connect ECONNREFUSED 127.0.0.1:1');
  const message = `Postgres does not answer: ${cause.message}`;
  reportFailure(new MillraceError('STORE_UNAVAILABLE', message, { cause }), shown.made, false);
  assert.equal(shown.text().split('ECONNREFUSED').length, 2);
});

test('as JSON it is one document; usage ends with 2', () => {
  const shown = io();
  assert.equal(reportFailure(usage('Nothing was named.'), shown.made, true), 2);
  const { error } = JSON.parse(shown.text());
  assert.deepEqual([error.code, error.next], ['USAGE', 'millrace --help']);
});

test('anything that is thrown can be reported', () => {
  for (const thrown of [null, undefined, 'text', 42, { code: 'ENOENT', message: 'no such file' }]) {
    assert.equal(reportFailure(thrown, io().made, true), 1);
  }
});

test('what to type next is what this user can type', () => {
  const plain = io().made;
  assert.equal(commandText(plain, 'health', { data: '.millrace' }), 'millrace health');
  assert.equal(commandText(plain, 'health', { data: 'a b' }), "millrace health --data 'a b'");
  const npm = io({ npm_lifecycle_event: 'start' }).made;
  assert.equal(commandText(npm, 'health'), 'npm run millrace -- health');
  assert.doesNotMatch(hint(plain, 'health', { url: 'postgres://u:secret@h/d' }), /secret/);
  assert.equal(quote("it's"), "'it'\\''s'");
});

test('stored text cannot steer the terminal from inside a table', () => {
  const drawn = table(['name'], [['a\u001b[31mred\nline']]);
  assert.ok(!drawn.includes('\u001b[31mred'));
  assert.match(drawn, /a \[31mred line/);
  assert.match(table(['n'], [[1234567]]), /1,234,567/);
  assert.match(table(['n'], [['x'.repeat(100)]], 10), /x{9}…/);
});

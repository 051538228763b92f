import assert from 'node:assert/strict';
import { it } from 'node:test';
import { inheritedFlags, threadEntry } from './thread.ts';

it('finds the entry with the ending of the file that asks', () => {
  assert.equal(threadEntry('thread', 'file:///a/src/b.ts').href, 'file:///a/src/thread.ts');
  assert.equal(threadEntry('thread', 'file:///a/dist/b.js').href, 'file:///a/dist/thread.js');
});

it('hands on what a thread needs of the flags of node --eval, and nothing else', () => {
  const asked = ['--input-type=module', '-C', 'one', '--conditions=two', '-e', 'code()'];
  assert.deepEqual(inheritedFlags(asked), { execArgv: ['--conditions=two', '-C', 'one'] });
  assert.deepEqual(inheritedFlags(['--conditions=two', '--expose-gc']), {});
});

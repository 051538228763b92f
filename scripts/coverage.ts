/**
 * The share of lines that the tests run, of src and apps. A floor read by CI, not a goal.
 *
 * Node reports the files that were loaded; one that no test loads counts as not covered at all,
 * unless it holds nothing but types and comments.
 */
import { globSync, readFileSync } from 'node:fs';
import * as path from 'node:path';

export const coverageFloor = 80;

export const coverageGlobs = {
  include: ['src/**/*.ts', 'apps/**/*.ts'],
  exclude: ['**/*.test.ts', '**/*.conformance.ts', '**/test-*.ts', 'test/**', 'scripts/**'],
};

export interface LoadedFile {
  readonly path: string;
  readonly totalLineCount: number;
  readonly coveredLineCount: number;
}

export interface Coverage {
  readonly percent: number;
  readonly covered: number;
  readonly total: number;
  /** Files of which no test runs a line, and those with the lowest share. */
  readonly notLoaded: readonly string[];
  readonly lowest: readonly { readonly path: string; readonly percent: number }[];
}

export function measureCoverage(loaded: readonly LoadedFile[]): Coverage {
  const known = new Set(loaded.map((file) => path.relative('.', file.path)));
  const all = globSync(coverageGlobs.include, { exclude: coverageGlobs.exclude });
  const notLoaded = all.filter((file) => !known.has(file) && hasCode(file)).sort();
  const missing = notLoaded.map((file) => readFileSync(file, 'utf8').split('\n').length);
  const covered = sum(loaded.map((file) => file.coveredLineCount));
  const total = sum(loaded.map((file) => file.totalLineCount)) + sum(missing);
  const shares = loaded.map((file) => ({
    path: path.relative('.', file.path),
    percent: percentOf(file.coveredLineCount, file.totalLineCount),
  }));
  const lowest = shares.sort((a, b) => a.percent - b.percent).slice(0, 5);
  return { percent: percentOf(covered, total), covered, total, notLoaded, lowest };
}

function hasCode(file: string): boolean {
  const declaration = /^(?:export )?(?:default )?(?:async )?(?:const|let|function|class)\b/m;
  return declaration.test(readFileSync(file, 'utf8'));
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

function percentOf(part: number, whole: number): number {
  return whole === 0 ? 100 : (part / whole) * 100;
}

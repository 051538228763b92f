/**
 * Which test files a run of scripts/test.ts takes. The kind of a test is its suffix: `.test.ts`
 * needs nothing, `.fuzz.test.ts` is seeded, `.int.test.ts` needs a database, `.fault.test.ts`
 * breaks things.
 */
import { globSync } from 'node:fs';

export type TestKind = 'unit' | 'int' | 'faults';

export interface TestFile {
  readonly path: string;
  readonly kind: TestKind;
}

const places = ['src/**/*.test.ts', 'test/**/*.test.ts', 'apps/**/*.test.ts'];
const kinds: ReadonlySet<string> = new Set(['unit', 'int', 'faults']);

/** Every test file of the repository, in a stable order. */
export function allTestFiles(): readonly TestFile[] {
  return globSync(places, { exclude: ['**/node_modules/**', '**/dist/**'] })
    .map((path) => path.replaceAll('\\', '/'))
    .sort()
    .map((path) => ({ path, kind: kindOf(path) }));
}

function kindOf(path: string): TestKind {
  if (path.endsWith('.fault.test.ts')) return 'faults';
  return path.endsWith('.int.test.ts') ? 'int' : 'unit';
}

/** Words that are kinds select kinds; every other word is a part of a path. None select all. */
export function selectTestFiles(
  files: readonly TestFile[],
  words: readonly string[],
): readonly TestFile[] {
  const wanted = words.filter((word) => kinds.has(word));
  const fragments = words.filter((word) => !kinds.has(word));
  return files.filter(
    ({ path, kind }) =>
      (wanted.length === 0 || wanted.includes(kind)) &&
      (fragments.length === 0 || fragments.some((fragment) => path.includes(fragment))),
  );
}

/**
 * Style as a test: what a reviewer would have to say every time, said by the machine. The rules are
 * in test/tidy, each shown below to find what it is for. Exceptions are listed with their present
 * size and may only shrink: a new one is a decision to be argued in its commit.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { checkCycles, checkLayers } from './tidy/layer-rules.ts';
import { checkLinks, findIn, readPages } from './tidy/link-rules.ts';
import {
  checkFileSizes,
  checkFunctionSizes,
  type Exceptions,
  functionsOf,
} from './tidy/size-rules.ts';
import { readSourceTree, sourceFile, type Violation } from './tidy/source-tree.ts';
import {
  checkAny,
  checkLines,
  checkNames,
  checkOpenings,
  checkQueries,
} from './tidy/text-rules.ts';

const longFiles: Exceptions = {};
const longFunctions: Exceptions = {};

const root = fileURLToPath(new URL('..', import.meta.url));
const files = readSourceTree(root);

describe('the repository', () => {
  it('keeps its layers', () => assertTidy(checkLayers(files)));
  it('has no import cycles', () => assertTidy(checkCycles(files)));
  it('names files and folders by rule', () => assertTidy(checkNames(files)));
  it('opens every module with a comment', () => assertTidy(checkOpenings(files)));
  it('has short, finished lines', () => assertTidy(checkLines(files)));
  it('gives a reason for every any', () => assertTidy(checkAny(files)));
  it('uses every query', () => assertTidy(checkQueries(files)));
  it('has files of a size', () => assertTidy(checkFileSizes(files, longFiles)));
  it('has functions of a size', () => assertTidy(checkFunctionSizes(files, longFunctions)));
  it('has links that lead somewhere', () => assertTidy(checkLinks(readPages(root), findIn(root))));
});

describe('the layer rule', () => {
  const found = (path: string, line: string) =>
    checkLayers([sourceFile(path, `${line}\n`)]).map(({ problem }) => problem);

  it('lets imports go to the left only', () => {
    assert.deepEqual(found('src/events/a.ts', "import { b } from '../core/b.ts';"), []);
    assert.match(
      found('src/core/a.ts', "import type { B } from '../ports/b.ts';").join(),
      /core may not import ports/,
    );
    assert.match(
      found('src/jobs/a.ts', "import { b } from '../events/b.ts';").join(),
      /jobs may not import events/,
    );
    assert.match(
      found('src/events/a.ts', "} from '../millrace.ts';").join(),
      /events may not import face/,
    );
  });

  it('keeps drivers leaves that only connect.ts names', () => {
    const [name, lazily] = [
      "import { s } from '../../ports/s.ts';",
      "await import('./drivers/p/s.ts')",
    ];
    assert.deepEqual(found('src/drivers/p/a.ts', name), []);
    assert.equal(found('src/drivers/p/a.ts', "import { s } from '../q/s.ts';").length, 1);
    assert.equal(found('src/drivers/p/a.ts', "import { s } from '../../events/s.ts';").length, 1);
    assert.deepEqual(found('src/connect.ts', lazily), []);
    assert.equal(found('src/connect.ts', "import { s } from './drivers/p/s.ts';").length, 1);
    assert.equal(found('src/millrace.ts', lazily).length, 1);
    assert.equal(found('src/index.ts', "export { s } from './drivers/p/s.ts';").length, 1);
  });

  it('keeps packages out of the inner layers and node out of core', () => {
    assert.equal(found('src/core/a.ts', "import * as fs from 'node:fs';").length, 1);
    assert.equal(found('src/events/a.ts', "import pg from 'pg';").length, 1);
    assert.deepEqual(found('src/runtime/a.ts', "import { on } from 'node:events';"), []);
    assert.deepEqual(found('src/http/a.ts', "import fastify from 'fastify';"), []);
  });

  it('treats apps, benches and examples as users; their tests may look inside', () => {
    const inside = "import { x } from '../../src/core/x.ts';";
    assert.equal(found('apps/x/a.ts', inside).length, 1);
    assert.deepEqual(found('apps/x/a.test.ts', inside), []);
    assert.deepEqual(found('apps/x/a.ts', "import { connect } from 'millrace';"), []);
  });
});

describe('the other rules', () => {
  it('find a cycle at run time, not one of types', () => {
    const cycle = [
      sourceFile('src/core/a.ts', "import { b } from './b.ts';\n"),
      sourceFile('src/core/b.ts', "import { a } from './a.ts';\n"),
    ];
    assert.deepEqual(
      checkCycles(cycle).map(({ problem }) => problem),
      ['src/core/a.ts → src/core/b.ts → src/core/a.ts'],
    );
    const typesOnly = sourceFile('src/core/b.ts', "import type { A } from './a.ts';\n");
    assert.deepEqual(checkCycles([cycle[0] as (typeof cycle)[0], typesOnly]), []);
  });

  it('find names that say nothing', () => {
    const rules = (path: string) => checkNames([sourceFile(path, '')]).length;
    const bad = ['src/utils/a.ts', 'src/core/camelCase.ts', 'src/core/index.ts', 'src/a_b/c.ts'];
    const good = ['src/index.ts', 'apps/x/index.ts', 'src/core/a-b.int.test.ts', 'test/types/a.ts'];
    assert.deepEqual(bad.map(rules), [1, 1, 1, 1]);
    assert.deepEqual(good.map(rules), [0, 0, 0, 0]);
  });

  it('find what a line should not hold', () => {
    const lines = [
      '// TO' + 'DO: later',
      'x'.repeat(101),
      `// https://x.example/${'x'.repeat(100)}`,
    ];
    const file = sourceFile('src/core/a.ts', lines.join('\n'));
    assert.deepEqual(
      checkLines([file]).map(({ rule, line }) => `${rule} ${line}`),
      ['unfinished 1', 'columns 2'],
    );
    assert.equal(checkOpenings([sourceFile('src/core/a.ts', 'const a = 1;\n')]).length, 1);
  });

  it('find any, unless a reason stands above', () => {
    const withAny = (text: string) => checkAny([sourceFile('src/core/a.ts', text)]).length;
    assert.equal(withAny('let a: any;'), 1);
    assert.equal(withAny('let a: Map<any, string>;'), 1);
    assert.equal(withAny('let a = b as any;'), 1);
    assert.equal(withAny("// whether any is left\nthrow new Error('no: any of them');"), 0);
    assert.equal(withAny('// biome-ignore lint/suspicious/noExplicitAny: why\nlet a: any;'), 0);
  });

  it('find a query that no code uses', () => {
    const query = sourceFile('src/drivers/p/sql/find-it.sql', '');
    assert.equal(checkQueries([query]).length, 1);
    assert.equal(checkQueries([query, sourceFile('src/drivers/p/a.ts', 'sql.findIt;')]).length, 0);
  });

  it('find links that lead nowhere', () => {
    const there: Readonly<Record<string, string>> = {
      'docs/a.md': '# A page\n## Two words, `code`\n## Two words, code\n',
      src: '',
    };
    const text = [
      '[a](a.md) [b](a.md#two-words-code) [c](a.md#two-words-code-1) [d](../src) [e](https://x.y/z.md)',
      '[f](b.md) [g](a.md#three) [h](#here)',
      '```',
      'list[0](not.md)',
      '```',
    ].join('\n');
    const found = checkLinks([{ path: 'docs/c.md', text: `${text}\n# There\n` }], (target) =>
      target === 'docs/c.md' ? text : (there[target] ?? null),
    );
    assert.deepEqual(
      found.map(({ line, problem }) => `${line} ${problem}`),
      [
        '2 there is no docs/b.md',
        '2 docs/a.md has no heading #three',
        '2 docs/c.md has no heading #here',
      ],
    );
  });

  it('measure functions of every form', () => {
    const text = `
export async function first(
  a: string,
): Promise<void> {
  a;
}
class A {
  async #second({
    b,
  }: B): Promise<void> {
    if (b) {
      b();
    }
  }
}
const third = (c: string): void => {
  c;
};
const table = {
  fourth: async () => {
    four();
  },
};
`;
    const found = functionsOf(text.split('\n')).map(({ name, size }) => `${name} ${size}`);
    assert.deepEqual(found, ['first 5', '#second 7', 'third 3', 'fourth 3']);
  });

  it('turn the ratchet one way', () => {
    const file = sourceFile('src/core/a.ts', 'x\n'.repeat(600));
    const problems = (exceptions: Exceptions) =>
      checkFileSizes([file], exceptions).map(({ problem }) => problem);
    assert.match(problems({}).join(), /has 600 lines, 500 are allowed/);
    assert.deepEqual(problems({ 'src/core/a.ts': 600 }), []);
    assert.match(problems({ 'src/core/a.ts': 599 }).join(), /599 are allowed/);
    assert.match(problems({ 'src/core/a.ts': 700 }).join(), /set its exception to 600/);
    const gone = problems({ 'src/core/a.ts': 600, 'src/core/gone.ts': 700 });
    assert.match(gone.join(), /remove its exception/);
  });
});

function assertTidy(violations: readonly Violation[]): void {
  const shown = violations.map(
    ({ path, line, rule, problem }) => `${path}:${line} [${rule}] ${problem}`,
  );
  if (shown.length === 0) return;
  const error = new Error(`\n${shown.join('\n')}`);
  error.stack = error.message; // where this test stands is of no interest
  throw error;
}

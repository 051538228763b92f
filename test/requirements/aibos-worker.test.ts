/**
 * The modules in aibos-worker hold the requirement document's own code. Compared word for word with
 * the document where that is at hand, so that neither drifts from the other unseen.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';

const documentUrl = new URL('../../../shared/requirements/aibos-worker.md', import.meta.url);
const skip = existsSync(documentUrl) ? false : 'the requirement document is not at hand';

/** In the order of the document. */
const modules = [
  'quick-start',
  'job-definition',
  'job-queue-management',
  'workflow-definition',
  'workflow-steps',
  'cron-scheduling',
  'one-time-scheduling',
  'retry-logic',
  'error-recovery',
  'worker-metrics',
  'health-checks',
  'horizontal-scaling',
  'load-balancing',
  'worker-configuration',
  'error-handling',
];

/** What stands between the markers of a module. */
function codeOf(module: string): string {
  const text = readFileSync(new URL(`aibos-worker/${module}.ts`, import.meta.url), 'utf8');
  const regions = text.matchAll(/\/\/ #region document\n(.*?)\/\/ #endregion/gs);
  return [...regions].map(([, code]) => code).join('\n');
}

/** Layout, quotes and trailing commas are the formatter's; the three named changes are ours. */
function plain(code: string): string {
  return code
    .replace(/(^|\s)\/\/ .*$/gm, '') // comments, ours among them
    .replace(/redis: \{\s*url: process\.env\.REDIS_URL\s*\}/g, '...connection')
    .replaceAll('@aibos/worker', 'millrace')
    .replaceAll('"', "'")
    .replace(/\s+/g, '')
    .replace(/,(?=[\])}])/g, '');
}

describe('the blocks of the document', { skip }, () => {
  const document = skip ? '' : readFileSync(documentUrl, 'utf8');
  const blocks = [...document.matchAll(/```typescript\n(.*?)```/gs)].map(([, code = '']) => code);

  it('are all here', () => assert.equal(modules.length, blocks.length));
  for (const [i, module] of modules.entries()) {
    it(`${module} says what the document says`, () => {
      assert.equal(plain(codeOf(module)), plain(blocks[i] as string));
    });
  }

  it('would be seen to differ', () => {
    const block = blocks[0] as string;
    assert.notEqual(plain(block.replace('concurrency: 5', 'concurrency: 6')), plain(block));
  });
});

describe('the environment variables of the document', { skip }, () => {
  it('are the ones that are read', () => {
    const document = skip ? '' : readFileSync(documentUrl, 'utf8');
    const named = [...(/```env\n(.*?)```/s.exec(document)?.[1]?.matchAll(/^[A-Z_]+(?==)/gm) ?? [])];
    const source = new URL('../../src/faces/environment.ts', import.meta.url);
    const read = readFileSync(source, 'utf8');
    assert.ok(named.length >= 13);
    for (const [name] of named) assert.match(read, new RegExp(`\\b${name}\\b`));
  });
});

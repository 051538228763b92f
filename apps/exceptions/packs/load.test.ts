/** The packs that come with the application: they load, and their own test suites hold. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { tryException } from '../dry-run.ts';
import type { ExceptionState } from '../projection.ts';
import { loadPacks } from './load.ts';
import { domainPackSchema, type TestCase } from './schema.ts';
import { readPack } from './source.ts';

const packs = loadPacks();

function outcomeOf(state: ExceptionState | null): string {
  if (state?.status === 'PENDING_APPROVAL') return 'PENDING_APPROVAL';
  return state?.outcome ?? (state?.waiting ? 'WAITING' : 'UNFINISHED');
}

async function check(domain: string, test: TestCase): Promise<void> {
  const { input, expectedOutput, tenantId } = test;
  const owner = tenantId === '*' ? 'any-tenant' : tenantId;
  const { state } = await tryException(packs, { tenantId: owner, domain, ...input });
  const actual: Record<string, unknown> = {
    exceptionType: state?.type,
    severity: state?.severity,
    decision: state?.decision,
    playbookId: state?.playbookId,
    outcome: outcomeOf(state),
  };
  for (const [name, expected] of Object.entries(expectedOutput)) {
    assert.equal(actual[name], expected, `${name} (${state?.reason ?? state?.waiting?.reasons})`);
  }
}

const folder = fileURLToPath(new URL('domains/', import.meta.url));
for (const file of readdirSync(folder)) {
  const text = readFileSync(`${folder}${file}`, 'utf8');
  const { value } = readPack(file, text, domainPackSchema);
  describe(`pack ${value.domainName}`, () => {
    it('brings test cases', () => assert.ok(value.testSuites.length > 0));
    for (const [index, test] of value.testSuites.entries()) {
      it(test.name ?? `case ${index + 1}`, () => check(value.domainName, test));
    }
  });
}

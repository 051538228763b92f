/** The sample shows everything: resolved and waiting exceptions, rejected lines, dead letters. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MillraceError } from 'millrace';
import { dryRun } from '../dry-run.ts';
import { ExceptionIngested } from '../events.ts';
import { loadPacks } from '../packs/load.ts';
import { readExceptions } from '../sources/read-exceptions.ts';
import { createStages } from '../stages/create-stages.ts';
import { createToolRunner } from '../tools/runner.ts';
import { sampleFiles } from './sample-files.ts';

const stages = createStages({
  packs: loadPacks(),
  tools: createToolRunner({ http: null, webhook: null }),
});

interface Ending {
  through: number;
  informational: number;
  readonly rejected: number[];
  readonly dead: Map<string, string>;
  readonly statuses: Set<string>;
}

async function run(name: string): Promise<Ending> {
  const file = sampleFiles.find(({ path }) => path.endsWith(name));
  assert.ok(file);
  const end: Ending = {
    through: 0,
    informational: 0,
    rejected: [],
    dead: new Map(),
    statuses: new Set(),
  };
  for await (const { records } of readExceptions(file.path, file)) {
    for (const { line, outcome, input } of records) {
      if (outcome === 'rejected') end.rejected.push(line);
      else if (outcome === 'informational') end.informational += 1;
      else {
        const { payload, timestamp } = input;
        try {
          const { state } = await dryRun(stages, ExceptionIngested, {
            tenantId: file.tenant,
            payload,
            timestamp,
          });
          end.through += 1;
          end.statuses.add(state?.status ?? 'none');
        } catch (error) {
          assert.ok(error instanceof MillraceError, String(error));
          // The engine tries again what is retryable: a simulated tool that is flaky.
          if (error.retryable) end.through += 1;
          else end.dead.set(payload.exceptionId, error.message);
        }
      }
    }
  }
  return end;
}

test('settlement.ndjson: four dead letters, each for a reason of its own', async () => {
  const end = await run('settlement.ndjson');
  assert.equal(end.through, 121);
  assert.equal(end.rejected.length, 3);
  assert.deepEqual([...end.dead.keys()].sort(), [
    'FIN-2026-0911',
    'FIN-2026-0912',
    'FIN-2026-0913',
    'FIN-2026-0914',
  ]);
  assert.match(end.dead.get('FIN-2026-0911') ?? '', /amount is "12\.5k"/);
  assert.match(end.dead.get('FIN-2026-0912') ?? '', /SETLEMENT_FAIL.*SETTLEMENT_FAIL/);
  assert.match(end.dead.get('FIN-2026-0913') ?? '', /tenant 'southbank'/);
  assert.match(end.dead.get('FIN-2026-0914') ?? '', /yesterday noon/);
  assert.ok(end.statuses.has('RESOLVED') && end.statuses.has('PENDING_APPROVAL'));
});

test('claims.csv: two dead letters, two rejected rows', async () => {
  const end = await run('claims.csv');
  assert.equal(end.through, 90);
  assert.equal(end.rejected.length, 2);
  assert.match(end.dead.get('CLM-2026-0911') ?? '', /billedAmount is "about 300"/);
  assert.match(end.dead.get('CLM-2026-0912') ?? '', /no exception type/);
  assert.equal(end.dead.size, 2);
});

test('hosts.log.txt: faults, ordinary lines and three that are no log lines', async () => {
  const end = await run('hosts.log.txt');
  assert.equal(end.rejected.length, 3);
  assert.equal(end.dead.size, 0);
  assert.ok(end.through >= 50 && end.informational >= 100);
});

/**
 * Counts per class on logs of real systems, 2,000 lines each, where the machine has them. The lines
 * themselves are not part of this repository.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readExceptions } from './read-exceptions.ts';

const directory = fileURLToPath(new URL('../../../../shared/data/logs', import.meta.url));
const skip = existsSync(directory) ? false : `there is no ${directory}`;

const expected: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  'Apache.log': {
    informational: 1405,
    'SERVICE_UNAVAILABLE HIGH': 551,
    'SERVICE_UNAVAILABLE MEDIUM': 12,
    'PERMISSION_DENIED LOW': 32,
  },
  'HDFS.log': { informational: 1920, 'DATA_TRANSFER_FAILURE MEDIUM': 80 },
  'Linux.log': {
    informational: 1277,
    'AUTHENTICATION_FAILURE HIGH': 351,
    'AUTHENTICATION_FAILURE MEDIUM': 186,
    'AUTHENTICATION_FAILURE LOW': 117,
    'JOB_FAILED MEDIUM': 43,
    'CONFIGURATION_ERROR LOW': 19,
    'CONNECTION_FAILURE LOW': 6,
    'TIMEOUT LOW': 1,
  },
  'OpenSSH.log': {
    informational: 458,
    'AUTHENTICATION_FAILURE HIGH': 737,
    'AUTHENTICATION_FAILURE MEDIUM': 142,
    'AUTHENTICATION_FAILURE LOW': 547,
    'INTRUSION_ATTEMPT HIGH': 105,
    'INTRUSION_ATTEMPT LOW': 10,
    'CONNECTION_FAILURE LOW': 1,
  },
  'OpenStack.log': { informational: 1978, 'HTTP_ERROR LOW': 21, 'DATA_CORRUPTION MEDIUM': 1 },
  'Zookeeper.log': {
    informational: 1511,
    'CONNECTION_FAILURE HIGH': 98,
    'CONNECTION_FAILURE MEDIUM': 291,
    'CONNECTION_FAILURE LOW': 37,
    'TIMEOUT LOW': 40,
    'CLUSTER_DEGRADED MEDIUM': 19,
    'SERVICE_UNAVAILABLE MEDIUM': 3,
    'APPLICATION_ERROR MEDIUM': 1,
  },
};

for (const [file, counts] of Object.entries(expected)) {
  test(file, { skip }, async () => {
    const found: Record<string, number> = {};
    let kind = '';
    for await (const batch of readExceptions(join(directory, file), { tenant: 'acme' })) {
      kind = batch.kind;
      for (const { outcome, input } of batch.records) {
        const name =
          outcome === 'exception'
            ? `${input.payload.exceptionType} ${input.payload.severity}`
            : outcome;
        found[name] = (found[name] ?? 0) + 1;
        if (outcome === 'exception') assert.match(input.payload.occurredAt ?? '', /^20\d\d-.*Z$/);
      }
    }
    assert.deepEqual(found, counts, kind);
  });
}

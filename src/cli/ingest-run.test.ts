import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { MillraceError } from '../core/errors.ts';
import { ingestFiles, type ReadExceptions, remoteSink, type Sink } from './ingest-run.ts';
import type { Api } from './platform.ts';

const output = { write: () => {}, isTTY: false, columns: 100 };
const io = {
  stdin: Readable.from([]),
  stdout: output,
  stderr: output,
  env: {},
  signal: new AbortController().signal,
};

/** A source of `count` exceptions in batches of ten; every seventh line says nothing. */
function source(count: number): ReadExceptions {
  return async function* () {
    const common = { bytesTotal: undefined, kind: 'ndjson' };
    for (let from = 1; from <= count; from += 10) {
      const lines = Array.from({ length: Math.min(10, count - from + 1) }, (_, i) => from + i);
      const records = lines.map((line) => {
        if (line % 7 === 0) return { line, outcome: 'informational' as const };
        const payload = { exceptionId: `E-${line}`, rawPayload: { line } };
        const input = { eventId: undefined, key: payload.exceptionId, timestamp: '', payload };
        return { line, outcome: 'exception' as const, input };
      });
      yield { ...common, records, bytesRead: from };
    }
  };
}

const files = [{ path: '-', tenant: 't' }];

test('a record that cannot be stored is rejected alone, with its line', async () => {
  const stored: string[] = [];
  const sink: Sink = async (_, inputs) => {
    const bad = inputs.find(({ payload }) => payload.exceptionId === 'E-13');
    if (bad) throw new MillraceError('EVENT_TOO_LARGE', 'too large by far');
    stored.push(...inputs.map(({ payload }) => payload.exceptionId));
    return { duplicates: 0 };
  };
  const report = await ingestFiles(files, { io, read: source(30), sink, quiet: true });
  assert.deepEqual([report.exceptions, report.informational, report.rejected], [25, 4, 1]);
  assert.deepEqual(report.rejections, [
    { file: 'standard input', line: 13, reason: 'too large by far' },
  ]);
  assert.equal(new Set(stored).size, 25);
});

test('an error of the database ends the reading', async () => {
  const sink: Sink = async () => {
    throw new MillraceError('STORE_UNAVAILABLE', 'gone');
  };
  await assert.rejects(ingestFiles(files, { io, read: source(200), sink, quiet: true }), {
    code: 'STORE_UNAVAILABLE',
  });
});

test('the limit counts records, and says that there was more', async () => {
  const sink: Sink = async () => ({ duplicates: 0 });
  const report = await ingestFiles(files, { io, read: source(30), sink, limit: 12, quiet: true });
  assert.deepEqual([report.exceptions, report.complete], [11, false]);
});

test('bodies stay below what the server takes', async () => {
  const sizes: number[] = [];
  const api = {
    async post(_path: string, { body }: { body: unknown }) {
      sizes.push(JSON.stringify(body).length);
      return { duplicates: 1 };
    },
  } as unknown as Api;
  const rawPayload = { text: 'x'.repeat(1_000) };
  const inputs = Array.from({ length: 2_000 }, (_, i) => {
    const payload = { exceptionId: `E-${i}`, rawPayload };
    return { eventId: undefined, key: payload.exceptionId, timestamp: '', payload };
  });
  const { duplicates } = await remoteSink(api)('t', inputs);
  assert.ok(sizes.every((size) => size < 1024 * 1024));
  assert.equal(duplicates, sizes.length);
});

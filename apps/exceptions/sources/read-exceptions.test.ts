/** Reading whole inputs: kinds, rejected lines, traces, limits, ids. All data is invented. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { freezeJson, isUuid, MillraceError } from 'millrace';
import { parse } from 'yaml';
import { ExceptionIngested } from '../events.ts';
import { domainPackSchema } from '../packs/schema.ts';
import { faultDomain, faultTypes } from './fault-types.ts';
import { type ReadOptions, readExceptions } from './read-exceptions.ts';
import type { ReadRecord } from './record.ts';

async function* chunked(text: string | Uint8Array, size: number): AsyncIterable<Uint8Array> {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(
  text: string | Uint8Array,
  options: Partial<ReadOptions> = {},
  chunk = 65_536,
): Promise<ReadRecord[]> {
  const records: ReadRecord[] = [];
  const input = chunked(text, chunk);
  for await (const batch of readExceptions(input, { tenant: 'acme', ...options })) {
    assert.ok(batch.records.length <= (options.batchMax ?? 1_000));
    records.push(...batch.records);
  }
  return records;
}

const outcomes = (records: readonly ReadRecord[]) =>
  records.map(({ line, outcome }) => `${line} ${outcome}`);
const fails = (code: string, message: RegExp) => (error: unknown) =>
  error instanceof MillraceError && error.code === code && message.test(error.message);

const syslog = [
  'Jan  6 04:02:10 mill7 sshd[1]: Failed password for root from 192.0.2.1 port 5 ssh2',
  'Jan  6 04:02:11 mill7 systemd[1]: Started Session 12 of user mia.',
  'no log line at all',
  'Jan  6 04:02:12 mill7 kernel: Out of memory: Killed process 12 (java)',
  '',
].join('\r\n');

describe('logs', () => {
  test('faults, ordinary lines and rejected ones, whatever the chunks', async () => {
    for (const chunk of [1, 7, 64, 65_536]) {
      const records = await read(syslog, {}, chunk);
      assert.deepEqual(outcomes(records), [
        '1 exception',
        '2 informational',
        '3 rejected',
        '4 exception',
      ]);
      assert.match(records[2]?.reason ?? '', /no time or level.*no log line at all/);
    }
  });

  test('an exception carries what the pack reads', async () => {
    const [first] = await read(syslog, { referenceMs: Date.parse('2026-02-01T00:00:00Z') });
    assert.equal(first?.outcome, 'exception');
    const { payload } = first.input;
    assert.equal(payload.exceptionType, 'AUTHENTICATION_FAILURE');
    assert.equal(payload.severity, 'HIGH');
    assert.equal(payload.domain, faultDomain);
    assert.equal(payload.occurredAt, '2026-01-06T04:02:10.000Z');
    const { host, service, user, remoteAddress, line } = payload.rawPayload;
    assert.deepEqual(
      [host, service, user, remoteAddress, line],
      ['mill7', 'sshd', 'root', '192.0.2.1', 1],
    );
  });

  test('a time without a year is not after the file', async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'millrace-sources-'));
    t.after(() => rm(directory, { recursive: true }));
    const path = join(directory, 'auth.log');
    await writeFile(path, syslog.replaceAll('Jan  6', 'Dec 30'));
    await utimes(path, new Date('2024-01-02T00:00:00Z'), new Date('2024-01-02T00:00:00Z'));
    for await (const { records, bytesRead, bytesTotal } of readExceptions(path, {
      tenant: 'acme',
    })) {
      assert.equal(bytesRead, bytesTotal);
      assert.equal(records[0]?.input?.payload.occurredAt, '2023-12-30T04:02:10.000Z');
      assert.equal(records[0]?.input?.payload.rawPayload.file, 'auth.log');
    }
  });

  test('traces of Java and Python join their line, other text does not', async () => {
    const records = await read(
      [
        '2026-01-06 03:04:05,001 WARN  [main] org.example.Mill: giving up',
        'java.net.ConnectException: Connection refused',
        '\tat org.example.Mill.run(Mill.java:5)',
        'Caused by: java.io.IOException: x',
        '\t... 2 more',
        '2026-01-06 03:04:06,001 ERROR [main] org.example.Mill: failed',
        'Traceback (most recent call last):',
        '  File "mill.py", line 3, in run',
        'requests.exceptions.ConnectTimeout: HTTPConnectionPool',
        'this belongs to nothing',
        '2026-01-06 03:04:07,001 INFO  [main] org.example.Mill: done',
      ].join('\n'),
    );
    assert.deepEqual(outcomes(records), [
      '1 exception',
      '6 exception',
      '10 rejected',
      '11 informational',
    ]);
    assert.equal(records[0]?.input?.payload.exceptionType, 'CONNECTION_FAILURE');
    assert.match(String(records[0]?.input?.payload.rawPayload.trace), /^java\.net.*2 more$/s);
    assert.match(String(records[1]?.input?.payload.rawPayload.trace), /ConnectTimeout/);
  });

  test('a trace is bounded', async () => {
    const trace = '\tat org.example.Mill.run(Mill.java:5)\n'.repeat(5_000);
    const [record] = await read(`2026-01-06 03:04:05 ERROR Mill: failed\n${trace}`);
    const raw = record?.input?.payload.rawPayload ?? {};
    assert.equal(String(raw.trace).split('\n').length + Number(raw.traceLinesLeftOut), 5_000);
    assert.ok(String(raw.trace).length <= 8_400);
  });

  test('lines without time or level are taken when nothing else is there', async () => {
    const records = await read('the mill turns\nERROR? no: water is low\nledger failed to open\n');
    assert.deepEqual(outcomes(records), ['1 informational', '2 exception', '3 exception']);
  });

  test('lines that are too long or hold zeros are rejected, and reading goes on', async () => {
    const lines = syslog.split('\r\n');
    const text = [lines[0], 'x'.repeat(5_000), lines[1], 'a\0b', lines[0]].join('\n');
    for (const chunk of [100, 65_536]) {
      const records = await read(text, { lineMax: 1_000 }, chunk);
      assert.deepEqual(outcomes(records), [
        '1 exception',
        '2 rejected',
        '3 informational',
        '4 rejected',
        '5 exception',
      ]);
      assert.match(records[1]?.reason ?? '', /longer than 1000 characters/);
    }
  });

  test('UTF-16 with a byte order mark, colours, and a mark before UTF-8', async () => {
    const utf16 = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(syslog, 'utf16le')]);
    assert.equal((await read(utf16)).length, 4);
    const coloured =
      '\uFEFF2026-01-06T03:04:05.678Z \x1b[31mERROR\x1b[0m mill: \x1b[1mcannot grind\x1b[0m\n';
    const [record] = await read(coloured);
    assert.equal(record?.input?.payload.rawPayload.message, 'cannot grind');
  });

  test('JSON lines of loggers', async () => {
    const records = await read(
      [
        '{"level":50,"time":1767672000000,"hostname":"mill7","msg":"cannot' +
          ' grind","err":{"message":"connection refused","stack":"Error: connection refused\\n  ' +
          '  at x"}}',
        '{"level":"info","ts":"2026-01-06T03:04:05Z","msg":"errors: 0"}',
        '{"severity":"WARNING","timestamp":"2026-01-06T03:04:05Z","message":"disk is full"}',
        '{"PRIORITY":"3","__REALTIME_TIMESTAMP":"1767672000123456","MESSAGE":"Failed to start' +
          ' Mill.","_HOSTNAME":"mill7","SYSLOG_IDENTIFIER":"systemd"}',
        '{"log":"2026-01-06 03:04:05 ERROR Mill: panic: out of' +
          ' water\\n","stream":"stderr","time":"2026-01-06T03:04:05.1Z"}',
      ].join('\n'),
    );
    assert.deepEqual(
      records.map(({ outcome, input }) =>
        input ? `${input.payload.exceptionType} ${input.payload.severity}` : outcome,
      ),
      [
        'CONNECTION_FAILURE MEDIUM',
        'informational',
        'STORAGE_FULL HIGH',
        'SERVICE_UNAVAILABLE HIGH',
        'PROCESS_CRASH HIGH',
      ],
    );
    assert.equal(records[3]?.input?.payload.occurredAt, '2026-01-06T04:00:00.123Z');
  });
});

describe('records', () => {
  test('NDJSON: whole objects, envelopes, and what is rejected', async () => {
    const records = await read(
      [
        '{"exceptionType":"CASH_BREAK","amount":12,"sourceSystem":"recon"}',
        '{"exceptionId":"E-1","exceptionType":"CASH_BREAK","severity":"high","rawPayload":{"am' +
          'ount":12}}',
        '{"exceptionType":"CASH_BREAK"',
        '[1]',
        '{}',
        '{"exceptionType":"X","rawPayload":5}',
        '{"exceptionId":"","exceptionType":"X"}',
        '{"exceptionType":"X","amount":9007199254740993}',
        '',
        '{"exceptionType":"CASH_BREAK","amount":12,"domain":"finance"}',
      ].join('\n'),
      { domain: 'other' },
    );
    assert.deepEqual(outcomes(records), [
      '1 exception',
      '2 exception',
      '3 rejected',
      '4 rejected',
      '5 rejected',
      '6 rejected',
      '7 rejected',
      '8 rejected',
      '10 exception',
    ]);
    assert.deepEqual(records[0]?.input?.payload.source, 'recon');
    assert.equal(records[1]?.input?.key, 'E-1');
    assert.equal(records[1]?.input?.payload.severity, 'HIGH');
    assert.deepEqual(records[1]?.input?.payload.rawPayload, { amount: 12 });
    assert.equal(records[8]?.input?.payload.domain, 'finance');
    for (const record of records)
      if (record.outcome === 'rejected') assert.ok(record.reason.length > 10);
  });

  test('CSV: quotes, delimiters, wrong rows', async () => {
    const text =
      'exceptionId;exceptionType;amount;note\nC-1;CASH_BREAK;"1,250.75";"two\nlines;' +
      ' ""quoted"""\nC-2;X\nC-3;CASH_BREAK;;\n';
    const records = await read(text, {}, 9);
    assert.deepEqual(outcomes(records), ['2 exception', '4 rejected', '5 exception']);
    assert.deepEqual(records[0]?.input?.payload.rawPayload, {
      exceptionId: 'C-1',
      exceptionType: 'CASH_BREAK',
      amount: '1,250.75',
      note: 'two\nlines; "quoted"',
    });
    assert.match(records[1]?.reason ?? '', /2 cells; the header has 4/);
    assert.deepEqual(records[2]?.input?.payload.rawPayload, {
      exceptionId: 'C-3',
      exceptionType: 'CASH_BREAK',
    });
  });

  test('CSV: a quote that never ends is rejected with its line', async () => {
    const records = await read('id,amount\nA,1\nB,"2\nC,3\n');
    assert.deepEqual(outcomes(records), ['2 exception', '3 rejected', '4 exception']);
  });

  test('CSV: a header that names a column twice is refused', async () => {
    await assert.rejects(read('id,id\n1,2\n'), fails('SOURCE_INVALID', /'id' is named twice/));
  });
});

describe('ids', () => {
  const idsOf = (records: readonly ReadRecord[]) =>
    records.flatMap(({ input }) => (input ? [`${input.key} ${input.eventId}`] : []));

  test('the same line of the same tenant and source has the same ids', async () => {
    const once = idsOf(await read(syslog));
    assert.deepEqual(idsOf(await read(`${syslog}Jan  6 05:00:00 mill7 kernel: ok\n`)), once);
    assert.equal(new Set(once.flatMap((pair) => pair.split(' '))).size, 4);
    for (const id of once.flatMap((pair) => pair.split(' '))) {
      assert.ok(isUuid(id));
      assert.match(id, /^.{14}8.{4}[89ab]/);
    }
    assert.notDeepEqual(idsOf(await read(syslog, { tenant: 'other' })), once);
    assert.notDeepEqual(idsOf(await read(syslog, { source: 'other' })), once);
    assert.notDeepEqual(idsOf(await read(`\n${syslog}`)), once);
  });

  test('equal lines are exceptions of their own', async () => {
    const line = syslog.split('\r\n')[0] as string;
    assert.equal(new Set(idsOf(await read(`${line}\n${line}\n`))).size, 2);
  });

  test('they can be switched off', async () => {
    const [record] = await read(syslog, { stableIds: false });
    assert.equal(record?.input?.eventId, undefined);
    assert.ok(isUuid(record?.input?.key));
  });
});

describe('inputs that cannot be read as a whole', () => {
  test('are refused with what to do', async () => {
    await assert.rejects(read(Buffer.from([0x1f, 0x8b, 8, 0])), fails('SOURCE_INVALID', /gzip/));
    await assert.rejects(read(Buffer.alloc(500)), fails('SOURCE_INVALID', /binary/));
    await assert.rejects(
      read('[\n{"a":1},\n{"a":2}\n]\n'),
      fails('SOURCE_INVALID', /one JSON document/),
    );
    await assert.rejects(
      read('x', { kind: 'ndjsn' }),
      fails('SOURCE_INVALID', /did you mean 'ndjson'/),
    );
    await assert.rejects(read('x', { batchMax: 0 }), fails('CONFIG_INVALID', /batchMax is 0/));
    const missing = readExceptions('/nowhere/mill.log', { tenant: 'acme' });
    await assert.rejects(
      missing[Symbol.asyncIterator]().next(),
      fails('SOURCE_INVALID', /cannot be read/),
    );
  });

  test('an empty input has no records', async () => {
    assert.deepEqual(await read(''), []);
    assert.deepEqual(await read('\n\n'), []);
  });
});

test('batches are bounded and complete', async () => {
  const text = `${syslog}`.repeat(500);
  const sizes: number[] = [];
  let total = 0;
  for await (const { records } of readExceptions(chunked(text, 65_536), {
    tenant: 'a',
    batchMax: 64,
  })) {
    sizes.push(records.length);
    total += records.length;
  }
  assert.equal(total, 2_000);
  assert.ok(sizes.slice(0, -1).every((size) => size === 64));
});

test('every fault type is in the domain pack, and nothing else is', () => {
  const pack = domainPackSchema.parse(
    parse(readFileSync(new URL('../packs/domains/operations.yaml', import.meta.url), 'utf8')),
  );
  assert.equal(pack.domainName, faultDomain);
  assert.deepEqual(Object.keys(pack.exceptionTypes).sort(), [...faultTypes].sort());
});

describe('hostile input', () => {
  test('a CSV header with a NUL is refused: no event could hold the column', async () => {
    await assert.rejects(
      read(Buffer.from('a,b\0\n1,2\n'), { kind: 'csv' }),
      (error: MillraceError) => error.code === 'SOURCE_INVALID' && /NUL/.test(error.message),
    );
  });

  test('whatever the bytes, reading ends, and each exception can be published', async () => {
    const pieces = [
      '{"level":"error","time":1e400,"msg":"a\\u0000 failed"}',
      '{"msg":"\\ud800 failed","level":"error","time":5}',
      '{"a":"\\ud800"}',
      `${'['.repeat(80)}${']'.repeat(80)}`,
      `{"a":${'['.repeat(70)}${']'.repeat(70)}}`,
      '{"__proto__":{"x":1}}',
      '"',
      ',',
      '\r',
      '\u2028',
      'é'.repeat(300),
      '\0',
      '\x1b[31m',
      '\tat x',
      'Jan  6 04:02:10 mill7 kernel: Out of memory: Killed process 1 (é)',
      'Traceback (most recent call last):',
      '2026-01-06 03:04:05 ERROR x: failed',
      '[',
      ']',
      '<999>',
      '<34>1 - - - - - -',
      'level=error msg="',
      'E0106',
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(fc.constantFrom(...pieces), fc.string({ unit: 'binary' }), fc.constant('\n')),
          {
            maxLength: 40,
          },
        ),
        fc.constantFrom(undefined, 'ndjson', 'csv', 'plain', 'log'),
        async (parts, kind) => {
          let records: ReadRecord[];
          try {
            records = await read(Buffer.from(parts.join('')), { kind, lineMax: 500 }, 17);
          } catch (error) {
            assert.ok(
              error instanceof MillraceError && error.code === 'SOURCE_INVALID',
              String(error),
            );
            return;
          }
          for (const { input } of records) {
            if (input === undefined) continue;
            freezeJson(input.payload);
            const checked = ExceptionIngested.schema['~standard'].validate(input.payload);
            assert.ok(!(checked instanceof Promise) && checked.issues === undefined);
          }
        },
      ),
    );
  });

  test('a line of half a million characters fits into an event', async () => {
    const text = `2026-01-06 03:04:05 ERROR x: failed ${'é"'.repeat(260_000)}`;
    const [record] = await read(text, { lineMax: 600_000 });
    assert.ok(Buffer.byteLength(JSON.stringify(record?.input?.payload)) < 1_000_000);
  });

  test('a record that does not fit into an event is rejected', async () => {
    const text = JSON.stringify({ exceptionType: 'X', note: '漢'.repeat(400_000) });
    const [record] = await read(`${text}\n`);
    assert.match(record?.reason ?? '', /takes 1200\d+ bytes; an event can hold/);
  });
});

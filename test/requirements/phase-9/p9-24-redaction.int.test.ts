/**
 * P9-24, by its acceptance criteria: nothing personal and no secret of a planted set reaches any
 * table or any output of a process that runs the whole pipeline with failures and dead letters.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freshDatabase } from '../../support/database.ts';
import { ask } from '../../support/mill.ts';
import { canaries } from './redaction/canaries.ts';

const program = fileURLToPath(new URL('./redaction/pipeline.ts', import.meta.url));

interface Run {
  readonly url: string;
  readonly output: string;
}

async function runPipeline(t: TestContext, redaction: boolean): Promise<Run> {
  const database = await freshDatabase();
  t.after(() => database.drop());
  const { url } = database;
  const child = spawn(process.execPath, ['--conditions=millrace-source', program], {
    env: { ...process.env, PIPELINE: JSON.stringify({ url, redaction }) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const code = await new Promise<number | null>((resolve) => child.once('exit', resolve));
  assert.equal(code, 0, output);
  assert.match(output, /^done$/m);
  return { url, output };
}

/** `schema.table canary`, for every row of every table that holds one, whatever its columns are. */
async function tablesWith(url: string): Promise<Map<string, string[]>> {
  const tables = await ask<{ name: string }>(
    url,
    `select format('%I.%I', n.nspname, c.relname) as name
     from pg_class c join pg_namespace n on n.oid = c.relnamespace
     where c.relkind in ('r', 'p', 'm') and n.nspname not in ('information_schema', 'pg_catalog')
       and n.nspname not like 'pg_toast%'`,
  );
  assert.ok(tables.length > 10, 'the tables are there');
  const found = new Map<string, string[]>();
  for (const { name } of tables) {
    for (const [kind, canary] of Object.entries(canaries)) {
      const [row] = await ask<{ n: number }>(
        url,
        `select count(*)::int as n from ${name} t where position($1 in t::text) > 0
           or position($2 in t::text) > 0`,
        [canary, Buffer.from(canary).toString('hex')],
      );
      if ((row?.n ?? 0) > 0) found.set(name, [...(found.get(name) ?? []), kind]);
    }
  }
  return found;
}

const planted = (output: string) =>
  Object.entries(canaries)
    .filter(([, canary]) => output.includes(canary))
    .map(([kind]) => kind);

describe('P9-24: PII redaction', () => {
  it('"PII redaction at ingestion implemented", "Secrets never logged in events"', async (t) => {
    const { url, output } = await runPipeline(t, true);
    assert.deepEqual(Object.fromEntries(await tablesWith(url)), {});
    assert.deepEqual(planted(output), [], output);

    const [ingested] = await ask<{ payload: Record<string, unknown>; metadata: unknown }>(
      url,
      `select payload, metadata from millrace.event
       where event_type = 'ExceptionIngested' and key = 'C-resolved'`,
    );
    assert.ok(ingested);
    const raw = ingested.payload.rawPayload as Record<string, unknown>;
    // "Redact PII fields at event ingestion": in place, so that the rest stays of use.
    assert.equal(
      raw.message,
      'client [redacted:email] paid with [redacted:card] from [redacted:iban], ' +
        'call [redacted:phone]',
    );
    assert.equal(
      raw.error,
      'cannot reach postgres://[redacted:secret]@db.internal/trades; ssn [redacted:national-id]',
    );
    // "Support configurable PII fields per tenant": piiFields of northwind's policy pack.
    assert.equal(raw.beneficiary, '[redacted:field]');
    assert.deepEqual(raw.contact, { name: '[redacted:field]', note: '[redacted:field]' });
    assert.deepEqual(raw.headers, { authorization: '[redacted:secret]', 'x-trace': 'ok' });
    assert.deepEqual(raw['by [redacted:email]'], { count: 1 });
    // "Store redaction metadata".
    const { redaction } = ingested.metadata as { redaction: Record<string, unknown> };
    assert.equal(redaction.version, 1);
    const fields = redaction.fields as { path: string; rule: string; count: number }[];
    assert.deepEqual(
      fields.find(({ path }) => path === 'rawPayload.contact.name'),
      { path: 'rawPayload.contact.name', rule: 'field rawPayload.contact.*', count: 1 },
    );
    assert.equal(
      redaction.count,
      fields.reduce((sum, { count }) => sum + count, 0),
    );
  });

  it('the same run without redaction shows that the scan finds what there is', async (t) => {
    const { url, output } = await runPipeline(t, false);
    const found = await tablesWith(url);
    const kinds = new Set([...found.values()].flat());
    assert.deepEqual([...kinds].sort(), Object.keys(canaries).sort());
    const tables = [...found.keys()].join(' ');
    assert.match(tables, /millrace\.event\b/);
    assert.match(tables, /failure/);
    assert.match(tables, /millrace_exceptions\.exception/);
    assert.ok(planted(output).length > 0);
  });
});

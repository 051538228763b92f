/** Platforms for tests: quick to notice each other, each test with names of its own. */
import type { TestContext } from 'node:test';
import pg from 'pg';
import { z } from 'zod';
import { type ConnectOptions, connect } from '../../src/connect.ts';
import { defineEvent } from '../../src/core/event.ts';
import type { Millrace } from '../../src/millrace.ts';

/** Retries at once, so that tests need not wait: three times, then dead. */
export const quickRetry = { initialDelayMs: 1, maxDelayMs: 5, maxRetries: 3 } as const;

/** Stopped at the end of the test, whatever happens. */
export async function openMill(
  t: TestContext,
  url: string,
  options: ConnectOptions = {},
): Promise<Millrace> {
  const mill = await connect(url, {
    partitions: 4,
    heartbeatMs: 100,
    timeToLiveMs: 3_000,
    graceMs: 5_000,
    pollMs: [10, 100],
    ...options,
  });
  t.after(() => mill.stop());
  return mill;
}

let number = 0;

/** Names that no other test of this file has: the database is shared. */
export function names() {
  number += 1;
  const Thing = defineEvent(`Thing${number}`, {
    schema: z.object({ n: z.number() }).catchall(z.unknown()),
    retry: quickRetry,
  });
  return { group: `group-${number}`, tenant: `tenant-${number}`, table: `effect_${number}`, Thing };
}

/** One statement as the superuser of the test database. */
export async function ask<Row = Record<string, unknown>>(
  url: string,
  text: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(text, [...values])).rows as Row[];
  } finally {
    await client.end();
  }
}

/** A table that handlers write into: id in order of writing, key, n. Duplicates would be seen. */
export async function effectTable(url: string, table: string, extra = ''): Promise<void> {
  await ask(
    url,
    `create table ${table} (id bigint generated always as identity, key text, n int ${extra});
     grant all on ${table} to millrace_app`,
  );
}

export async function effectsByKey(url: string, table: string): Promise<Map<string, number[]>> {
  const rows = await ask<{ key: string; n: number }>(
    url,
    `select key, n from ${table} order by id`,
  );
  const byKey = new Map<string, number[]>();
  for (const { key, n } of rows) byKey.set(key, [...(byKey.get(key) ?? []), n]);
  return byKey;
}

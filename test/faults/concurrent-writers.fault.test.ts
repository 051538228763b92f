/**
 * Eight writers with delays and rollbacks, in transactions of their own and outside of them: the
 * log has no holes, follows the order of commits, and a reader that starts at any time never
 * skips.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, defineEvent, type Millrace, type StandardSchemaV1 } from 'millrace';
import pg from 'pg';
import { openPostgresStore } from '../../src/drivers/postgres/store.ts';
import { type Random, randomFrom } from '../support/random.ts';
import { eventually } from './eventually.ts';
import { record, scaled } from './ledger.ts';
import { announcedRandom } from './random.ts';
import { FaultServer } from './server.ts';

interface Mark {
  readonly writer: number;
  /** Counts the transactions of a writer. */
  readonly round: number;
  readonly n: number;
}

const trusted: StandardSchemaV1<unknown, Mark> = {
  '~standard': { version: 1, vendor: 'test', validate: (value) => ({ value: value as Mark }) },
};
const Written = defineEvent('Written', { schema: trusted });
const keys = ['a', 'b', 'c', 'd'] as const;
const id = ({ writer, round, n }: Mark) => `${writer}/${round}/${n}`;

/** What a writer knows: marks whose commit was acknowledged, and marks rolled back. */
interface Known {
  readonly kept: { readonly mark: Mark; readonly key: string; readonly staged: boolean }[];
  readonly undone: Mark[];
}

/** Transactions that publish a few events, at times interrupted, a third of them rolled back. */
async function writeInTransactions(
  mill: Millrace,
  url: string,
  { writer, rounds, random }: { writer: number; rounds: number; random: Random },
): Promise<Known> {
  const known: Known = { kept: [], undone: [] };
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const tx = {
    async query<Row>(text: string, values: readonly unknown[] = []) {
      return (await client.query(text, [...values])).rows as Row[];
    },
  };
  for (let round = 1; round <= rounds; round += 1) {
    await client.query('begin');
    const marks: { mark: Mark; key: string; staged: boolean }[] = [];
    for (let n = 1 + random.below(5); n > 0; n -= 1) {
      const mark = { writer, round, n };
      const key = random.pick(keys);
      await mill.publish(Written, { tenantId: 'acme', key, payload: mark }, { tx });
      marks.push({ mark, key, staged: true });
      if (random.chance(0.3)) await sleep(random.below(10));
    }
    const keep = random.chance(2 / 3);
    await client.query(keep ? 'commit' : 'rollback');
    if (keep) known.kept.push(...marks);
    else known.undone.push(...marks.map(({ mark }) => mark));
  }
  await client.end();
  return known;
}

async function writeDirectly(
  mill: Millrace,
  { writer, rounds, random }: { writer: number; rounds: number; random: Random },
): Promise<Known> {
  const known: Known = { kept: [], undone: [] };
  for (let round = 1; round <= rounds; round += 1) {
    const marks = Array.from({ length: 1 + random.below(5) }, (_, n) => ({
      mark: { writer, round, n },
      key: random.pick(keys),
      staged: false,
    }));
    await Promise.all(
      marks.map(({ mark, key }) => mill.publish(Written, { tenantId: 'acme', key, payload: mark })),
    );
    known.kept.push(...marks);
    if (random.chance(0.3)) await sleep(random.below(10));
  }
  return known;
}

/** Reads every partition from the start, over and over, until told that nothing comes any more. */
async function readAlong(url: string, signal: AbortSignal): Promise<Map<number, number[]>> {
  const store = await openPostgresStore({ url, migrate: false });
  const offsets = new Map<number, number[]>();
  const after = new Array<number>(store.partitions).fill(0);
  for (let last = false; ; last = signal.aborted) {
    for (const [partition, from] of after.entries()) {
      const found = await store.log.read({ partition, after: from, limit: 50, types: null });
      after[partition] = found.scannedTo;
      const seen = offsets.get(partition) ?? [];
      offsets.set(partition, seen.concat(found.events.map(({ offset }) => offset)));
    }
    if (last) break;
    await sleep(1);
  }
  await store.close();
  return offsets;
}

test('eight writers, delays, rollbacks: no holes, commit order', { timeout: 900_000 }, async () => {
  const random = announcedRandom('concurrent-writers');
  const rounds = scaled(100);
  await using server = await FaultServer.started();
  const url = server.url();
  await using mill = await connect(url, { partitions: 4 });
  await mill.start();
  const done = new AbortController();
  const reader = readAlong(url, done.signal);
  const writers = await Promise.all(
    Array.from({ length: 8 }, (_, writer) => {
      const work = { writer, rounds, random: randomFrom(random.below(2 ** 31)) };
      return writer < 5 ? writeInTransactions(mill, url, work) : writeDirectly(mill, work);
    }),
  );
  const kept = writers.flatMap((known) => known.kept);
  const undone = new Set(writers.flatMap((known) => known.undone).map(id));
  const rows = () =>
    server.rows<{ partition: number; offset: string; payload: Mark }>(
      'select "partition", "offset", payload from millrace.event order by "partition", "offset"',
    );
  const complete = async () => (await rows()).length >= kept.length;
  await eventually('everything staged is in the log', 10_000, complete).catch(() => {});
  done.abort();
  const seen = await reader;
  const stored = await rows();
  const found = new Map(stored.map((row) => [id(row.payload), row]));
  const perPartition = Map.groupBy(stored, ({ partition }) => partition);
  let holes = 0;
  let skipped = 0;
  for (const [partition, events] of perPartition) {
    holes += Number(events.at(-1)?.offset) - events.length;
    const read = seen.get(partition) ?? [];
    skipped += events.filter(({ offset }, i) => read[i] !== Number(offset)).length;
  }
  const verdict = {
    lost: kept.filter(({ mark }) => !found.has(id(mark))).length,
    unexpected: stored.filter(({ payload }) => undone.has(id(payload))).length,
    duplicated: stored.length - found.size,
    outOfOrder: writers.reduce((sum, known) => sum + disorder(known, found), 0),
    holes,
  };
  record({
    fault: '8 writers, delays and rollbacks',
    seed: random.seed,
    injected: undone.size,
    events: kept.length,
    verdict,
    note: `${skipped} skipped by a reader`,
  });
  const clean = { lost: 0, unexpected: 0, duplicated: 0, outOfOrder: 0, holes: 0 };
  assert.deepEqual({ ...verdict, skipped }, { ...clean, skipped: 0 });
});

/** A writer's own commits, one after the other, stand in the log in that order, key by key. */
function disorder(
  { kept }: Known,
  found: ReadonlyMap<string, { partition: number; offset: string }>,
): number {
  const last = new Map<number, number>();
  let wrong = 0;
  for (const { mark } of kept) {
    const row = found.get(id(mark));
    if (row === undefined) continue;
    if (Number(row.offset) < (last.get(row.partition) ?? 0)) wrong += 1;
    last.set(row.partition, Number(row.offset));
  }
  return wrong;
}

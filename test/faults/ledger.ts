/**
 * Compares what the producer was promised with what is in the database, in the words of the fault
 * plan: lost, recovered, unexpected, duplicated, out of order, stale accepted, stuck. One line
 * per fault is printed, and written to MILLRACE_FAULTS_LEDGER for the table of `npm run faults`.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import * as os from 'node:os';
import { eventually } from './eventually.ts';
import { stages } from './pipeline.ts';
import type { Producer } from './producer.ts';
import type { FaultServer } from './server.ts';

/** 1 for every commit; the nightly run sets more. */
export const scale = Math.max(0.1, Number(process.env.MILLRACE_FAULTS_SCALE ?? 1));
export const scaled = (count: number) => Math.ceil(count * scale);

/** A limit for this moment: on a machine with more to do than cores, everything takes longer. */
export function allowedMs(limitMs: number): number {
  return limitMs * Math.max(1, (os.loadavg()[0] ?? 0) / os.availableParallelism());
}

export interface Verdict {
  /** Acknowledged and without an effect of each stage. */
  readonly lost: number;
  /** Never acknowledged, yet stored and handled: allowed, the answer got lost. */
  readonly recovered: number;
  /** Effects of orders that nobody wanted. */
  readonly unexpected: number;
  /** Effects beyond the first of an order and stage. */
  readonly duplicated: number;
  /** Effects behind a later one of their key. */
  readonly outOfOrder: number;
  /** Settlements of an owner after a newer one had settled. */
  readonly staleAccepted: number;
  /** Offsets missing in the log. */
  readonly holes: number;
  /** Events that still wait for their group. */
  readonly stuck: number;
}

interface EffectRow {
  readonly stage: string;
  readonly key: string;
  readonly seq: number;
}

/** Waits until everything stored has been handled by both stages; what is not then is `stuck`. */
export async function drain(server: FaultServer, withinMs: number): Promise<void> {
  const drained = async () => (await stuck(server)) === 0;
  await eventually('the pipeline is drained', allowedMs(withinMs), drained, 100).catch(() => {});
}

export async function judge(server: FaultServer, producer: Producer): Promise<Verdict> {
  const effects = await server.rows<EffectRow>('select stage, key, seq from effect order by n');
  const counts = new Map<string, number>();
  const last = new Map<string, number>();
  let outOfOrder = 0;
  let unexpected = 0;
  for (const { stage, key, seq } of effects) {
    const id = `${stage} ${key} ${seq}`;
    counts.set(id, (counts.get(id) ?? 0) + 1);
    if (seq < (last.get(`${stage} ${key}`) ?? 0)) outOfOrder += 1;
    else last.set(`${stage} ${key}`, seq);
    if (seq > (producer.wanted.get(key) ?? 0)) unexpected += 1;
  }
  let lost = 0;
  let recovered = 0;
  for (const [key, wanted] of producer.wanted) {
    for (let seq = 1; seq <= wanted; seq += 1) {
      const handled = stages.every((stage) => counts.has(`${stage} ${key} ${seq}`));
      const acknowledged = producer.acknowledged.get(key)?.has(seq) ?? false;
      if (acknowledged && !handled) lost += 1;
      if (!acknowledged && handled) recovered += 1;
    }
  }
  return {
    lost,
    recovered,
    unexpected,
    duplicated: effects.length - counts.size,
    outOfOrder,
    staleAccepted: await staleAccepted(server),
    holes: await holes(server),
    stuck: await stuck(server),
  };
}

/** Everything but `recovered` must be nothing. */
export function assertClean(verdict: Partial<Verdict>): void {
  const { recovered: _, ...rest } = verdict;
  const clean = Object.fromEntries(Object.keys(rest).map((name) => [name, 0]));
  assert.deepEqual(rest, clean);
}

/** The epochs along a cursor chain never go back. */
async function staleAccepted(server: FaultServer): Promise<number> {
  return count(
    server,
    `select count(*) from (
      select epoch, lag(epoch) over (partition by group_name, "partition" order by seq) before
      from millrace.group_cursor) c where epoch < before`,
  );
}

async function holes(server: FaultServer): Promise<number> {
  return count(
    server,
    `select coalesce(sum(missing), 0) as count from (
      select max("offset") - count(*) as missing from millrace.event group by "partition") p`,
  );
}

async function stuck(server: FaultServer): Promise<number> {
  return count(
    server,
    `select count(*) from millrace.event_processing where status in ('pending', 'retrying')`,
  );
}

async function count(server: FaultServer, text: string): Promise<number> {
  const [row] = await server.rows<{ count: string }>(text);
  return Number(row?.count);
}

export interface LedgerLine {
  readonly fault: string;
  readonly seed: number;
  /** How many times the fault was injected. */
  readonly injected: number;
  readonly events: number;
  readonly verdict: Partial<Verdict>;
  /** Until work went on, per fault, in milliseconds. */
  readonly recoveriesMs?: readonly number[];
  readonly note?: string;
}

/** Prints the line and keeps it for the table. */
export function record(line: LedgerLine): void {
  const { fault, seed, injected, events, verdict, note } = line;
  const found = Object.entries(verdict).map(([name, value]) => `${name} ${value}`);
  const parts = [`${injected} injected`, `${events} events`, ...found, recovery(line), note];
  console.log(`LEDGER ${fault} (seed ${seed}): ${parts.filter(Boolean).join(', ')}`);
  const file = process.env.MILLRACE_FAULTS_LEDGER;
  if (file !== undefined) fs.appendFileSync(file, `${JSON.stringify(line)}\n`);
}

/** Median and worst recovery, in seconds. */
export function recovery({ recoveriesMs = [] }: LedgerLine): string {
  if (recoveriesMs.length === 0) return '';
  const sorted = [...recoveriesMs].sort((a, b) => a - b);
  const seconds = (ms: number | undefined) => `${((ms ?? 0) / 1000).toFixed(1)} s`;
  return `recovery ${seconds(sorted[sorted.length >> 1])}, worst ${seconds(sorted.at(-1))}`;
}

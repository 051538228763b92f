/**
 * Waiting until everything that was ingested went through: every group stands at the head of the
 * log, nothing new came while we looked, and no retry is due soon. What waits for a person, for a
 * late retry or in the dead-letter queue is not waited for.
 */
import type { Platform } from './platform.ts';

/** Where the log stood, and when, before the work that is to be measured. */
export interface Baseline {
  readonly head: number;
  readonly at: number;
}

export async function takeBaseline({ mill }: Pick<Platform, 'mill'>): Promise<Baseline> {
  return { head: (await headsOf(mill)).sum, at: performance.now() };
}

export interface DrainOptions {
  readonly baseline: Baseline;
  readonly signal: AbortSignal;
  /** Retries due within this time are waited for. */
  readonly patienceMs: number;
  /** Events since the baseline: settled by every group on average, and all there are. */
  onProgress?(settled: number, total: number): void;
}

export interface Drained {
  /** False when the signal ended the wait. */
  readonly complete: boolean;
  /** From the baseline to the last event. */
  readonly seconds: number;
  /** From the baseline until every group, the projection included, had settled everything. */
  readonly settledSeconds: number;
  /** Events appended since the baseline, follow-ups included. */
  readonly events: number;
  readonly retriesWaiting: number;
}

const lookMs = 100;

export async function drain(
  { mill, app }: Pick<Platform, 'mill' | 'app'>,
  options: DrainOptions,
): Promise<Drained> {
  const { baseline, signal, patienceMs, onProgress } = options;
  let lastGrowthAt = performance.now();
  let unsettledAt = lastGrowthAt;
  let before = await headsOf(mill);
  for (;;) {
    const head = await headsOf(mill);
    if (head.sum > before.sum) lastGrowthAt = performance.now();
    const settled = await settledOf(mill, app.groups, head.heads);
    const done = Math.floor(settled.sum / app.groups.length) - baseline.head;
    onProgress?.(Math.max(0, done), head.sum - baseline.head);
    if (!settled.everything) unsettledAt = performance.now();
    const quiet = head.sum === before.sum;
    before = head;
    if (signal.aborted || (quiet && settled.everything)) {
      const due = await dueRetries({ mill, app });
      const soon = due.some((ms) => ms <= patienceMs);
      if (signal.aborted || !soon) {
        return {
          complete: !signal.aborted,
          // The last event is what ended the work; the rest of the time we only made sure.
          seconds: Math.max(lastGrowthAt - baseline.at, 1) / 1000,
          settledSeconds: (unsettledAt - baseline.at) / 1000,
          events: head.sum - baseline.head,
          retriesWaiting: due.length,
        };
      }
    }
    await sleep(lookMs, signal);
  }
}

async function headsOf(mill: Platform['mill']) {
  const heads = await mill.store.log.heads();
  return { heads, sum: heads.reduce((sum, head) => sum + head, 0) };
}

async function settledOf(
  mill: Platform['mill'],
  groups: readonly string[],
  heads: readonly number[],
): Promise<{ sum: number; everything: boolean }> {
  const positions = await mill.store.streams.positions(groups);
  let sum = 0;
  let everything = positions.length > 0;
  for (const { partition, position } of positions) {
    const head = heads[partition] ?? 0;
    sum += Math.min(position, head);
    if (position < head) everything = false;
  }
  return { sum, everything };
}

/** Milliseconds until the next retry of each partition that has one. */
async function dueRetries({ mill, app }: Pick<Platform, 'mill' | 'app'>): Promise<number[]> {
  const { failures, partitions } = mill.store;
  const retrying = new Set<string>();
  for (const tenantId of await app.tenants()) {
    for (const { group, status } of await failures.counts(tenantId)) {
      if (status === 'retrying') retrying.add(group);
    }
  }
  const due: number[] = [];
  for (const group of retrying) {
    for (let partition = 0; partition < partitions; partition += 1) {
      const ms = await failures.nextDueMs({ group, partition });
      if (ms !== null) due.push(ms);
    }
  }
  return due;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end);
  });
}

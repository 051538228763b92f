/**
 * One report of what a process did and what is left: the engine's totals, dead letters with their
 * reasons, and a section of the app's own. `/ops/statistics` and the summary of the command line
 * show the same report.
 */

import type { Millrace } from '../millrace.ts';
import type { FingerprintCount } from '../ports/failures.ts';

export interface StatisticsReport {
  readonly startedAt: string;
  readonly uptimeSeconds: number;
  readonly mode: string;
  readonly workers: number;
  /** Of this process since it started. */
  readonly published: number;
  readonly handled: number;
  readonly failed: number;
  readonly settlements: number;
  /** Events durable a second, while this process had work; null before it had any. */
  readonly eventsPerSecond: number | null;
  readonly backlog: number;
  readonly groups: readonly GroupReport[];
  /** By tenant and fingerprint, most frequent first. */
  readonly deadLetters: readonly (FingerprintCount & { readonly tenantId: string })[];
  /** Failures of every state, by group. */
  readonly failures: readonly { group: string; status: string; count: number }[];
  readonly tenants: readonly string[];
  /** What the app adds, summed over the tenants. */
  readonly app: Readonly<Record<string, unknown>>;
}

export interface GroupReport {
  readonly group: string;
  readonly partitions: number;
  readonly handled: number;
  readonly failed: number;
  readonly backlog: number;
  readonly underWay: number;
  /** Keys that wait for a retry or behind a dead letter. */
  readonly blockedKeys: number;
}

export interface StatisticsOptions {
  readonly mill: Millrace;
  /** Every tenant there is; for reports that no tenant asks for. */
  tenants(): Promise<readonly string[]>;
  app(tenants: readonly string[]): Promise<Readonly<Record<string, unknown>>>;
  /** Events a second of the last stretch of work, where somebody measures it. */
  eventsPerSecond?(): number | null;
}

export interface Statistics {
  tenants(): Promise<readonly string[]>;
  report(tenants?: readonly string[]): Promise<StatisticsReport>;
}

export function createStatistics(options: StatisticsOptions): Statistics {
  const { mill } = options;
  const startedAt = new Date().toISOString();
  return {
    tenants: () => options.tenants(),
    async report(wanted) {
      const tenants = wanted ?? (await options.tenants());
      const [health, app] = await Promise.all([mill.health(), options.app(tenants)]);
      const { deadLetters, failures } = await failuresOf(mill, tenants);
      return {
        startedAt,
        uptimeSeconds: Math.round((Date.now() - Date.parse(startedAt)) / 1000),
        mode: mill.mode,
        workers: health.workers,
        ...mill.totals(),
        eventsPerSecond: options.eventsPerSecond?.() ?? null,
        backlog: mill.backlog(),
        groups: byGroup(health.streams),
        deadLetters,
        failures,
        tenants,
        app,
      };
    },
  };
}

async function failuresOf({ deadLetters: letters }: Millrace, tenants: readonly string[]) {
  const deadLetters: (FingerprintCount & { tenantId: string })[] = [];
  const counts = new Map<string, { group: string; status: string; count: number }>();
  // One tenant after the other: a report is rare, and each takes a connection of the pool.
  for (const tenantId of tenants) {
    for (const found of await letters.fingerprints(tenantId)) {
      deadLetters.push({ tenantId, ...found });
    }
    for (const { group, status, count } of await letters.counts(tenantId)) {
      const sum = counts.get(`${group}/${status}`) ?? { group, status, count: 0 };
      sum.count += count;
      counts.set(`${group}/${status}`, sum);
    }
  }
  return {
    deadLetters: deadLetters.sort((a, b) => b.count - a.count),
    failures: [...counts.values()],
  };
}

function byGroup(streams: Awaited<ReturnType<Millrace['health']>>['streams']): GroupReport[] {
  const groups = new Map<string, { -readonly [K in keyof GroupReport]: GroupReport[K] }>();
  for (const { group, handled, failed, backlog, underWay, blockedKeys } of streams) {
    const sum = groups.get(group) ?? {
      group,
      partitions: 0,
      handled: 0,
      failed: 0,
      backlog: 0,
      underWay: 0,
      blockedKeys: 0,
    };
    sum.partitions += 1;
    sum.handled += handled;
    sum.failed += failed;
    sum.backlog += backlog;
    sum.underWay += underWay;
    sum.blockedKeys += blockedKeys;
    groups.set(group, sum);
  }
  return [...groups.values()];
}

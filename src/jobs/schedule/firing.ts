/**
 * What a look at a due schedule leads to: which ticks are enqueued, as what jobs, and when it is
 * due again. Pure; the scheduler asks, the store carries it out once.
 */
import type { JobOverrides, NewJob } from '../../core/job.ts';
import { murmur2 } from '../../core/partition.ts';
import type { ScheduleRule } from '../../core/schedule-rule.ts';
import type { ScheduleRecord } from '../../ports/schedules.ts';
import { latestTicks, nextTick } from './ticks.ts';

export interface Firing {
  /** To enqueue, ascending. */
  readonly ticks: readonly number[];
  readonly nextMs: number | null;
  /** Others were due before these, or these are late: what `misfire` is about. */
  readonly missed: boolean;
}

/** Later than that, a tick is missed: restarts and slow databases stay below. */
const lateMsMax = 60_000;
/** Ticks enqueued in one transaction; the next look goes on behind them. */
const ticksMax = 100;

/** @param dueMs the schedule's next tick, at or before `nowMs`. */
export function planFiring(rule: ScheduleRule, dueMs: number, nowMs: number): Firing {
  const nextMs = nextTick(rule, nowMs);
  const max = rule.misfire === 'backfill' ? rule.misfireMax : 1;
  // The due tick is one even if the rule would not give it today, after a change of a time zone.
  const due = [dueMs, ...latestTicks(rule, dueMs, nowMs, max)].slice(-max);
  const latestMs = due.at(-1) as number;
  const missed = latestMs !== dueMs || nowMs - latestMs > lateMsMax;
  if (rule.misfire === 'skip' && nowMs - latestMs > lateMsMax) return { ticks: [], nextMs, missed };
  const ticks = due.slice(0, ticksMax);
  return { ticks, nextMs: due[ticksMax] ?? nextMs, missed };
}

/** The first tick of a schedule that is new or has a new rule; a passed `at` is due at once. */
export function firstTick(rule: ScheduleRule, nowMs: number): number | null {
  if (rule.kind !== 'at') return nextTick(rule, nowMs);
  const tooLate = rule.misfire === 'skip' && nowMs - rule.atMs > lateMsMax;
  return tooLate ? null : rule.atMs;
}

/**
 * The job of one tick. Its payload is the schedule's; metadata say which schedule and which tick.
 * A unique key that is taken drops this job rather than refusing the firing: the schedule goes on.
 */
export function jobOfTick(
  { name, tenantId, job }: ScheduleRecord,
  rule: ScheduleRule,
  tickMs: number,
): NewJob {
  const tick = new Date(tickMs).toISOString();
  const overrides = (job.optionsJson === null ? {} : JSON.parse(job.optionsJson)) as JobOverrides;
  const metadata = { ...overrides.metadata, schedule: name, tick };
  const { unique } = job;
  return {
    ...job,
    optionsJson: JSON.stringify({ ...overrides, metadata }),
    delayMs: job.delayMs + jitterOf(`${tenantId}\u0001${name}\u0001${tick}`, rule.jitterMs),
    unique: unique?.mode === 'reject' ? { ...unique, mode: 'keep' } : unique,
  };
}

const utf8 = new TextEncoder();

/** From 0 up to `jitterMs`, the same for a tick whoever fires it. */
function jitterOf(fireId: string, jitterMs: number): number {
  return jitterMs === 0
    ? 0
    : Math.floor(((murmur2(utf8.encode(fireId)) >>> 0) / 2 ** 32) * jitterMs);
}

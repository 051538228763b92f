/**
 * When a rule fires: pure calculation. Ticks ascend strictly and depend on the rule alone, so that
 * every process finds the same ones. Croner does the calendar (28 µs a tick, measured); what it
 * shall do when the clocks change is said in `core/schedule-rule.ts` and tested beside this file.
 */
import { Cron as Calendar } from 'croner';
import type { CronRule, IntervalRule, ScheduleRule } from '../../core/schedule-rule.ts';

/** The last that every store can hold. */
const tickMsMax = Date.parse('9999-12-31T23:59:59.999Z');

/** The first tick after that moment; null when there is none. */
export function nextTick(rule: ScheduleRule, afterMs: number): number | null {
  const tick = nextOf(rule, afterMs);
  return tick === null || tick > Math.min(rule.untilMs ?? tickMsMax, tickMsMax) ? null : tick;
}

/** The next `count` ticks; fewer when it ends. */
export function nextTicks(rule: ScheduleRule, after: Date, count: number): Date[] {
  return collect(rule, after.getTime(), tickMsMax, count).map((ms) => new Date(ms));
}

/**
 * The latest `max` ticks after one moment and up to another, ascending. The rest is not counted:
 * a schedule of every second that was down for a month missed 2.6 million.
 */
export function latestTicks(
  rule: ScheduleRule,
  afterMs: number,
  upToMs: number,
  max: number,
): number[] {
  const many = 2 * max;
  let found = collect(rule, afterMs, upToMs, many);
  // Narrows the beginning until enough are left and not too many. Between two neighbouring
  // milliseconds the number changes by one, so a beginning like that exists.
  let [low, high] = [afterMs, upToMs];
  while (found.length === many) {
    const middle = Math.floor((low + high) / 2);
    const part = collect(rule, middle, upToMs, many);
    if (part.length < max) high = middle;
    else [low, found] = [middle, part];
  }
  return found.slice(-max);
}

function collect(rule: ScheduleRule, afterMs: number, upToMs: number, max: number): number[] {
  const ticks: number[] = [];
  let at: number | null = afterMs;
  while (ticks.length < max) {
    at = nextTick(rule, at);
    if (at === null || at > upToMs) break;
    ticks.push(at);
  }
  return ticks;
}

function nextOf(rule: ScheduleRule, afterMs: number): number | null {
  switch (rule.kind) {
    case 'cron':
      return calendarOf(rule).nextRun(new Date(afterMs))?.getTime() ?? null;
    case 'every':
      return nextOfInterval(rule, afterMs);
    case 'at':
      return rule.atMs > afterMs ? rule.atMs : null;
  }
}

function nextOfInterval({ everyMs, startAtMs }: IntervalRule, afterMs: number): number {
  const firstMs = startAtMs ?? 0;
  if (startAtMs !== null && afterMs < startAtMs) return startAtMs;
  return firstMs + (Math.floor((afterMs - firstMs) / everyMs) + 1) * everyMs;
}

const calendars = new WeakMap<CronRule, Calendar>();

function calendarOf(rule: CronRule): Calendar {
  const known = calendars.get(rule);
  if (known) return known;
  const calendar = new Calendar(rule.cron.text, {
    timezone: rule.timezone,
    mode: '6-part',
    // The same as `Cron.fixed`: lists of times are fixed as well as a single one.
    fixedTimeRule: 'no-wildcard',
  });
  calendars.set(rule, calendar);
  return calendar;
}

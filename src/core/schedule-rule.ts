/**
 * When a schedule fires: by cron, at an interval, or once; and what becomes of ticks that nobody
 * was there for. Checks what users write and prints it for the store; `jobs/schedule` calculates.
 *
 * When the clocks change (docs/decisions/0010-clock-changes.md): a fixed time that the spring skips
 * fires at the first moment after the gap; one that the autumn repeats fires once, at its first
 * occurrence. A rule with `*` or a step in second, minute or hour follows the clock: nothing in the
 * gap, and again in the repeated hour. Intervals know no clocks.
 */
import { type Cron, parseCron } from './cron.ts';
import { cut } from './cron-field.ts';
import { describeKind } from './describe.ts';
import { MillraceError } from './errors.ts';
import { toTimestamp } from './event-fields.ts';

/**
 * Ticks that are missed: more than one is due at a look, or one is late by more than a minute.
 * skip: they are left out. coalesce: one job for all of them, that of the latest. backfill: a job
 * for each, the oldest first, `misfireMax` of the latest at most.
 */
export const misfirePolicies = ['skip', 'coalesce', 'backfill'] as const;
export type Misfire = (typeof misfirePolicies)[number];

/** A Date, epoch milliseconds, or ISO 8601 text with a zone. */
export type Moment = Date | number | string;

export interface ScheduleOptions {
  /** Five fields, six with seconds in front, or @hourly, @daily, @weekly, @monthly, @yearly. */
  readonly cron?: string | undefined;
  /** IANA name of the zone of `cron`, such as Europe/Berlin; UTC by default. */
  readonly timezone?: string | undefined;
  /** An interval, counted from `startAt`, else from 1970: a redeploy does not shift it. */
  readonly everyMs?: number | undefined;
  /** The first tick of an interval. */
  readonly startAt?: Moment | undefined;
  /** Once. When that moment has passed already: at once, except with `misfire: 'skip'`. */
  readonly at?: Moment | undefined;
  readonly misfire?: Misfire | undefined;
  /** For backfill: 1 to 1,000; 100 by default. */
  readonly misfireMax?: number | undefined;
  /** No tick after it. */
  readonly until?: Moment | undefined;
  /** Each job is delayed by up to so much, so that not everything starts at midnight. */
  readonly jitterMs?: number | undefined;
}

interface Policies {
  readonly misfire: Misfire;
  readonly misfireMax: number;
  readonly untilMs: number | null;
  readonly jitterMs: number;
}

export interface CronRule extends Policies {
  readonly kind: 'cron';
  readonly cron: Cron;
  /** As it was written. */
  readonly source: string;
  readonly timezone: string;
}

export interface IntervalRule extends Policies {
  readonly kind: 'every';
  readonly everyMs: number;
  readonly startAtMs: number | null;
}

export interface OnceRule extends Policies {
  readonly kind: 'at';
  readonly atMs: number;
}

export type ScheduleRule = CronRule | IntervalRule | OnceRule;

const dayMs = 86_400_000;
/** Member → lowest and highest value, and one for the message. */
const ranges = {
  everyMs: [1, 3650 * dayMs, '300_000 (five minutes)'],
  misfireMax: [1, 1_000, '100'],
  jitterMs: [0, dayMs, '30_000 (half a minute)'],
} as const;

const members: readonly (keyof ScheduleOptions)[] = [
  'cron',
  'timezone',
  'everyMs',
  'startAt',
  'at',
  'misfire',
  'misfireMax',
  'until',
  'jitterMs',
];
const kinds = ['cron', 'everyMs', 'at'] as const;
const examples = "Give one of cron: '0 2 * * *', everyMs: 300_000 or at: new Date('2030-01-01').";

/**
 * Everything a user can get wrong is found here. Reads its own `printScheduleRule` back, too.
 * @param path how messages call the value.
 * @throws MillraceError SCHEDULE_INVALID naming the member, with a right one.
 */
export function parseScheduleRule(value: unknown, path = 'schedule'): ScheduleRule {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(path, `is ${describeKind(value)}, not an object`, examples);
  }
  const stranger = Object.keys(value).find((name) => !members.includes(name as never));
  if (stranger !== undefined) {
    throw invalid(`${path}.${stranger}`, 'is not known', `Use ${members.join(', ')}.`);
  }
  const given = value as ScheduleOptions;
  const [kind, second] = kinds.filter((name) => given[name] !== undefined);
  if (kind === undefined) throw invalid(path, 'says nothing about when', examples);
  if (second !== undefined) {
    throw invalid(path, `has both ${kind} and ${second}`, 'Save two schedules, each with one.');
  }
  refuseBeside(given, 'timezone', kind === 'cron', path);
  refuseBeside(given, 'startAt', kind === 'everyMs', path);
  const policies = readPolicies(given, path);
  if (kind === 'cron') return Object.freeze({ ...readCron(given, path), ...policies });
  if (kind === 'everyMs') return Object.freeze({ ...readInterval(given, path), ...policies });
  const atMs = readMoment(given.at, `${path}.at`);
  checkOrder('at', atMs, policies.untilMs, path);
  return Object.freeze({ kind: 'at', atMs, ...policies });
}

/** JSON that is equal for rules that are written alike; stored beside the schedule. */
export function printScheduleRule(rule: ScheduleRule): string {
  const iso = (ms: number | null) => (ms === null ? undefined : new Date(ms).toISOString());
  const { misfire, misfireMax, untilMs, jitterMs } = rule;
  const backfill = misfire === 'backfill' ? misfireMax : undefined;
  const policies = {
    misfire,
    misfireMax: backfill,
    until: iso(untilMs),
    jitterMs: jitterMs || undefined,
  };
  switch (rule.kind) {
    case 'cron':
      return JSON.stringify({ cron: rule.source, timezone: rule.timezone, ...policies });
    case 'every':
      return JSON.stringify({
        everyMs: rule.everyMs,
        startAt: iso(rule.startAtMs),
        ...policies,
      });
    case 'at':
      return JSON.stringify({ at: iso(rule.atMs), ...policies });
  }
}

function readCron({ cron, timezone = 'UTC' }: ScheduleOptions, path: string) {
  if (typeof cron !== 'string') {
    throw invalid(`${path}.cron`, `is ${describeKind(cron)}, not a string`, "Write '0 2 * * *'.");
  }
  checkTimezone(timezone, `${path}.timezone`);
  const source = cron.trim().replace(/\s+/g, ' ');
  return { kind: 'cron' as const, cron: parseCron(cron, `${path}.cron`), source, timezone };
}

function readInterval(given: ScheduleOptions, path: string) {
  const { startAt, until } = given;
  const everyMs = readWhole(given, 'everyMs', 0, path);
  const startAtMs = startAt === undefined ? null : readMoment(startAt, `${path}.startAt`);
  if (startAtMs !== null && until !== undefined) {
    checkOrder('startAt', startAtMs, readMoment(until, `${path}.until`), path);
  }
  return { kind: 'every' as const, everyMs, startAtMs };
}

function readPolicies(given: ScheduleOptions, path: string): Policies {
  const { misfire = 'coalesce', until } = given;
  if (!misfirePolicies.includes(misfire)) {
    const shown = typeof misfire === 'string' ? `'${cut(misfire)}'` : describeKind(misfire);
    throw invalid(`${path}.misfire`, `is ${shown}`, `Use ${misfirePolicies.join(', ')}.`);
  }
  return {
    misfire,
    misfireMax: readWhole(given, 'misfireMax', 100, path),
    untilMs: until === undefined ? null : readMoment(until, `${path}.until`),
    jitterMs: readWhole(given, 'jitterMs', 0, path),
  };
}

function readWhole(
  given: ScheduleOptions,
  name: keyof typeof ranges,
  fallback: number,
  path: string,
): number {
  const value: unknown = given[name] ?? fallback;
  const [min, max, example] = ranges[name];
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) {
    return value;
  }
  const shown = typeof value === 'number' ? String(value) : describeKind(value);
  const problem = `is ${shown}, not a whole number from ${min} to ${max}`;
  throw invalid(`${path}.${name}`, problem, `Write ${name}: ${example}.`);
}

function readMoment(value: unknown, path: string): number {
  try {
    return Date.parse(toTimestamp(value));
  } catch {
    const shown = typeof value === 'string' ? `'${cut(value)}'` : describeKind(value);
    const fix = 'Give a Date, or a text with a zone such as 2030-01-31T12:00:00Z.';
    throw invalid(path, `is ${shown}, not a time of the years 1 to 9999 with its zone`, fix);
  }
}

function refuseBeside(
  given: ScheduleOptions,
  name: 'timezone' | 'startAt',
  fits: boolean,
  path: string,
): void {
  if (fits || given[name] === undefined) return;
  const owner = name === 'timezone' ? 'cron' : 'everyMs';
  const fix = `Leave ${name} out: times elsewhere carry their zone and begin by themselves.`;
  throw invalid(`${path}.${name}`, `belongs to ${owner} and means nothing here`, fix);
}

function checkOrder(name: string, fromMs: number, untilMs: number | null, path: string): void {
  if (untilMs === null || fromMs <= untilMs) return;
  const problem = `is before ${name}, so nothing would ever fire`;
  throw invalid(`${path}.until`, problem, `Give an until after ${name}, or leave it out.`);
}

/** Names only: an offset such as +02:00 knows no clock changes and is wrong half the year. */
function checkTimezone(value: unknown, path: string): void {
  const fix = 'Give an IANA name such as Europe/Berlin, America/New_York or UTC.';
  if (typeof value !== 'string') {
    throw invalid(path, `is ${describeKind(value)}, not a string`, fix);
  }
  try {
    if (!/^[A-Za-z]/.test(value)) throw new RangeError('an offset');
    new Intl.DateTimeFormat('en', { timeZone: value });
  } catch {
    const word = value.toLowerCase().replaceAll(' ', '_');
    const near = Intl.supportedValuesOf('timeZone').find((zone) =>
      zone.toLowerCase().endsWith(`/${word.split('/').at(-1)}`),
    );
    throw invalid(path, `is '${cut(value)}', not a time zone`, near ? `Write ${near}.` : fix);
  }
}

function invalid(path: string, problem: string, fix: string): MillraceError {
  return new MillraceError('SCHEDULE_INVALID', `${path} ${problem}.`, { fix, details: { path } });
}

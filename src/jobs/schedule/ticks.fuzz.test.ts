/**
 * Random cron rules against a model that looks at every minute of the days around clock changes,
 * with local times from Intl. `FUZZ_SEED=<seed>` repeats a run, `FUZZ_RUNS` makes it longer.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { CronField } from '../../core/cron-field.ts';
import { type CronRule, parseScheduleRule, type ScheduleRule } from '../../core/schedule-rule.ts';
import { latestTicks, nextTick } from './ticks.ts';

const seed = Number(process.env.FUZZ_SEED ?? Date.now() % 2 ** 31);
const numRuns = Number(process.env.FUZZ_RUNS ?? 150);
const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** A zone and the moment its clocks change; UTC has none. */
const changes: readonly (readonly [zone: string, at: string])[] = [
  ['Europe/Berlin', '2026-03-29T01:00Z'],
  ['Europe/Berlin', '2026-10-25T01:00Z'],
  ['America/New_York', '2026-03-08T07:00Z'],
  ['America/New_York', '2026-11-01T06:00Z'],
  ['Australia/Lord_Howe', '2026-10-03T15:30Z'],
  ['Australia/Lord_Howe', '2026-04-04T15:00Z'],
  ['Africa/Cairo', '2026-04-23T22:00Z'],
  ['Africa/Cairo', '2026-10-29T21:00Z'],
  ['America/St_Johns', '2026-03-08T05:30Z'],
  ['UTC', '2026-03-29T01:00Z'],
];

/** Local time of each minute of a week around the change, as `2026-03-29 01:59`. */
interface Week {
  readonly fromMs: number;
  readonly local: readonly string[];
}

const weeks = new Map<string, Week>();

function weekOf(zone: string, at: string): Week {
  const known = weeks.get(zone + at);
  if (known) return known;
  const fromMs = Date.parse(at) - 84 * hourMs;
  const format = new Intl.DateTimeFormat('sv-SE', {
    timeZone: zone,
    dateStyle: 'short',
    timeStyle: 'short',
  });
  const minutes = Array.from({ length: 168 * 60 }, (_, i) => fromMs + i * minuteMs);
  const week = { fromMs, local: minutes.map((ms) => format.format(ms)) };
  weeks.set(zone + at, week);
  return week;
}

const has = ({ any, values }: CronField, value: number) => any || values.includes(value);

function matchesDay({ cron }: CronRule, date: string): boolean {
  const [year = 0, month = 0, day = 0] = date.split('-').map(Number);
  const { dayOfMonth, dayOfWeek } = cron;
  if (!has(cron.month, month)) return false;
  const weekday = new Date(Date.UTC(year, month - 1, day)).getUTCDay();
  const lastDay = new Date(Date.UTC(year, month, 0)).getUTCDate();
  const byDay = has(dayOfMonth, day) || (dayOfMonth.last && day === lastDay);
  const byWeek =
    has(dayOfWeek, weekday) ||
    dayOfWeek.nth.some(
      (one) =>
        one.weekday === weekday &&
        (one.nth === 'last' ? day > lastDay - 7 : one.nth === Math.ceil(day / 7)),
    );
  if (dayOfMonth.any || dayOfWeek.any) return byDay && byWeek;
  return byDay || byWeek;
}

/** Every tick of the week: the stated policy, minute by minute. */
function model(rule: CronRule, { fromMs, local }: Week): number[] {
  const { cron } = rule;
  const ticks = new Set<number>();
  const add = (minute: number, seconds: readonly number[]) => {
    for (const second of seconds) ticks.add(fromMs + minute * minuteMs + second * 1000);
  };
  if (!cron.fixed) {
    for (const [i, time] of local.entries()) {
      const [hour = 0, minute = 0] = time.slice(11).split(':').map(Number);
      if (!has(cron.hour, hour) || !has(cron.minute, minute)) continue;
      if (matchesDay(rule, time.slice(0, 10))) add(i, cron.second.values);
    }
    return [...ticks].sort((a, b) => a - b);
  }
  const two = (n: number) => String(n).padStart(2, '0');
  for (const date of new Set(local.map((time) => time.slice(0, 10)))) {
    if (!matchesDay(rule, date)) continue;
    for (const hour of cron.hour.values) {
      for (const minute of cron.minute.values) {
        const wanted = `${date} ${two(hour)}:${two(minute)}`;
        // The first moment at which the clock shows it, or has passed it.
        const i = local.findIndex((time) => time >= wanted);
        if (i < 0) continue;
        if (local[i] === wanted) add(i, cron.second.values);
        else if (i > 0) add(i, [0]);
      }
    }
  }
  return [...ticks].sort((a, b) => a - b);
}

const single = (min: number, max: number) => fc.integer({ min, max }).map(String);
const list = (min: number, max: number) =>
  fc.uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength: 4 }).map(String);
const range = (min: number, max: number) =>
  fc
    .tuple(fc.integer({ min, max }), fc.integer({ min, max }))
    .map(([a, b]) => `${Math.min(a, b)}-${Math.max(a, b)}`);
const step = (max: number) => fc.integer({ min: 1, max }).map((by) => `*/${by}`);
const steppedRange = (min: number, max: number) =>
  fc.tuple(range(min, max), fc.integer({ min: 1, max: 7 })).map(([text, by]) => `${text}/${by}`);
const field = (min: number, max: number) =>
  fc.oneof(
    fc.constant('*'),
    { weight: 3, arbitrary: single(min, max) },
    list(min, max),
    range(min, max),
    step(max),
    steppedRange(min, max),
  );
const often = (arbitrary: fc.Arbitrary<string>) =>
  fc.oneof({ weight: 4, arbitrary: fc.constant('*') }, arbitrary);

const cronText = fc
  .tuple(
    fc.oneof({ weight: 5, arbitrary: fc.constant('0') }, list(0, 59), step(30)),
    field(0, 59),
    // Clocks change at night.
    fc.oneof({ weight: 2, arbitrary: field(0, 4) }, field(0, 23)),
    often(fc.oneof(field(1, 28), fc.constantFrom('L', '1,L', '25-31'))),
    often(fc.constantFrom('3,4', '10-11', 'MAR', '*/2', 'OCT,NOV,APR')),
    often(
      fc.oneof(field(0, 6), fc.constantFrom('SUN', '7', 'FRI-SUN', 'SUN#4', 'SUNL,3', '0#1,6L')),
    ),
  )
  .map((fields) => fields.join(' '));

const shown = (ticks: readonly number[]) => ticks.map((ms) => new Date(ms).toISOString());

test('cron rules fire when a look at every minute says so', (t) => {
  t.diagnostic(`FUZZ_SEED=${seed}`);
  let compared = 0;
  const check = (cron: string, change: number, beginMinutes: number, hours: number) => {
    const [zone, at] = changes[change] as (typeof changes)[number];
    const rule = parse(cron, zone);
    if (rule === null) return;
    const week = weekOf(zone, at);
    // The window has the change in it mostly; both ends are inside the week.
    const from = Date.parse(at) - beginMinutes * minuteMs;
    const to = from + hours * hourMs;
    const expected = model(rule, week).filter((ms) => ms > from && ms <= to);
    const found: number[] = [];
    for (let tick = nextTick(rule, from); tick !== null && tick <= to; ) {
      found.push(tick);
      const next = nextTick(rule, tick);
      assert.ok(next === null || next > tick, 'ticks ascend');
      tick = next;
    }
    assert.deepEqual(shown(found), shown(expected), `${cron} in ${zone}`);
    compared += found.length;
    const latest = latestTicks(rule, from, to, 5);
    assert.deepEqual(shown(latest), shown(expected.slice(-5)), `latest of ${cron} in ${zone}`);
  };
  fc.assert(
    fc.property(
      cronText,
      fc.nat(changes.length - 1),
      fc.integer({ min: 1, max: 30 * 60 }),
      fc.integer({ min: 1, max: 40 }),
      check,
    ),
    { seed, numRuns },
  );
  t.diagnostic(`${compared} ticks compared`);
});

/** Random dates such as 31 FEB are refused: not what this is about. */
function parse(cron: string, timezone: string): CronRule | null {
  try {
    return parseScheduleRule({ cron, timezone }) as CronRule;
  } catch (error) {
    assert.match((error as Error).message, /it never comes/, cron);
    return null;
  }
}

test('the next tick is after the moment asked for, and none is between', (t) => {
  t.diagnostic(`FUZZ_SEED=${seed}`);
  const rules: fc.Arbitrary<ScheduleRule> = fc.oneof(
    fc
      .record({ everyMs: fc.integer({ min: 1, max: 10 ** 9 }) })
      .map((options) => parseScheduleRule(options)),
    fc
      .tuple(fc.integer({ min: 1, max: 10 ** 9 }), fc.integer({ min: 0, max: 2 * 10 ** 12 }))
      .map(([everyMs, startAt]) => parseScheduleRule({ everyMs, startAt })),
    fc
      .tuple(cronText, fc.constantFrom(...changes))
      .map(([cron, [zone]]) => parse(cron, zone))
      .filter((rule) => rule !== null),
  );
  const moment = fc.integer({ min: Date.parse('2025-01-01T00:00Z'), max: 1.9e12 });
  fc.assert(
    fc.property(rules, moment, fc.double({ min: 0, max: 1, noNaN: true }), (rule, after, share) => {
      const next = nextTick(rule, after);
      if (next === null) return;
      assert.ok(next > after && Number.isSafeInteger(next));
      const between = after + Math.floor((next - after - 1) * share);
      assert.equal(nextTick(rule, between), next);
    }),
    { seed, numRuns },
  );
});

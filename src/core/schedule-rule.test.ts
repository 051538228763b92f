/** Rules of schedules: what users write, what is stored, and how it is said in words. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MillraceError } from './errors.ts';
import {
  type CronRule,
  parseScheduleRule,
  printScheduleRule,
  type ScheduleOptions,
} from './schedule-rule.ts';
import { describeSchedule } from './schedule-words.ts';

describe('a rule', () => {
  it('has defaults: UTC, coalesce, no jitter, no end', () => {
    const rule = parseScheduleRule({ cron: '0 2 * * *' }) as CronRule;
    const { kind, timezone, misfire, misfireMax, untilMs, jitterMs } = rule;
    assert.deepEqual(
      { kind, timezone, misfire, misfireMax, untilMs, jitterMs },
      {
        kind: 'cron',
        timezone: 'UTC',
        misfire: 'coalesce',
        misfireMax: 100,
        untilMs: null,
        jitterMs: 0,
      },
    );
  });

  it('is the same after it was stored, whatever form its times had', () => {
    const at = '2030-01-31T12:00:00.000Z';
    const rules: ScheduleOptions[] = [
      { cron: '*/5  9-17 * * MON-FRI', timezone: 'Europe/Berlin', misfire: 'skip' },
      { cron: '@daily', jitterMs: 5_000, until: '2031-01-01T01:00:00+01:00' },
      { everyMs: 60_000 },
      { everyMs: 60_000, startAt: new Date(at), misfire: 'backfill', misfireMax: 7 },
      { at },
      { at: Date.parse(at) },
      { at: new Date(at) },
    ];
    for (const options of rules) {
      const rule = parseScheduleRule(options);
      const json = printScheduleRule(rule);
      assert.deepEqual(parseScheduleRule(JSON.parse(json)), rule);
      assert.equal(printScheduleRule(parseScheduleRule(JSON.parse(json))), json);
    }
    const [text, number, date] = rules
      .slice(4)
      .map((rule) => printScheduleRule(parseScheduleRule(rule)));
    assert.equal(text, number);
    assert.equal(text, date);
  });

  it('takes members that are there and undefined for missing ones', () => {
    parseScheduleRule({ everyMs: 5, cron: undefined, until: undefined, misfire: undefined });
  });

  const refusals: readonly (readonly [rule: unknown, message: RegExp, fix: RegExp])[] = [
    [null, /^schedule is null, not an object/, /cron: '0 2 \* \* \*'/],
    [[], /an array/, /everyMs/],
    [{}, /says nothing about when/, /at: new Date/],
    [{ cron: '* * * * *', everyMs: 5 }, /has both cron and everyMs/, /two schedules/],
    [{ crone: '* * * * *' }, /schedule\.crone is not known/, /cron, timezone/],
    [{ cron: 5 }, /schedule\.cron is a number, not a string/, /0 2/],
    [{ cron: 'x' }, /schedule\.cron: 'x' has 1 fields/, /0 2/],
    [{ cron: '@daily', timezone: 'berlin' }, /timezone is 'berlin'/, /Write Europe\/Berlin/],
    [{ cron: '@daily', timezone: 'new york' }, /not a time zone/, /Write America\/New_York/],
    [{ cron: '@daily', timezone: 'Mars/Olympus' }, /not a time zone/, /IANA/],
    [{ cron: '@daily', timezone: '+02:00' }, /not a time zone/, /IANA/],
    [{ cron: '@daily', timezone: 2 }, /timezone is a number/, /IANA/],
    [{ everyMs: 5, timezone: 'UTC' }, /timezone belongs to cron/, /Leave timezone out/],
    [{ at: 5, startAt: 5 }, /startAt belongs to everyMs/, /Leave startAt out/],
    [{ everyMs: 0 }, /everyMs is 0, not a whole number from 1/, /300_000/],
    [{ everyMs: 1.5 }, /everyMs is 1.5/, /300_000/],
    [{ everyMs: '5m' }, /everyMs is a string/, /300_000/],
    [{ everyMs: Number.NaN }, /everyMs is NaN/, /300_000/],
    [{ at: 'tomorrow' }, /at is 'tomorrow'/, /2030-01-31T12:00:00Z/],
    [{ at: '2030-02-30T00:00:00Z' }, /at is '2030-02-30/, /zone/],
    [{ at: new Date(Number.NaN) }, /at is a Date/, /zone/],
    [{ at: '2030-01-01T12:00' }, /with its zone/, /zone/],
    [{ at: 5, misfire: 'later' }, /misfire is 'later'/, /skip, coalesce, backfill/],
    [{ at: 5, misfire: 5 }, /misfire is a number/, /skip/],
    [{ at: 5, misfireMax: 0 }, /misfireMax is 0/, /100/],
    [{ at: 5, jitterMs: -1 }, /jitterMs is -1/, /30_000/],
    [{ at: 10, until: 5 }, /until is before at/, /after at/],
    [{ everyMs: 5, startAt: 10, until: 5 }, /until is before startAt/, /after startAt/],
  ];
  it('is refused with what is wrong and a right one', () => {
    for (const [rule, message, fix] of refusals) {
      assert.throws(
        () => parseScheduleRule(rule),
        (error) => {
          assert.ok(error instanceof MillraceError && error.code === 'SCHEDULE_INVALID');
          assert.match(error.message, message);
          assert.match(error.fix, fix);
          return true;
        },
      );
    }
  });
});

describe('in words', () => {
  const words = (rule: ScheduleOptions) => describeSchedule(parseScheduleRule(rule));
  const crons: Readonly<Record<string, string>> = {
    '0 2 * * *': 'at 02:00 every day',
    '15 30 2 * * *': 'at 02:30:15 every day',
    '* * * * *': 'every minute',
    '*/15 * * * *': 'every 15 minutes',
    '*/7 * * * *': 'every 7 minutes of every hour',
    '*/10 * * * * *': 'every 10 seconds',
    '10 * * * * *': 'at second 10 of every minute',
    '0,30 * 2 * * *': 'at seconds 0 and 30 of every minute of hour 2',
    '@hourly': 'every hour',
    '15 * * * *': 'at minute 15 of every hour',
    '5,35 * * * *': 'at minutes 5 and 35 of every hour',
    '0 */2 * * *': 'every 2 hours',
    '30 */6 * * *': 'at minute 30 of every 6th hour',
    '0 8-17 * * *': 'at minute 0 of hours 8 to 17',
    '*/5 8-17 * * MON-FRI': 'every 5 minutes of hours 8 to 17 on Monday to Friday',
    '30 8,12,18 * * 1-5': 'at 08:30, 12:30 and 18:30 on Monday to Friday',
    '0 0 1 * *': 'at 00:00 on the 1st of every month',
    '0 0 2,3,11,22 JAN *': 'at 00:00 on the 2nd, 3rd, 11th and 22nd of January',
    '0 0 L * *': 'at 00:00 on the last day of every month',
    '0 0 1 */3 *': 'at 00:00 on the 1st of every 3rd month',
    '0 0 13 * FRI': 'at 00:00 on the 13th and on Friday of every month',
    '0 0 * * FRI#2,SUN': 'at 00:00 on Sunday and the 2nd Friday',
    '0 0 * * 5L': 'at 00:00 on the last Friday',
    '0 0 * JUN-AUG *': 'at 00:00 every day of June to August',
    '0 0 * 12 MON': 'at 00:00 on Monday in December',
  };
  it('cron', () => {
    for (const [cron, said] of Object.entries(crons))
      assert.equal(words({ cron }), `${said} (UTC)`);
    const timezone = 'Europe/Berlin';
    assert.equal(words({ cron: '0 2 * * *', timezone }), 'at 02:00 every day (Europe/Berlin)');
  });

  it('intervals and single times, and what limits them', () => {
    assert.equal(words({ everyMs: 60_000 }), 'every minute');
    assert.equal(words({ everyMs: 5_400_000 }), 'every 90 minutes');
    assert.equal(words({ everyMs: 50 }), 'every 50 milliseconds');
    const startAt = '2030-01-01T00:00:30Z';
    const from = 'every 2 days from 2030-01-01 00:00:30 UTC';
    assert.equal(words({ everyMs: 172_800_000, startAt }), from);
    assert.equal(words({ at: startAt }), 'once at 2030-01-01 00:00:30 UTC');
    const limited = 'every hour, up to 30 seconds later, until 2030-01-01 00:00:30 UTC';
    assert.equal(words({ everyMs: 3_600_000, jitterMs: 30_000, until: startAt }), limited);
  });
});

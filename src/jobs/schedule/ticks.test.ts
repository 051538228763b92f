/** When rules fire, with the days on which clocks change written out. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseScheduleRule, type ScheduleOptions } from '../../core/schedule-rule.ts';
import { latestTicks, nextTick, nextTicks } from './ticks.ts';

const ticks = (rule: ScheduleOptions, after: string, count: number) =>
  nextTicks(parseScheduleRule(rule), new Date(after), count).map((tick) =>
    tick.toISOString().replace(/:00\.000Z$/, 'Z'),
  );
const cronIn = (timezone: string) => (cron: string, after: string, count: number) =>
  ticks({ cron, timezone }, after, count);

describe('a fixed time in the gap of spring', () => {
  it('fires at the first moment after it, and on time the next day', () => {
    const berlin = cronIn('Europe/Berlin');
    const days = ['2026-03-28T01:30Z', '2026-03-29T01:00Z', '2026-03-30T00:30Z'];
    assert.deepEqual(berlin('30 2 * * *', '2026-03-28T00:00Z', 3), days);
    const newYork = cronIn('America/New_York');
    const american = ['2026-03-07T07:30Z', '2026-03-08T07:00Z', '2026-03-09T06:30Z'];
    assert.deepEqual(newYork('30 2 * * *', '2026-03-07T00:00Z', 3), american);
  });

  it('fires once when several times of a list fall into it, or meet what follows', () => {
    const berlin = cronIn('Europe/Berlin');
    const once = ['2026-03-29T01:00Z', '2026-03-30T00:00Z'];
    assert.deepEqual(berlin('0,30 2 * * *', '2026-03-28T12:00Z', 2), once);
    const meets = ['2026-03-29T01:00Z', '2026-03-30T00:00Z', '2026-03-30T01:00Z'];
    assert.deepEqual(berlin('0 2,3 * * *', '2026-03-28T12:00Z', 3), meets);
  });

  it('knows gaps of half an hour and at midnight', () => {
    const lordHowe = cronIn('Australia/Lord_Howe');
    const half = ['2026-10-02T15:45Z', '2026-10-03T15:30Z', '2026-10-04T15:15Z'];
    assert.deepEqual(lordHowe('15 2 * * *', '2026-10-02T00:00Z', 3), half);
    const cairo = cronIn('Africa/Cairo');
    const midnight = ['2026-04-22T22:30Z', '2026-04-23T22:00Z', '2026-04-24T21:30Z'];
    assert.deepEqual(cairo('30 0 * * *', '2026-04-22T00:00Z', 3), midnight);
  });
});

describe('a fixed time that autumn repeats', () => {
  it('fires at its first occurrence only', () => {
    const berlin = cronIn('Europe/Berlin');
    const days = ['2026-10-24T00:30Z', '2026-10-25T00:30Z', '2026-10-26T01:30Z'];
    assert.deepEqual(berlin('30 2 * * *', '2026-10-24T00:00Z', 3), days);
    const both = ['2026-10-25T00:00Z', '2026-10-25T00:30Z', '2026-10-26T01:00Z'];
    assert.deepEqual(berlin('0,30 2 * * *', '2026-10-24T12:00Z', 3), both);
    const lordHowe = cronIn('Australia/Lord_Howe');
    const half = ['2026-04-03T14:45Z', '2026-04-04T14:45Z', '2026-04-05T15:15Z'];
    assert.deepEqual(lordHowe('45 1 * * *', '2026-04-03T00:00Z', 3), half);
  });

  it('is over for the day when the search begins between the occurrences', () => {
    const berlin = cronIn('Europe/Berlin');
    assert.deepEqual(berlin('30 2 * * *', '2026-10-25T00:45Z', 1), ['2026-10-26T01:30Z']);
    assert.deepEqual(berlin('15 2 * * *', '2026-10-25T01:00Z', 1), ['2026-10-26T01:15Z']);
  });
});

describe('a rule with * or a step in its time', () => {
  it('goes through the repeated hour twice', () => {
    const hours = cronIn('Europe/Berlin')('15 * * * *', '2026-10-24T23:00Z', 4);
    const every = ['2026-10-24T23:15Z', '2026-10-25T00:15Z', '2026-10-25T01:15Z'];
    assert.deepEqual(hours, [...every, '2026-10-25T02:15Z']);
    const halves = cronIn('Europe/Berlin')('*/30 2 * * *', '2026-10-24T12:00Z', 5);
    const both = ['2026-10-25T00:00Z', '2026-10-25T00:30Z', '2026-10-25T01:00Z'];
    assert.deepEqual(halves, [...both, '2026-10-25T01:30Z', '2026-10-26T01:00Z']);
  });

  it('has nothing in the gap', () => {
    const hours = cronIn('Europe/Berlin')('15 * * * *', '2026-03-29T00:00Z', 2);
    assert.deepEqual(hours, ['2026-03-29T00:15Z', '2026-03-29T01:15Z']);
    const halves = cronIn('Europe/Berlin')('*/30 2 * * *', '2026-03-28T01:00Z', 2);
    assert.deepEqual(halves, ['2026-03-28T01:30Z', '2026-03-30T00:00Z']);
  });
});

describe('ticks', () => {
  it('of UTC know no changes; a day matches by either of its fields', () => {
    const days = ['2026-03-29T02:30Z', '2026-03-30T02:30Z'];
    assert.deepEqual(ticks({ cron: '30 2 * * *' }, '2026-03-29T00:00Z', 2), days);
    const either = ['2026-11-02T00:00Z', '2026-11-09T00:00Z', '2026-11-13T00:00Z'];
    assert.deepEqual(ticks({ cron: '0 0 13 * MON' }, '2026-11-01T00:00Z', 3), either);
  });

  it('find the 29th of February and what is rare', () => {
    const leap = ['2028-02-29T00:00Z', '2032-02-29T00:00Z'];
    assert.deepEqual(ticks({ cron: '0 0 29 2 *' }, '2026-01-01T00:00Z', 2), leap);
    const fifth = ['2044-02-29T00:00Z'];
    assert.deepEqual(ticks({ cron: '0 0 * FEB MON#5' }, '2026-01-01T00:00Z', 1), fifth);
    const last = ['2026-11-27T00:00Z', '2026-11-30T00:00Z', '2026-12-25T00:00Z'];
    assert.deepEqual(ticks({ cron: '0 0 L * FRIL' }, '2026-11-01T00:00Z', 3), last);
  });

  it('of an interval are counted from 1970, or from its start', () => {
    const full = ['2026-01-01T00:10Z', '2026-01-01T00:20Z'];
    assert.deepEqual(ticks({ everyMs: 600_000 }, '2026-01-01T00:03Z', 2), full);
    const startAt = '2026-01-01T00:05:00Z';
    const begun = ['2026-01-01T00:05Z', '2026-01-01T00:15Z'];
    assert.deepEqual(ticks({ everyMs: 600_000, startAt }, '2025-06-01T00:00Z', 2), begun);
    const later = ['2026-01-01T00:15Z'];
    assert.deepEqual(ticks({ everyMs: 600_000, startAt }, startAt, 1), later);
  });

  it('end: once is once, and nothing comes after until', () => {
    const at = '2026-01-01T00:00Z';
    assert.deepEqual(ticks({ at }, '2025-12-31T23:59Z', 5), [at]);
    assert.deepEqual(ticks({ at }, at, 5), []);
    const until = '2026-01-02T00:00Z';
    const two = ['2026-01-01T00:00Z', '2026-01-02T00:00Z'];
    assert.deepEqual(ticks({ cron: '@daily', until }, '2025-12-31T12:00Z', 5), two);
    const always = parseScheduleRule({ everyMs: 86_400_000 });
    assert.equal(nextTick(always, Date.parse('9999-12-31T12:00Z')), null);
  });
});

describe('the latest ticks', () => {
  it('are found without walking through all that passed', () => {
    const rule = parseScheduleRule({ cron: '* * * * * *' });
    const now = Date.parse('2026-06-15T12:00:00.500Z');
    const began = performance.now();
    const latest = latestTicks(rule, Date.parse('2020-01-01T00:00Z'), now, 3);
    assert.ok(performance.now() - began < 1_000, 'six years of seconds take a moment');
    const seconds = ['11:59:58', '11:59:59', '12:00:00'];
    assert.deepEqual(
      latest.map((ms) => new Date(ms).toISOString().slice(11, 19)),
      seconds,
    );
  });

  it('are all of them when there are not more', () => {
    const rule = parseScheduleRule({ cron: '0 0 1 1 *' });
    const [from, to] = [Date.parse('2020-06-01T00:00Z'), Date.parse('2023-06-01T00:00Z')];
    const years = latestTicks(rule, from, to, 100).map((ms) => new Date(ms).getUTCFullYear());
    assert.deepEqual(years, [2021, 2022, 2023]);
    assert.deepEqual(latestTicks(rule, from, from + 1, 100), []);
  });
});

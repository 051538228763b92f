/** Cron expressions: what is read, and what is refused with a right one beside it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseCron } from './cron.ts';
import { MillraceError } from './errors.ts';

const refused = (text: string): MillraceError => {
  try {
    parseCron(text, 'schedule.cron');
  } catch (error) {
    assert.ok(error instanceof MillraceError && error.code === 'SCHEDULE_INVALID', String(error));
    return error;
  }
  return assert.fail(`'${text}' was taken`);
};

describe('a cron expression', () => {
  it('has five fields, six with seconds, or is an alias', () => {
    assert.equal(parseCron('0 2 * * *').text, '0 0 2 * * *');
    assert.equal(parseCron('  15  0 2 * * *\t').text, '15 0 2 * * *');
    assert.equal(parseCron('@daily').text, '0 0 0 * * *');
    assert.equal(parseCron('@HOURLY').text, '0 0 * * * *');
    assert.equal(parseCron('@weekly').text, '0 0 0 * * 0');
    assert.equal(parseCron('@yearly').text, '0 0 0 1 1 *');
  });

  it('reads lists, ranges, steps and names', () => {
    const { minute, hour, month, dayOfWeek } = parseCron('5,10-12,30-40/5 */8 * jan-Mar MON-FRI');
    assert.deepEqual(minute.values, [5, 10, 11, 12, 30, 35, 40]);
    assert.deepEqual(hour.values, [0, 8, 16]);
    assert.equal(hour.step, 8);
    assert.deepEqual(month.values, [1, 2, 3]);
    assert.deepEqual(dayOfWeek.values, [1, 2, 3, 4, 5]);
  });

  it('knows Sunday by three names, and weeks that end with it', () => {
    for (const day of ['0', '7', 'SUN']) {
      assert.deepEqual(parseCron(`0 0 * * ${day}`).dayOfWeek.values, [0]);
    }
    for (const days of ['FRI-SUN', '5-7', '5,6,0']) {
      assert.deepEqual(parseCron(`0 0 * * ${days}`).dayOfWeek.values, [0, 5, 6]);
    }
  });

  it('reads the days that have no number', () => {
    const { dayOfMonth, dayOfWeek } = parseCron('0 0 1,L * FRI#2,6L,MON');
    assert.equal(dayOfMonth.last, true);
    assert.deepEqual(dayOfMonth.values, [1]);
    const nth = [
      { weekday: 5, nth: 2 },
      { weekday: 6, nth: 'last' },
    ];
    assert.deepEqual(dayOfWeek.nth, nth);
    assert.deepEqual(dayOfWeek.values, [1]);
  });

  it('is fixed when its time has neither * nor a step', () => {
    for (const fixed of ['30 2 * * *', '0,30 2-4 * * *', '15 0 2 */2 * *', '@daily']) {
      assert.equal(parseCron(fixed).fixed, true, fixed);
    }
    for (const wild of [
      '* 2 * * *',
      '*/5 2 * * *',
      '0 * * * *',
      '0-30/10 2 * * *',
      '* 0 2 * * *',
    ]) {
      assert.equal(parseCron(wild).fixed, false, wild);
    }
  });

  it('takes a step of one and a question mark as any', () => {
    assert.equal(parseCron('0 0 */1 * MON').dayOfMonth.any, true);
    assert.equal(parseCron('0 0 ? * MON').text, '0 0 0 * * 1');
  });
});

describe('what is refused', () => {
  const cases: readonly (readonly [text: string, message: RegExp, fix: RegExp])[] = [
    ['', /has 0 fields, not 5 or 6/, /0 2 \* \* \*/],
    ['0 2 * *', /'0 2 \* \*' has 4 fields/, /minute, hour, day of month/],
    ['0 0 2 * * * 2030', /has 7 fields/, /0 2 \* \* \*/],
    ['60 * * * *', /the minute is 60, not from 0 to 59/, /\*\/15 \* \* \* \*/],
    ['0 24 * * *', /the hour is 24, not from 0 to 23/, /0 2 \* \* \*/],
    ['0 0 0 * *', /the day of month is 0, not from 1 to 31/, /1,15/],
    ['0 0 * 13 *', /the month is 13, not from 1 to 12/, /JAN,JUL/],
    ['0 0 * * 8', /the day of week is 8, not from 0 to 7/, /MON-FRI/],
    ['0 0 * MÄRZ *', /the month is 'MÄRZ', which cannot be read/, /JAN/],
    ['0 0 * MAI *', /the month is 'MAI', not a number or one of JAN, FEB/, /JAN/],
    ['0 x * * *', /the hour is 'X', not a number/, /0 2 \* \* \*/],
    ['0 22-2 * * *', /'22-2', a range that ends before it begins/, /Write 22-23,0-2/],
    ['0 0 * * FRI-MON', /ends before it begins/, /Write 5-6,0-1/],
    ['5/10 * * * *', /'5\/10', a step without a range/, /Write 5-59\/10/],
    ['*/0 * * * *', /the minute has the step 0, not from 1 to 60/, /\*\/15/],
    ['0 */25 * * *', /the hour has the step 25, not from 1 to 24/, /0 2/],
    ['*,5 * * * *', /the minute has '\*' in a list/, /\*\/15/],
    ['*-5 * * * *', /cannot be read/, /\*\/15/],
    ['? * * * *', /the minute is '\?'/, /\*\/15/],
    ['0 0 * * FRI#6', /'FRI#6', not from #1 to #5/, /FRIL/],
    ['0 0 15W * *', /the day of month is '15W'/, /1,15/],
    ['0 0 L-2 * *', /the day of month/, /1,15/],
    ['@every 5m', /'@every 5m' is no alias/, /everyMs/],
    ['@reboot', /is no alias/, /@daily/],
    ['0 0 31 2 *', /it never comes, FEB has no day 31/, /L is the last day/],
    ['0 0 30,31 FEB *', /never comes, FEB has no day 30/, /0 2 L FEB \*/],
    ['0 0 31 4,6,9,11 *', /APR or JUN or SEP or NOV has no day 31/, /Correct the day/],
    [`${'0,'.repeat(200)}0 * * * *`, /has 409 characters; 256 are allowed/, /0 2/],
    [`${'9'.repeat(50)} * * * *`, /'9{40}…', not a number/, /\*\/15/],
  ];
  for (const [text, message, fix] of cases) {
    it(`${text.slice(0, 30)}`, () => {
      const error = refused(text);
      assert.match(error.message, message);
      assert.match(error.message, /^schedule\.cron: .*\.$/);
      assert.match(error.fix, fix);
    });
  }

  it('but not a date that comes now and then, or by its day of the week', () => {
    for (const text of ['0 0 29 2 *', '0 0 31 2,3 *', '0 0 L 2 *', '0 0 31 2 MON']) parseCron(text);
  });
});

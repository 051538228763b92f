/** What a due schedule leads to: misfires, and the jobs of ticks. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { NewJob } from '../../core/job.ts';
import { parseScheduleRule, type ScheduleOptions } from '../../core/schedule-rule.ts';
import type { ScheduleRecord } from '../../ports/schedules.ts';
import { firstTick, jobOfTick, planFiring } from './firing.ts';

const minutely = { cron: '* * * * *' };
const clock = (time: string) => Date.parse(`2026-05-01T${time}Z`);

/** Times of day of the ticks and of the next one. */
function plan(rule: ScheduleOptions, due: string, now: string) {
  const { ticks, nextMs, missed } = planFiring(parseScheduleRule(rule), clock(due), clock(now));
  const time = (ms: number) => new Date(ms).toISOString().slice(11, 19);
  return { ticks: ticks.map(time), next: nextMs === null ? null : time(nextMs), missed };
}

describe('a look at a due schedule', () => {
  it('on time fires the tick, whatever the policy', () => {
    for (const misfire of ['skip', 'coalesce', 'backfill'] as const) {
      const onTime = { ticks: ['10:00:00'], next: '10:01:00', missed: false };
      assert.deepEqual(plan({ ...minutely, misfire }, '10:00:00', '10:00:00'), onTime);
      assert.deepEqual(plan({ ...minutely, misfire }, '10:00:00', '10:00:59.9'), onTime);
    }
  });

  it('coalesce: one job for all that was missed, that of the latest tick', () => {
    const one = { ticks: ['11:07:00'], next: '11:08:00', missed: true };
    assert.deepEqual(plan(minutely, '10:00:00', '11:07:30'), one);
  });

  it('skip: nothing that is late by more than a minute', () => {
    const misfire = 'skip';
    const daily = { cron: '0 2 * * *', misfire } as const;
    assert.deepEqual(plan(daily, '02:00:00', '02:01:00').ticks, ['02:00:00']);
    assert.deepEqual(plan(daily, '02:00:00', '02:01:01'), {
      ticks: [],
      next: '02:00:00',
      missed: true,
    });
    // Of those missed the latest is not late.
    assert.deepEqual(plan({ ...minutely, misfire }, '10:00:00', '11:07:30').ticks, ['11:07:00']);
  });

  it('backfill: each, the oldest first, the latest `misfireMax`', () => {
    const misfire = 'backfill';
    const all = plan({ ...minutely, misfire }, '10:00:00', '10:03:30');
    assert.deepEqual(all.ticks, ['10:00:00', '10:01:00', '10:02:00', '10:03:00']);
    assert.equal(all.next, '10:04:00');
    const two = plan({ ...minutely, misfire, misfireMax: 2 }, '10:00:00', '10:03:30');
    assert.deepEqual(two.ticks, ['10:02:00', '10:03:00']);
  });

  it('backfill: a hundred in one transaction, the rest at the next look', () => {
    const rule = { everyMs: 1_000, misfire: 'backfill', misfireMax: 250 } as const;
    const first = plan(rule, '10:00:00', '10:10:00');
    assert.equal(first.ticks.length, 100);
    assert.deepEqual([first.ticks[0], first.next], ['10:05:51', '10:07:31']);
    const second = plan(rule, '10:07:31', '10:10:00');
    assert.deepEqual([second.ticks[0], second.ticks.length], ['10:07:31', 100]);
    const third = plan(rule, second.next as string, '10:10:00');
    assert.deepEqual([third.ticks.at(-1), third.next], ['10:10:00', '10:10:01']);
  });

  it('once is once, and until is the end', () => {
    const at = '2026-05-01T10:00:00Z';
    assert.deepEqual(plan({ at }, '10:00:00', '18:00:00'), {
      ticks: ['10:00:00'],
      next: null,
      missed: true,
    });
    const until = plan({ ...minutely, until: at }, '10:00:00', '10:00:00');
    assert.deepEqual([until.ticks, until.next], [['10:00:00'], null]);
  });

  it('keeps the stored tick when the rule has lost it', () => {
    assert.deepEqual(plan(minutely, '10:00:30', '10:00:45').ticks, ['10:00:30']);
  });
});

describe('the first tick', () => {
  const first = (rule: ScheduleOptions) => firstTick(parseScheduleRule(rule), clock('10:00:00'));

  it('is the next one, never one that has passed', () => {
    assert.equal(first(minutely), clock('10:01:00'));
    assert.equal(first({ everyMs: 60_000, startAt: clock('09:00:30') }), clock('10:00:30'));
    assert.equal(first({ ...minutely, until: clock('10:00:30') }), null);
  });

  it('of a moment that has passed is that moment, unless such are skipped', () => {
    const at = clock('08:00:00');
    assert.equal(first({ at }), at);
    assert.equal(first({ at, misfire: 'skip' }), null);
    assert.equal(first({ at: clock('09:59:30'), misfire: 'skip' }), clock('09:59:30'));
  });
});

describe('the job of a tick', () => {
  const job: NewJob = {
    queue: 'reports',
    tenantId: 'acme',
    key: '',
    priority: 0,
    name: 'report.send',
    version: 1,
    payloadJson: '{"n":1}',
    optionsJson: null,
    delayMs: 0,
    unique: null,
    dependsOn: [],
    onParentFailure: 'wait',
  };
  const record = (changes: Partial<NewJob>): ScheduleRecord => ({
    name: 'nightly',
    tenantId: 'acme',
    ruleJson: '',
    job: { ...job, ...changes },
    paused: false,
    nextAt: null,
    lastAt: null,
    revision: 1,
  });
  const made = (changes: Partial<NewJob>, rule: ScheduleOptions = minutely, at = '10:00:00') =>
    jobOfTick(record(changes), parseScheduleRule(rule), clock(at));
  const tick = '2026-05-01T10:00:00.000Z';

  it('is the schedule’s, with schedule and tick in its metadata', () => {
    const metadata = { schedule: 'nightly', tick };
    assert.deepEqual(made({}), { ...job, optionsJson: JSON.stringify({ metadata }) });
    const optionsJson = '{"attempts":5,"metadata":{"team":"x"}}';
    assert.deepEqual(JSON.parse(made({ optionsJson }).optionsJson as string), {
      attempts: 5,
      metadata: { team: 'x', ...metadata },
    });
  });

  it('is dropped rather than refused when its unique key is taken', () => {
    const unique = { key: 'k', mode: 'reject', windowMs: 0 } as const;
    assert.deepEqual(made({ unique }).unique, { ...unique, mode: 'keep' });
    const throttle = { key: 'k', mode: 'throttle', windowMs: 5 } as const;
    assert.deepEqual(made({ unique: throttle }).unique, throttle);
  });

  it('is delayed by a jitter that is the same whoever fires it', () => {
    const rule = { ...minutely, jitterMs: 10_000 };
    const delays = Array.from({ length: 60 }, (_, i) => {
      const at = `10:${String(i).padStart(2, '0')}:00`;
      assert.equal(made({}, rule, at).delayMs, made({}, rule, at).delayMs);
      return made({ delayMs: 500 }, rule, at).delayMs;
    });
    assert.ok(delays.every((ms) => Number.isInteger(ms) && ms >= 500 && ms < 10_500));
    assert.ok(Math.max(...delays) - Math.min(...delays) > 5_000, 'they are spread');
  });
});

/** Schedules on a real store, in virtual time. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { jobOf, scheduleWorkshop, timesOf } from '../../../test/support/schedules.ts';
import { VirtualClock } from '../../../test/support/virtual-clock.ts';
import type { MillraceError } from '../../core/errors.ts';
import { parseScheduleRule, type ScheduleOptions } from '../../core/schedule-rule.ts';
import { nextTicks } from './ticks.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const expected = (rule: ScheduleOptions, from: string, count: number) =>
  nextTicks(parseScheduleRule(rule), new Date(from), count).map((tick) => tick.toISOString());

describe('schedules', () => {
  const workshop = scheduleWorkshop();
  const { open, names, ticksOf } = workshop;

  describe('a schedule in virtual time', () => {
    for (const from of ['2026-03-27T12:00:00Z', '2026-10-23T12:00:00Z']) {
      it(`fires each tick once while the clocks change: four days from ${from}`, async (t) => {
        const clock = new VirtualClock(from);
        const { schedules, errors } = open(t, { clock, lookMs: 7 * 60_000 });
        const rules: ScheduleOptions[] = [
          { cron: '30 2 * * *', timezone: 'Europe/Berlin' },
          { cron: '*/20 1-3 * * *', timezone: 'Europe/Berlin' },
          { cron: '30 2 * * *', timezone: 'UTC' },
          { everyMs: hourMs },
        ];
        const queues: string[] = [];
        for (const rule of rules) {
          const { name, queue } = names();
          queues.push(queue);
          await schedules.save(name, 'acme', rule, jobOf(queue));
        }
        schedules.start();
        await clock.advance(4 * dayMs);
        for (const [i, rule] of rules.entries()) {
          const ticks = await ticksOf(queues[i] as string);
          assert.deepEqual(ticks, expected(rule, from, ticks.length));
          const end = Date.parse(from) + 4 * dayMs;
          assert.ok(Date.parse(expected(rule, ticks.at(-1) as string, 1)[0] as string) > end);
        }
        assert.deepEqual(errors, []);
      });
    }

    it('fires on the tick, not at the next look', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2026-05-01T10:00:00.300Z');
      const { schedules } = open(t, { clock });
      await schedules.save(name, 'acme', { cron: '* * * * *' }, jobOf(queue));
      schedules.start();
      await clock.advance(59_699);
      assert.deepEqual(await ticksOf(queue), []);
      await clock.advance(1);
      await clock.settled();
      assert.deepEqual(await ticksOf(queue), ['2026-05-01T10:01:00.000Z']);
    });

    for (const [misfire, ticks] of [
      ['skip', ['14:00']],
      ['coalesce', ['13:00', '14:00']],
      ['backfill', ['11:00', '12:00', '13:00', '14:00']],
    ] as const) {
      it(`after three hours without a scheduler: ${misfire}`, async (t) => {
        const { name, queue } = names();
        const clock = new VirtualClock('2026-05-01T10:30:00Z');
        const { schedules, fired } = open(t, { clock, lookMs: 600_000 });
        await schedules.save(name, 'acme', { cron: '0 * * * *', misfire }, jobOf(queue));
        clock.set('2026-05-01T13:30:00Z');
        schedules.start();
        await clock.advance(hourMs);
        const times = timesOf(await ticksOf(queue));
        assert.deepEqual(times, ticks);
        assert.deepEqual(
          fired.map(({ missed }) => missed),
          [true, false],
        );
      });
    }

    it('ends with until, and once is once', async (t) => {
      const [daily, once] = [names(), names()];
      const clock = new VirtualClock('2026-05-01T10:30:00Z');
      const { schedules } = open(t, { clock, lookMs: hourMs });
      const until = '2026-05-03T00:00:00Z';
      await schedules.save(daily.name, 'acme', { cron: '@daily', until }, jobOf(daily.queue));
      const at = '2026-05-01T12:34:56.789Z';
      await schedules.save(once.name, 'acme', { at }, jobOf(once.queue));
      schedules.start();
      await clock.advance(9 * dayMs);
      const days = (await ticksOf(daily.queue)).map((tick) => tick.slice(0, 10));
      assert.deepEqual(days, ['2026-05-02', '2026-05-03']);
      assert.deepEqual(await ticksOf(once.queue), [at]);
      assert.equal((await schedules.find(once.name, 'acme'))?.nextAt, null);
    });
  });

  describe('a clock that is set', () => {
    it('an hour forward: what it held is missed, and the next tick is on time', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2026-05-01T10:00:30Z');
      const { schedules, clockSet } = open(t, { clock, lookMs: 10_000 });
      await schedules.save(name, 'acme', { everyMs: 600_000 }, jobOf(queue));
      schedules.start();
      await clock.advance(600_000);
      clock.set(clock.now() + hourMs);
      await clock.advance(600_000);
      const times = timesOf(await ticksOf(queue));
      assert.deepEqual(times, ['10:10', '11:10', '11:20']);
      assert.deepEqual(clockSet, [hourMs]);
    });

    it('an hour back: no tick fires twice, and the ones to come fire', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2026-05-01T10:00:30Z');
      const { schedules, clockSet } = open(t, { clock, lookMs: 10_000 });
      await schedules.save(name, 'acme', { everyMs: 600_000 }, jobOf(queue));
      schedules.start();
      await clock.advance(1_200_000);
      clock.set(clock.now() - hourMs);
      await clock.advance(hourMs + 600_000);
      const times = timesOf(await ticksOf(queue)).sort();
      // 09:30 to 10:00 were never fired before; 10:10 and 10:20 were.
      const all = ['09:30', '09:40', '09:50', '10:00', '10:10', '10:20', '10:30'];
      assert.deepEqual(times, all);
      assert.deepEqual(clockSet, [-hourMs]);
    });

    it('a year forward and back again: the schedule does not wait for that year', async (t) => {
      const [hourly, once] = [names(), names()];
      const clock = new VirtualClock('2026-05-01T10:00:30Z');
      const { schedules } = open(t, { clock, lookMs: 10_000 });
      await schedules.save(hourly.name, 'acme', { cron: '0 * * * *' }, jobOf(hourly.queue));
      const at = '2026-05-01T11:30:00.000Z';
      await schedules.save(once.name, 'acme', { at }, jobOf(once.queue));
      schedules.start();
      clock.set('2027-05-01T10:00:30Z');
      await clock.advance(10_000);
      clock.set('2026-05-01T10:00:32Z');
      await clock.advance(2 * hourMs);
      const [wrong, ...right] = await ticksOf(hourly.queue);
      assert.equal(wrong, '2027-05-01T10:00:00.000Z');
      assert.deepEqual(right, ['2026-05-01T11:00:00.000Z', '2026-05-01T12:00:00.000Z']);
      // It fired when the clock said so, and not again at its own time.
      assert.deepEqual(await ticksOf(once.queue), [at]);
    });

    it('back while no scheduler ran: found at the next start', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2027-05-01T10:00:30Z');
      const ahead = open(t, { clock, lookMs: 10_000 });
      await ahead.schedules.save(name, 'acme', { cron: '0 * * * *' }, jobOf(queue));
      ahead.schedules.start();
      await clock.advance(hourMs);
      await ahead.schedules.stop();
      const right = new VirtualClock('2026-05-01T10:00:30Z');
      const { schedules } = open(t, { clock: right, lookMs: 10_000 });
      schedules.start();
      await right.advance(hourMs);
      const ticks = ['2027-05-01T11:00:00.000Z', '2026-05-01T11:00:00.000Z'];
      assert.deepEqual(await ticksOf(queue), ticks);
    });
  });

  describe('saving', () => {
    const rule = { cron: '0 * * * *' };

    it('again changes nothing: no tick is lost, and what is paused stays paused', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2026-05-01T10:30:00Z');
      const { schedules } = open(t, { clock });
      const saved = await schedules.save(name, 'acme', rule, jobOf(queue));
      assert.equal(saved.nextAt, '2026-05-01T11:00:00.000Z');
      assert.equal(saved.description, 'every hour (UTC)');
      clock.set('2026-05-01T11:00:01Z');
      // Due, and not fired yet: a process that starts and saves must not move it on.
      assert.deepEqual(await schedules.save(name, 'acme', rule, jobOf(queue)), saved);
      const job = jobOf(queue, { payloadJson: '{"changed":true}' });
      const changed = await schedules.save(name, 'acme', rule, job);
      assert.equal(changed.nextAt, saved.nextAt);
      await schedules.pause(name, 'acme');
      const paused = await schedules.save(name, 'acme', rule, jobOf(queue));
      assert.equal(paused.paused, true);
    });

    it('another rule counts from now', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2026-05-01T10:30:00Z');
      const { schedules } = open(t, { clock });
      await schedules.save(name, 'acme', rule, jobOf(queue));
      clock.set('2026-05-01T12:30:00Z');
      const saved = await schedules.save(name, 'acme', { cron: '15 * * * *' }, jobOf(queue));
      assert.equal(saved.nextAt, '2026-05-01T13:15:00.000Z');
    });

    it('a moment that has passed fires at once, and not again when saved anew', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2026-05-01T10:30:00Z');
      const { schedules } = open(t, { clock });
      const at = '2026-05-01T08:00:00.000Z';
      await schedules.save(name, 'acme', { at }, jobOf(queue));
      schedules.start();
      await clock.advance(5_000);
      await schedules.remove(name, 'acme');
      await schedules.save(name, 'acme', { at }, jobOf(queue));
      await clock.advance(5_000);
      assert.deepEqual(await ticksOf(queue), [at]);
    });

    it('refuses what could never work', async (t) => {
      const { schedules } = open(t);
      const { name, queue } = names();
      const refused = (work: Promise<unknown>, message: RegExp) =>
        assert.rejects(work, (error: MillraceError) => {
          assert.equal(error.code, 'SCHEDULE_INVALID');
          assert.match(error.message, message);
          return true;
        });
      await refused(schedules.save('', 'acme', rule, jobOf(queue)), /name is the empty string/);
      await refused(schedules.save(name, 'a\n', rule, jobOf(queue)), /tenantId has a control/);
      await refused(
        schedules.save(name, 'acme', { cron: '0 0 31 2 *' }, jobOf(queue)),
        /no day 31/,
      );
      const dependent = jobOf(queue, { dependsOn: [{ lane: 1, offset: 1 }] });
      await refused(schedules.save(name, 'acme', rule, dependent), /dependsOn/);
      await assert.rejects(schedules.pause(name, 'acme'), { code: 'NOT_FOUND' });
      assert.equal(await schedules.find(name, 'acme'), null);
      assert.equal(await schedules.remove(name, 'acme'), false);
    });

    it('is seen by tenant, and previewed', async (t) => {
      const { name, queue } = names();
      const { schedules } = open(t);
      await schedules.save(name, 'acme', rule, jobOf(queue));
      await schedules.save(name, 'other', { everyMs: 5_000 }, jobOf(queue, { tenantId: 'other' }));
      const shown = (await schedules.list('other')).map(({ description }) => description);
      assert.deepEqual(shown, ['every 5 seconds']);
      assert.equal((await schedules.list(null)).length, 2);
      const after = new Date('2026-05-01T10:30:00Z');
      const ticks = ['2026-05-01T11:00:00.000Z', '2026-05-01T12:00:00.000Z'];
      assert.deepEqual(schedules.preview(rule, 2, after), ticks);
    });
  });

  describe('a pause', () => {
    it('leaves its ticks out; a moment that passed in it fires on resume', async (t) => {
      const [hourly, once] = [names(), names()];
      const clock = new VirtualClock('2026-05-01T10:30:00Z');
      const { schedules } = open(t, { clock, lookMs: 600_000 });
      const backfill = { cron: '0 * * * *', misfire: 'backfill' } as const;
      await schedules.save(hourly.name, 'acme', backfill, jobOf(hourly.queue));
      const at = '2026-05-01T12:00:00.000Z';
      await schedules.save(once.name, 'acme', { at }, jobOf(once.queue));
      schedules.start();
      for (const { name } of [hourly, once]) await schedules.pause(name, 'acme');
      await clock.advance(3 * hourMs);
      assert.deepEqual(await ticksOf(hourly.queue), []);
      for (const { name } of [hourly, once]) await schedules.resume(name, 'acme');
      await clock.advance(hourMs);
      assert.deepEqual(await ticksOf(hourly.queue), ['2026-05-01T14:00:00.000Z']);
      assert.deepEqual(await ticksOf(once.queue), [at]);
    });
  });
});

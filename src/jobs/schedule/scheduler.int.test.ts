/** The scheduler on a real store: two of them, stores that fail, schedules that cannot fire. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, gate } from '../../../test/support/eventually.ts';
import { seededRandom } from '../../../test/support/random.ts';
import {
  assertDense,
  jobOf,
  type OpenedSchedules,
  scheduleWorkshop,
  timesOf,
  unavailable,
} from '../../../test/support/schedules.ts';
import { VirtualClock } from '../../../test/support/virtual-clock.ts';
import type { MillraceError } from '../../core/errors.ts';
import type { ScheduleStore } from '../../ports/schedules.ts';

const hourMs = 3_600_000;

describe('the scheduler', () => {
  const workshop = scheduleWorkshop();
  const { open, names, ticksOf, faulty } = workshop;

  describe('two schedulers', () => {
    it('of one store fire each tick exactly once, in real time', async (t) => {
      const { name, queue } = names();
      const [a, b] = [open(t), open(t)];
      const rule = { everyMs: 50, misfire: 'backfill' } as const;
      await a.schedules.save(name, 'acme', rule, jobOf(queue));
      for (const { schedules } of [a, b]) schedules.start();
      await eventually('60 ticks', async () => (await ticksOf(queue)).length >= 60);
      for (const { schedules } of [a, b]) await schedules.stop();
      const ticks = await ticksOf(queue);
      assertDense(ticks, 50);
      assert.equal(a.schedules.fired + b.schedules.fired, ticks.length);
      assert.deepEqual([...a.errors, ...b.errors], []);
    });

    it('share a store that loses answers, refuses and delays', async (t) => {
      const random = seededRandom(t);
      const { name, queue } = names();
      const fire: ScheduleStore['fire'] = async (request) => {
        if (random.chance(0.2)) throw unavailable();
        if (random.chance(0.2)) await sleep(random.below(60));
        const won = await workshop.store.schedules.fire(request);
        if (random.chance(0.2)) throw unavailable();
        return won;
      };
      const due: ScheduleStore['due'] = async (now, limit) => {
        const found = await workshop.store.schedules.due(now, limit);
        if (random.chance(0.2)) await sleep(random.below(60));
        if (random.chance(0.1)) throw unavailable();
        return found;
      };
      const options = { schedules: faulty({ fire, due }) };
      const both = [open(t, options), open(t, options)];
      const rule = { everyMs: 20, misfire: 'backfill', misfireMax: 1_000 } as const;
      await both[0]?.schedules.save(name, 'acme', rule, jobOf(queue));
      for (const { schedules } of both) schedules.start();
      await eventually('100 ticks', async () => (await ticksOf(queue)).length >= 100, 20_000);
      for (const { schedules } of both) await schedules.stop();
      assertDense(await ticksOf(queue), 20);
      assert.ok(
        both.some(({ errors }) => errors.length > 0),
        'faults did happen',
      );
    });

    it('one that was frozen with an old record in its hands fires nothing', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2026-05-01T10:30:00Z');
      const thaw = gate();
      let held = 0;
      const fire: ScheduleStore['fire'] = async (request) => {
        held += 1;
        await thaw.opened;
        return workshop.store.schedules.fire(request);
      };
      const frozen = open(t, { clock, schedules: faulty({ fire }), answerMs: 60_000 });
      await frozen.schedules.save(name, 'acme', { cron: '0 * * * *' }, jobOf(queue));
      clock.set('2026-05-01T11:00:00Z');
      frozen.schedules.start();
      await eventually('the frozen one is about to fire', () => held === 1);
      const other = new VirtualClock('2026-05-01T11:00:00Z');
      const awake = open(t, { clock: other, lookMs: 60_000 });
      awake.schedules.start();
      await other.advance(2 * hourMs);
      thaw.open();
      await clock.settled();
      const times = timesOf(await ticksOf(queue));
      assert.deepEqual(times, ['11:00', '12:00', '13:00']);
      assert.deepEqual(frozen.fired, []);
    });
  });

  describe('a store', () => {
    it('that never answers a firing does not stop the scheduler', async (t) => {
      const { name, queue } = names();
      let calls = 0;
      const never = new Promise<never>(() => {});
      const fire: ScheduleStore['fire'] = async (request) => {
        calls += 1;
        if (calls === 1) return never;
        return workshop.store.schedules.fire(request);
      };
      const { schedules, errors } = open(t, { schedules: faulty({ fire }), answerMs: 200 });
      await schedules.save(name, 'acme', { everyMs: 50, misfire: 'backfill' }, jobOf(queue));
      schedules.start();
      await eventually('it goes on', async () => (await ticksOf(queue)).length >= 10);
      await schedules.stop();
      assertDense(await ticksOf(queue), 50);
      const [{ error, schedule }] = errors as [OpenedSchedules['errors'][number]];
      assert.match(String(error), /has not answered for 200 ms/);
      assert.deepEqual(schedule, { tenantId: 'acme', name });
    });

    it('that is silent altogether does not keep the scheduler from stopping', async (t) => {
      const never = new Promise<never>(() => {});
      const { schedules } = open(t, { schedules: faulty({ due: () => never }) });
      schedules.start();
      await sleep(20);
      const before = performance.now();
      await schedules.stop();
      assert.ok(performance.now() - before < 3_000);
    });

    it('that was away: the schedule goes on by itself when it is back', async (t) => {
      const { name, queue } = names();
      let away = false;
      const due: ScheduleStore['due'] = async (now, limit) => {
        if (away) throw unavailable();
        return workshop.store.schedules.due(now, limit);
      };
      const { schedules, errors } = open(t, { schedules: faulty({ due }) });
      await schedules.save(name, 'acme', { everyMs: 50, misfire: 'backfill' }, jobOf(queue));
      schedules.start();
      await eventually('it fires', async () => (await ticksOf(queue)).length >= 3);
      away = true;
      await eventually('it fails', () => errors.length >= 3);
      const before = (await ticksOf(queue)).length;
      away = false;
      await eventually('it fires again', async () => (await ticksOf(queue)).length > before + 5);
      await schedules.stop();
      assertDense(await ticksOf(queue), 50);
    });
  });

  describe('a schedule that cannot fire', () => {
    it('does not hold up the others, however many there are', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2026-05-01T10:30:00Z');
      const { schedules, errors } = open(t, { clock });
      const nextAt = '2026-05-01T10:00:00.000Z';
      // Rules of a newer release; older than the good one, so they are read first.
      for (let i = 0; i < 130; i += 1) {
        const ruleJson = `{"sunrise":"${i}"}`;
        const broken = { name: `${name}-${i}`, tenantId: 'acme', ruleJson, job: jobOf(queue) };
        await workshop.store.schedules.save({ ...broken, paused: false, nextAt, lastAt: null });
      }
      await schedules.save(name, 'acme', { everyMs: 60_000 }, jobOf(queue));
      schedules.start();
      await clock.advance(150_000);
      const times = timesOf(await ticksOf(queue));
      assert.deepEqual(times, ['10:31', '10:32']);
      assert.equal(new Set(errors.map(({ schedule }) => schedule?.name)).size, 130);
      // Ever more seldom, up to twice a minute: not at every look.
      assert.ok(errors.length < 130 * 20, `${errors.length} errors`);
      assert.match(String(errors[0]?.error), /sunrise is not known/);
      const shown = await schedules.find(`${name}-7`, 'acme');
      assert.equal(shown?.description, '{"sunrise":"7"}');
    });

    it('because its queue is full fires when there is room', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2026-05-01T10:30:00Z');
      await workshop.store.configure([{ queue, lengthMax: 1 }]);
      const { schedules, errors } = open(t, { clock });
      await schedules.save(name, 'acme', { everyMs: 60_000 }, jobOf(queue));
      schedules.start();
      await clock.advance(125_000);
      assert.equal((await ticksOf(queue)).length, 1);
      assert.ok(errors.length > 0);
      assert.ok(errors.every(({ error }) => (error as MillraceError).code === 'BACKPRESSURE'));
      await workshop.store.configure([{ queue, lengthMax: null }]);
      await clock.advance(5_000);
      const times = timesOf(await ticksOf(queue));
      assert.deepEqual(times, ['10:31', '10:32']);
    });

    it('because its last job is unfinished is no failure: that tick has no job', async (t) => {
      const { name, queue } = names();
      const clock = new VirtualClock('2026-05-01T10:30:00Z');
      const { schedules, errors } = open(t, { clock, lookMs: 60_000 });
      const unique = { key: 'one at a time', mode: 'reject', windowMs: 0 } as const;
      await schedules.save(name, 'acme', { everyMs: 600_000 }, jobOf(queue, { unique }));
      schedules.start();
      await clock.advance(1_800_000);
      assert.equal((await ticksOf(queue)).length, 1);
      assert.deepEqual(errors, []);
      assert.equal((await schedules.find(name, 'acme'))?.lastAt, '2026-05-01T11:00:00.000Z');
    });
  });

  describe('a scheduler', () => {
    it('finds within a second what another process saved', async (t) => {
      const { name, queue } = names();
      const [a, b] = [open(t), open(t)];
      a.schedules.start();
      await sleep(100);
      const before = performance.now();
      await b.schedules.save(name, 'acme', { everyMs: 100 }, jobOf(queue));
      await eventually('it fires', async () => (await ticksOf(queue)).length > 0, 3_000);
      assert.ok(performance.now() - before < 2_500);
    });

    it('stops and starts again, twice each', async (t) => {
      const { name, queue } = names();
      const { schedules } = open(t);
      await schedules.save(name, 'acme', { everyMs: 20, misfire: 'backfill' }, jobOf(queue));
      for (let round = 0; round < 2; round += 1) {
        schedules.start();
        schedules.start();
        const before = (await ticksOf(queue)).length;
        await eventually('it fires', async () => (await ticksOf(queue)).length > before + 3);
        await schedules.stop();
        await schedules.stop();
        const stopped = (await ticksOf(queue)).length;
        await sleep(60);
        assert.equal((await ticksOf(queue)).length, stopped);
      }
      assertDense(await ticksOf(queue), 20);
    });
  });
});

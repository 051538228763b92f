/** Cases for schedules: saved by name, due in order, and each tick fired once whatever happens. */
import assert from 'node:assert/strict';
import { seededRandom } from '../../test/support/random.ts';
import type { NewJob } from '../core/job.ts';
import {
  code,
  configure,
  countsOf,
  drain,
  enqueuePlain,
  type JobCaseContext,
  type JobCases,
  newJobs,
  numbersOf,
  startWorker,
  twoStores,
  upTo,
} from './jobs.fixtures.conformance.ts';
import type { FireRequest, ScheduleRecord, ScheduleStore } from './schedules.ts';

/** Long ago, so that no other schedule of the suite is due as early. */
const tickAt = (n: number) => new Date(Date.UTC(1990, 0, 1, 0, n)).toISOString();

type Saved = Omit<ScheduleRecord, 'revision'>;

/** Saves a schedule of the case, removed at its end: what is due is due for the whole store. */
async function saved(
  { store, queue, tenant, t }: JobCaseContext,
  rest: Partial<Saved> = {},
): Promise<ScheduleRecord> {
  const [job] = newJobs({ queue, tenant: rest.tenantId ?? tenant }, 1) as [NewJob];
  const schedule: Saved = {
    name: 'nightly',
    tenantId: tenant,
    ruleJson: '{"cron":"0 2 * * *","timezone":"Europe/Berlin"}',
    job,
    paused: false,
    nextAt: tickAt(0),
    lastAt: null,
    ...rest,
  };
  t.after(() => store.schedules.remove(schedule.tenantId, schedule.name));
  return store.schedules.save(schedule);
}

/** The request that fires ticks of a schedule; `n` of each job is the number of its tick. */
function firing(
  { queue }: JobCaseContext,
  { tenantId, name, revision }: ScheduleRecord,
  ticks: readonly number[],
  rest: Partial<FireRequest> = {},
): FireRequest {
  const last = ticks.at(-1) as number;
  return {
    ...{ tenantId, name, revision },
    ticks: ticks.map((n) => {
      const [job] = newJobs({ queue, tenant: tenantId }, 1, { from: n }) as [NewJob];
      return { at: tickAt(n), job };
    }),
    nextAt: tickAt(last + 1),
    lastAt: tickAt(last),
    ...rest,
  };
}

const ofTenant = async (found: Promise<readonly ScheduleRecord[]>, tenant: string) =>
  (await found).filter(({ tenantId }) => tenantId === tenant);

async function newest(schedules: ScheduleStore, { tenantId, name }: ScheduleRecord) {
  const found = await schedules.find(tenantId, name);
  assert.ok(found, `${name} is there`);
  return found;
}

export const scheduleCases: JobCases = {
  'a schedule is kept as it was saved, and replaced by its name': async (context) => {
    const { store, tenant, another } = context;
    const { schedules } = store;
    const nasty = `it's "nightly" ü 🗝 {a}:%`;
    const first = await saved(context, { name: nasty });
    assert.deepEqual(await schedules.find(tenant, nasty), first);
    assert.equal(first.nextAt, tickAt(0));
    assert.equal(first.lastAt, null);
    const { revision, ...rest } = first;
    const changed = { ...rest, ruleJson: '{"everyMs":50}', nextAt: null, lastAt: tickAt(3) };
    const second = await schedules.save(changed);
    assert.deepEqual(second, { ...changed, revision: second.revision });
    assert.ok(second.revision > revision, `${second.revision} after ${revision}`);
    assert.deepEqual(await (await another()).schedules.find(tenant, nasty), second);
    assert.deepEqual(await ofTenant(schedules.list(tenant), tenant), [second]);
  },

  'a job of a schedule keeps all its fields': async (context) => {
    const { store, tenant } = context;
    const [job] = newJobs(context, 1, {
      ...{ key: 'k', priority: -3, name: 'conformance.scheduled', version: 7, delayMs: 20 },
      ...{ payloadJson: '{"a":"é"}', optionsJson: '{"attempts":9}' },
      unique: { key: 'u', mode: 'keep', windowMs: 5 },
    }) as [NewJob];
    await saved(context, { job });
    assert.deepEqual((await store.schedules.find(tenant, 'nightly'))?.job, job);
  },

  'schedules are of their tenant': async (context) => {
    const { store, tenant } = context;
    const { schedules } = store;
    const mine = await saved(context);
    const foreign = await saved(context, { tenantId: `${tenant}-b`, nextAt: tickAt(9) });
    assert.equal((await schedules.find(tenant, 'nightly'))?.nextAt, tickAt(0));
    assert.equal(await schedules.find(`${tenant}-c`, 'nightly'), null);
    assert.deepEqual(await schedules.list(tenant), [mine]);
    assert.deepEqual(await schedules.list(`${tenant}-b`), [foreign]);
    const names = (await schedules.list(null)).map(({ tenantId }) => tenantId);
    assert.ok(names.includes(tenant) && names.includes(`${tenant}-b`));
    assert.equal(await schedules.remove(tenant, 'nightly'), true);
    assert.equal(await schedules.remove(tenant, 'nightly'), false);
    assert.equal(await schedules.find(tenant, 'nightly'), null);
    assert.ok(await schedules.find(`${tenant}-b`, 'nightly'), 'the other stays');
  },

  'what is due comes oldest first, and what is paused or later does not': async (context) => {
    const { store, tenant } = context;
    const { schedules } = store;
    for (const n of [3, 1, 4, 2]) await saved(context, { name: `n${n}`, nextAt: tickAt(n) });
    await saved(context, { name: 'paused', nextAt: tickAt(1), paused: true });
    await saved(context, { name: 'over', nextAt: null });
    const due = async (n: number, limit = 100) =>
      (await ofTenant(schedules.due(tickAt(n), limit), tenant)).map(({ name }) => name);
    assert.deepEqual(await due(0), []);
    assert.deepEqual(await due(1), ['n1'], 'at its very time');
    assert.deepEqual(await due(3), ['n1', 'n2', 'n3']);
    assert.deepEqual(await due(100, 2), ['n1', 'n2'], 'no more than asked');
    assert.equal(await schedules.nextAt(), tickAt(1));
    await schedules.remove(tenant, 'n1');
    assert.equal(await schedules.nextAt(), tickAt(2));
  },

  'a paused schedule stands still until it is resumed': async (context) => {
    const { store } = context;
    const { schedules } = store;
    const running = await saved(context, { nextAt: tickAt(1) });
    const { revision: first, ...schedule } = running;
    const paused = await schedules.save({ ...schedule, paused: true });
    assert.ok(paused.revision > first);
    assert.notEqual(await schedules.nextAt(), tickAt(1));
    assert.equal(
      await schedules.fire(firing(context, running, [1])),
      false,
      'seen before the pause',
    );
    const resumed = await schedules.save({ ...schedule, paused: false });
    assert.equal(await schedules.nextAt(), tickAt(1));
    assert.equal(await schedules.fire(firing(context, resumed, [1])), true);
    assert.equal((await drain(await startWorker(store, context.queue))).length, 1);
  },

  'firing enqueues the jobs of the ticks and moves the schedule on': async (context) => {
    const { store, queue } = context;
    const { schedules } = store;
    const schedule = await saved(context);
    assert.equal(await schedules.fire(firing(context, schedule, [0, 1, 2])), true);
    const { nextAt, lastAt, revision, ...rest } = await newest(schedules, schedule);
    assert.deepEqual([nextAt, lastAt], [tickAt(3), tickAt(2)]);
    assert.ok(revision > schedule.revision);
    const { nextAt: _n, lastAt: _l, revision: _r, ...before } = schedule;
    assert.deepEqual(rest, before);
    assert.deepEqual(await countsOf(store, queue), { waiting: 3 });
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [0, 1, 2]);
  },

  'a firing without ticks only moves the schedule on': async (context) => {
    const { store, queue } = context;
    const schedule = await saved(context);
    await configure(context, {});
    const skipped = { ...firing(context, schedule, [0]), ticks: [] };
    assert.equal(await store.schedules.fire(skipped), true);
    assert.equal((await newest(store.schedules, schedule)).nextAt, tickAt(1));
    assert.deepEqual(await countsOf(store, queue), {});
  },

  'a schedule that fired for the last time is never due again': async (context) => {
    const { store, tenant } = context;
    const schedule = await saved(context);
    await store.schedules.fire(firing(context, schedule, [0], { nextAt: null }));
    assert.deepEqual(await ofTenant(store.schedules.due(tickAt(1000), 100), tenant), []);
    assert.equal((await newest(store.schedules, schedule)).nextAt, null);
  },

  'fired again after a lost answer, nothing is enqueued twice': async (context) => {
    const { store, queue, another } = context;
    const schedule = await saved(context);
    const request = firing(context, schedule, [0, 1]);
    assert.equal(await store.schedules.fire(request), true);
    assert.equal(await store.schedules.fire(request), false);
    assert.equal(await (await another()).schedules.fire(request), false);
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [0, 1]);
    assert.equal((await newest(store.schedules, schedule)).nextAt, tickAt(2));
  },

  'a tick is enqueued once ever, though the schedule is set back or made anew': async (context) => {
    const { store, queue, tenant } = context;
    const { schedules } = store;
    const first = await saved(context);
    await schedules.fire(firing(context, first, [0, 1]));
    const { revision: _, ...back } = first;
    const second = await schedules.save(back);
    assert.equal(await schedules.fire(firing(context, second, [0, 1, 2])), true);
    await schedules.remove(tenant, first.name);
    const third = await schedules.save(back);
    assert.equal(await schedules.fire(firing(context, third, [1, 2, 3])), true);
    assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [0, 1, 2, 3]);
    const foreign = await saved(context, { tenantId: `${tenant}-b` });
    assert.equal(await schedules.fire(firing(context, foreign, [0])), true);
    const other = await saved(context, { name: 'another' });
    assert.equal(await schedules.fire(firing(context, other, [0])), true);
    const more = numbersOf(await drain(await startWorker(store, queue)));
    assert.deepEqual(more, [0, 0], 'other schedules have ticks of their own');
  },

  'a schedule that was changed, removed or never there does not fire': async (context) => {
    const { store, queue, tenant } = context;
    const { schedules } = store;
    const old = await saved(context);
    const changed = await saved(context, { ruleJson: '{}' });
    await configure(context, {});
    assert.equal(await schedules.fire(firing(context, old, [0])), false);
    assert.deepEqual(await newest(schedules, old), changed, 'and is as it was');
    await schedules.remove(tenant, old.name);
    assert.equal(await schedules.fire(firing(context, changed, [0])), false);
    const unknown = { ...changed, name: 'unknown' };
    assert.equal(await schedules.fire(firing(context, unknown, [0])), false);
    assert.deepEqual(await countsOf(store, queue), {});
  },

  'a full queue refuses a firing, which stays due and holds up no other': async (context) => {
    const { store, queue, tenant } = context;
    const { schedules } = store;
    const other = { ...context, queue: `${queue}-other` };
    await configure(context, { lengthMax: 1 });
    await enqueuePlain(store, newJobs(context, 1));
    const full = await saved(context);
    const free = await saved(other, { name: 'free' });
    for (let n = 0; n < 2; n += 1) {
      await assert.rejects(schedules.fire(firing(context, full, [0])), code('BACKPRESSURE'));
      assert.deepEqual(await newest(schedules, full), full);
    }
    const due = await ofTenant(schedules.due(tickAt(0), 1_000), tenant);
    assert.deepEqual(due.map(({ name }) => name).sort(), ['free', 'nightly']);
    assert.equal(await schedules.fire(firing(other, free, [0])), true);
    assert.equal((await countsOf(store, other.queue)).waiting, 1);
    await configure(context, { lengthMax: null });
    assert.equal(await schedules.fire(firing(context, full, [0])), true);
    assert.equal((await countsOf(store, queue)).waiting, 2);
  },

  'made anew, a schedule is not fired by who saw the one before': async (context) => {
    const { store, tenant, queue } = context;
    const { schedules } = store;
    const before = await saved(context);
    await schedules.remove(tenant, before.name);
    const { revision: _, ...same } = before;
    await schedules.save({ ...same, ruleJson: '{"everyMs":1}', nextAt: tickAt(5) });
    await configure(context, {});
    assert.equal(await schedules.fire(firing(context, before, [0])), false);
    assert.deepEqual(await countsOf(store, queue), {});
  },

  'of schedulers that fire at once one does, tick after tick': async (context) => {
    const { queue, t } = context;
    const random = seededRandom(t);
    const stores = await twoStores(context);
    let schedule = await saved(context);
    let tick = 0;
    for (let round = 0; round < 15; round += 1) {
      const ticks = upTo(1 + random.below(3), tick);
      tick += ticks.length;
      const tries = upTo(4).map((i) =>
        (stores[i % 2] as (typeof stores)[0]).schedules.fire(firing(context, schedule, ticks)),
      );
      const won = (await Promise.all(tries)).filter(Boolean);
      assert.equal(won.length, 1, `round ${round}`);
      schedule = await newest(stores[round % 2]?.schedules as ScheduleStore, schedule);
    }
    const fired = numbersOf(await drain(await startWorker(stores[0], queue)));
    assert.deepEqual(fired, upTo(tick), 'each tick once, in order');
  },

  'a change that meets a firing either stops it or comes after it': async (context) => {
    const { store, queue } = context;
    const [one, two] = await twoStores(context);
    let enqueued = 0;
    for (let n = 0; n < 10; n += 1) {
      const schedule = await saved(context, { nextAt: tickAt(n) });
      const { revision: _, ...rest } = schedule;
      const [fired, after] = await Promise.all([
        one.schedules.fire(firing(context, schedule, [n])),
        two.schedules.save({ ...rest, paused: true }),
      ]);
      if (fired) enqueued += 1;
      assert.deepEqual(await newest(one.schedules, schedule), after, 'the change stands');
    }
    assert.equal((await drain(await startWorker(store, queue))).length, enqueued);
  },
};

/** Schedules on Postgres, beyond the suite of the port: fire ids, their age, and who sees them. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { eachPostgres, type TestDatabase } from '../../../../test/support/database.ts';
import { ask } from '../../../../test/support/mill.ts';
import { jobOf } from '../../../../test/support/schedules.ts';
import type { ScheduleRecord, ScheduleStore } from '../../../ports/schedules.ts';
import type { Store } from '../../../ports/store.ts';
import { openPostgresStore } from '../store.ts';

eachPostgres('schedules', (server) => {
  let database: TestDatabase;
  let store: Store;
  let schedules: ScheduleStore;
  before(async () => {
    database = await server.fresh();
    store = await openPostgresStore({ url: database.url });
    schedules = store.jobs.schedules;
  });
  after(async () => {
    await store.close();
    await database.drop();
  });

  const save = (name: string, tenantId = 'acme') =>
    schedules.save({
      name,
      tenantId,
      ruleJson: '{"everyMs":60000}',
      job: jobOf(name, { tenantId }),
      paused: false,
      nextAt: '2026-05-01T10:00:00.000Z',
      lastAt: null,
    });
  const fire = ({ name, tenantId, revision, job }: ScheduleRecord, ticks: readonly string[]) =>
    schedules.fire({
      name,
      tenantId,
      revision,
      ticks: ticks.map((at) => ({ at, job })),
      nextAt: '2026-05-01T10:01:00.000Z',
      lastAt: ticks.at(-1) ?? null,
    });
  const count = async (text: string) => {
    const [row] = await ask<{ n: string }>(database.url, `select count(*) as n from ${text}`);
    return Number(row?.n);
  };
  const at = '2026-05-01T10:00:00.000Z';

  it('fire once when many try with the same revision', async () => {
    const record = await save('many');
    const won = await Promise.all(Array.from({ length: 10 }, () => fire(record, [at])));
    assert.deepEqual(won.filter(Boolean), [true]);
    assert.equal(await count(`millrace.job_state where name = 'tick'`), 1);
  });

  it('take a revision of their first life for an old one', async () => {
    const first = await save('twice');
    await schedules.remove('acme', 'twice');
    const second = await save('twice');
    assert.ok(second.revision > first.revision);
    assert.equal(await fire(first, [at]), false);
    assert.equal(await fire(second, [at]), true);
  });

  it('move on in the same transaction that enqueues, or not at all', async () => {
    const record = await save('refused');
    await store.jobs.configure([{ queue: 'refused', lengthMax: 1 }]);
    const ticks = [at, '2026-05-01T10:00:30.000Z'];
    await assert.rejects(fire(record, ticks), { code: 'BACKPRESSURE' });
    assert.deepEqual(await schedules.find('acme', 'refused'), record);
    assert.equal(await count(`millrace.job_fire where name = 'refused'`), 0);
  });

  it('keep fire ids for thirty days, and enqueue a known tick no more', async () => {
    const record = await save('aged');
    await ask(
      database.url,
      `insert into millrace.job_fire (tenant_id, name, tick_at, fired_at)
       select 'acme', 'aged', '2020-01-01'::timestamptz + i * interval '1 minute',
         clock_timestamp() - interval '30 days' - i * interval '1 minute'
       from generate_series(1, 15) i`,
    );
    assert.equal(await fire(record, [at]), true);
    // Twelve at a time: ten, and two for each tick of this firing.
    assert.equal(await count(`millrace.job_fire where name = 'aged'`), 4);
    const again = await schedules.find('acme', 'aged');
    assert.equal(await fire(again as ScheduleRecord, [at]), true);
    assert.equal(await count(`millrace.job_fire where name = 'aged'`), 1);
    assert.equal(
      await count(`millrace.job_state s join millrace.job_queue q using (queue_id)
        where q.queue_name = 'aged'`),
      1,
    );
  });

  it('show a tenant its own only, and let nobody but the engine fire', async () => {
    await save('hidden', 'other');
    await fire(await save('shown', 'seen'), [at]);
    await store.withTenant('seen', async (tx) => {
      for (const table of ['job_schedule', 'job_fire']) {
        const rows = await tx.query(`select tenant_id, name from millrace.${table}`);
        assert.deepEqual(rows, [{ tenant_id: 'seen', name: 'shown' }], table);
      }
    });
    for (const attempt of [
      `select millrace.fire_schedule('seen', 'shown', 1, '{}', '[]', null, null)`,
      'delete from millrace.job_fire',
      `update millrace.job_schedule set paused = true`,
    ]) {
      const refused = store.withTenant('seen', (tx) => tx.query(attempt));
      await assert.rejects(refused, { code: '42501' }, attempt);
    }
  });
});

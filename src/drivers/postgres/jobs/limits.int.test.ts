/** Permits of a queue whose limits are set, and whose jobs are settled, at the same moment. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import pg from 'pg';
import { eachPostgres, type TestDatabase } from '../../../../test/support/database.ts';
import { eventually } from '../../../../test/support/eventually.ts';
import {
  doneWith,
  enqueuePlain,
  enqueueRows,
  newExchange,
  newJobs,
  settlementOf,
  startWorker,
} from '../../../ports/jobs.fixtures.conformance.ts';
import type { JobStore } from '../../../ports/jobs.ts';
import { openPostgresJobStore } from './store.ts';

eachPostgres('permits', (server) => {
  let database: TestDatabase;
  let store: JobStore;
  let client: pg.Client;

  before(async () => {
    database = await server.fresh();
    store = await openPostgresJobStore({ url: database.url });
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
  });
  after(async () => {
    await client.end();
    await store.close();
    await database.drop();
  });

  /** How many calls wait for an advisory lock of that kind. */
  const waiting = async (space: number) => {
    const { rows } = await client.query<{ n: number }>(
      `select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted
      and classid = $1 and database = (select oid from pg_database
        where datname = current_database())`,
      [space],
    );
    return rows[0]?.n ?? 0;
  };

  it('a limit set while jobs are being settled counts none that is gone', async () => {
    const of = { queue: 'settled', tenant: 'acme' };
    await enqueuePlain(store, newJobs(of, 8));
    const worker = await startWorker(store, of.queue);
    const held = await worker.claim(4);
    const { rows } = await client.query<{ queue_id: number }>(
      'select queue_id from millrace.job_queue where queue_name = $1',
      [of.queue],
    );
    // Whoever sets the limit is held up behind the lock, and the settlement comes in between.
    await client.query('begin');
    await client.query('select pg_advisory_xact_lock(7312, $1)', [rows[0]?.queue_id]);
    const limited = store.configure([{ queue: of.queue, limits: { concurrency: 2 } }]);
    await eventually('the limit waits', async () => (await waiting(7312)) === 1);
    const settled = store.exchange(
      newExchange(of.queue, {
        epoch: worker.epoch,
        settle: settlementOf({ done: held.map((job) => doneWith(job)) }),
        claim: await worker.request(4),
      }),
    );
    await eventually(
      'the settlement waits as well',
      async () => (await waiting(7312)) + (await waiting(7313)) === 2,
    );
    await client.query('commit');
    await limited;
    const { claimed } = await settled;
    const next = claimed.length > 0 ? claimed : await worker.claim(4);
    assert.equal(next.length, 2, 'none of the four runs any more');
    await worker.done(next);
    assert.equal((await worker.claim(4)).length, 2);
  });

  it('handlers of a limited queue commit at the same time, and none is undone', async () => {
    for (const [queue, limits] of Object.entries({
      limited: { limits: { concurrency: 8 } },
      'limited by key': { keyLimits: { concurrency: 8 } },
    })) {
      await store.configure([{ queue, ...limits }]);
      const worker = await startWorker(store, queue);
      for (let round = 0; round < 5; round += 1) {
        const jobs = newJobs({ queue, tenant: 'acme' }, 4, { from: 8 * round });
        await enqueuePlain(store, jobs);
        await enqueueRows(store, jobs);
        const held = await worker.claim(8);
        assert.equal(held.length, 8);
        const open = await Promise.all(held.map(() => store.begin(worker.epoch, 'acme')));
        await Promise.all(
          held.map((job, i) => open[i]?.commit(settlementOf({ done: [doneWith(job)] }))),
        );
      }
    }
  });
});

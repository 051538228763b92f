/** Retention on Postgres: what excludes what while a range goes, and who may remove anything. */
import assert from 'node:assert/strict';
import { after, before, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { eachPostgres, type TestDatabase } from '../../../test/support/database.ts';
import { ask } from '../../../test/support/mill.ts';
import { appended, routed, Thing } from '../../ports/fixtures.conformance.ts';
import type { Store } from '../../ports/store.ts';
import { openPostgresStore } from './store.ts';

const partition = 0;

eachPostgres('retention', (server) => {
  let database: TestDatabase;
  let store: Store;
  before(async () => {
    database = await server.fresh();
    store = await openPostgresStore({ url: database.url, partitions: 2 });
  });
  after(async () => {
    await store.close();
    await database.drop();
  });

  const append = (count: number) =>
    appended(
      store,
      Array.from({ length: count }, (_, n) =>
        routed(store, { tenantId: 't', key: 'k', payload: n, partition }),
      ),
    );
  const register = (group: string) =>
    store.streams.registerGroup({ group, eventTypes: [Thing.type], from: 'start' });
  const remove = (group: string) =>
    store.streams.removeGroup({ group, aliveWithinMs: 0, discardFailures: true });
  const trim = async () => {
    await store.retention.mark(0);
    return store.retention.trim({ olderThanMs: 0, limit: 1_000 });
  };
  /** A transaction of the worker that does this and waits. */
  const begin = async (statement: string) => {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    await client.query('begin; set local role millrace_worker');
    await client.query(statement);
    return async () => {
      await client.query('commit');
      await client.end();
    };
  };
  /** Whether it is still waiting after a while. */
  const waits = async (work: Promise<unknown>) =>
    (await Promise.race([work.then(() => 'done'), sleep(300, 'waits')])) === 'waits';

  it('lets a group register after a range has gone, and begin behind it', async () => {
    await append(10);
    await store.retention.mark(0);
    const commit = await begin(`select * from millrace.trim_log(${partition}, '0 s', 1000)`);
    const registering = register('late');
    try {
      assert.ok(await waits(registering));
    } finally {
      await commit();
    }
    await registering;
    const { position } = await store.streams.openCursor({ group: 'late', partition });
    assert.equal(position, 9);
    await append(5);
    assert.equal((await trim()).removed, 0);
    await remove('late');
  });

  it('waits for a group that is being registered, and then leaves it everything', async () => {
    await append(10);
    await store.retention.mark(0);
    const commit = await begin(`insert into millrace.consumer_group (group_name, event_types)
      values ('early', '{}')`);
    const trimming = store.retention.trim({ olderThanMs: 0, limit: 1_000 });
    try {
      assert.ok(await waits(trimming));
    } finally {
      await commit();
    }
    const { removed, holds } = await trimming;
    assert.equal(removed, 0);
    assert.deepEqual(holds, [{ partition, reason: 'position', group: 'early', offset: 0 }]);
    await remove('early');
  });

  it('passes over a partition on which another process is at work', async () => {
    await append(10);
    await store.retention.mark(0);
    const commit = await begin(`select * from millrace.trim_log(${partition}, '0 s', 3)`);
    const { removed, more } = await store.retention.trim({ olderThanMs: 0, limit: 1_000 });
    await commit();
    assert.deepEqual([removed, more], [0, false]);
    assert.ok((await trim()).removed > 0);
  });

  it('waits for nobody who appends, and nobody who appends waits for it', async () => {
    await append(10);
    await store.retention.mark(0);
    const commit = await begin(`select * from millrace.trim_log(${partition}, '0 s', 1000)`);
    const [event] = await append(1);
    assert.ok((event?.offset as number) > 1);
    await commit();
    const appending = await begin(`select pg_advisory_xact_lock(7305, ${partition})`);
    await trim();
    await appending();
    const rows = await ask<{ dense: boolean }>(
      database.url,
      `select count(*) = max("offset") - min("offset") + 1 as dense from millrace.event
        where "partition" = ${partition}`,
    );
    assert.deepEqual(rows, [{ dense: true }]);
  });

  it('removes nothing when another process has used up the marks', async () => {
    await append(10);
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    const { rows } = await client.query(
      `select removed from millrace.trim_log(${partition}, '1 hour', 1000)`,
    );
    await client.end();
    assert.deepEqual(rows, [{ removed: 0 }]);
    assert.ok((await trim()).removed >= 9);
  });

  it('goes as far as the marks that are old enough, and no further', async () => {
    await trim();
    const [first] = await append(4);
    await store.retention.mark(0);
    await append(4);
    await store.retention.mark(0);
    const { offset } = first as { offset: number };
    await ask(
      database.url,
      `update millrace.log_mark set seen_at = seen_at - interval '1 hour' where "offset" = $1`,
      [offset + 3],
    );
    // The newest of before stayed, so it is one more.
    const { removed } = await store.retention.trim({ olderThanMs: 1_800_000, limit: 1_000 });
    assert.equal(removed, 5);
    assert.equal((await store.retention.starts())[partition], offset + 4);
  });

  it('keeps no marks of what has gone', async () => {
    for (let n = 0; n < 3; n += 1) {
      await append(2);
      await store.retention.mark(0);
    }
    await trim();
    const marks = await ask(
      database.url,
      `select m.* from millrace.log_mark m join millrace.log_start s using ("partition")
        where m."offset" < s.first_offset`,
    );
    assert.deepEqual(marks, []);
  });

  it('may be asked for by workers only, and nobody removes by hand', async () => {
    const refused = (role: string, text: string) =>
      assert.rejects(ask(database.url, `begin; set local role ${role}; ${text}`), {
        code: '42501',
      });
    await refused('millrace_app', `select * from millrace.trim_log(0, '0 s', 1)`);
    await refused('millrace_app', `select millrace.remove_group('g')`);
    await refused('millrace_worker', 'delete from millrace.event');
    await refused('millrace_worker', 'delete from millrace.log_start');
    await refused('millrace_worker', 'update millrace.log_mark set seen_at = now()');
  });
});

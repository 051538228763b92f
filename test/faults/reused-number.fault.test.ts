/**
 * Postgres is killed between the last statement of a handler's transaction and its commit. After
 * the restart it gives the number of that transaction to another one, which commits. What the
 * handler did is gone: it must be done again, and not be taken for done.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { connect, connectJobs, defineTask, type Enqueued } from 'millrace';
import pg from 'pg';
import { openPostgresStore } from '../../src/drivers/postgres/store.ts';
import { eventually } from './eventually.ts';
import { JobEffects } from './job-ledger.ts';
import { defineOrders, placeJobs } from './job-orders.ts';
import { createEffects, OrderPlaced } from './pipeline.ts';
import { CuttingProxy, commitMessage } from './proxy.ts';
import { FaultServer } from './server.ts';

/** The message of a simple query. */
const commit = [commitMessage];

/**
 * The server is killed before the next commit reaches it, at once: what it has not yet written down
 * of the numbers it gave, it gives anew to the next hundred transactions.
 */
async function loseCommit(server: FaultServer, proxy: CuttingProxy, act: () => Promise<unknown>) {
  const killed = proxy.cutNext(commit, 'withheld').then(() => server.kill());
  await act();
  await killed;
  await server.start();
  for (let i = 0; i < 100; i += 1) {
    await server.rows('select pg_current_xact_id()').catch(() => {}); // a pool of before the crash
  }
}

test('jobs: a crash before the commit, its number given anew', { timeout: 60_000 }, async () => {
  await using server = await FaultServer.started();
  await using proxy = await CuttingProxy.listening(server.port);
  await using producer = await connectJobs(server.url());
  await using effects = await JobEffects.create(server);
  await using worker = await connectJobs(server.url(proxy.port), { timeToLiveMs: 60_000 });
  const { directory } = effects;
  worker.work(Object.values(defineOrders({ worker: 'w1', directory, handlerMs: 2 })));
  await worker.start();
  const place = placeJobs(producer);
  let placed: Enqueued | undefined;
  await loseCommit(server, proxy, async () => {
    placed = (await place({ tenantId: 'acme', key: 'k', seq: 2 })) as Enqueued;
  });
  assert.equal(await worker.result(placed as Enqueued, { timeoutMs: 20_000 }), 2);
  assert.equal((await effects.orders()).length, 1, 'one effect');
});

test('workflows: a crash before the commit of a step', { timeout: 60_000 }, async () => {
  await using server = await FaultServer.started();
  await using proxy = await CuttingProxy.listening(server.port);
  await using direct = await connect(server.url());
  await createEffects(server);
  await using mill = await connect(server.url(proxy.port), { timeToLiveMs: 60_000 });
  const Payment = defineTask<{ n: number }>('payment', { namespace: 'faults' })
    .step('reserve', { handler: () => 'reserved' })
    .step('pay', {
      after: ['reserve'],
      transactional: true,
      handler: async ({ tx, input }) => {
        await tx?.query(
          `insert into effect (stage, tenant_id, key, seq, attempt, worker)
            values ('kept', 'default', 'pay', $1, 1, 'w1')`,
          [(input as { n: number }).n],
        );
        return 'paid';
      },
    })
    .build();
  mill.workflows.work(Payment);
  direct.workflows.register(Payment);
  await mill.start();
  let runId = '';
  await loseCommit(server, proxy, async () => {
    runId = (await direct.workflows.start(Payment, { n: 1 })).runId;
  });
  const result = await direct.workflows.result(runId, { timeoutMs: 20_000 });
  assert.deepEqual(result, { pay: 'paid' });
  assert.equal((await server.rows('select from effect')).length, 1, 'one effect');
});

test('staged events: numbers below the floor are given anew', { timeout: 60_000 }, async () => {
  await using server = await FaultServer.started();
  const store = await openPostgresStore({ url: server.url() });
  const user = new pg.Client({ connectionString: server.url() });
  await user.connect();
  user.on('error', () => {});
  // Numbers that are given and leave nothing behind: a rollback writes nothing down at once.
  for (let i = 0; i < 20; i += 1) await user.query('begin; select pg_current_xact_id(); rollback');
  assert.equal((await store.staging.sequence(10)).moved, 0);
  await server.kill();
  await server.start();
  await eventually('it is back', 10_000, async () => (await server.rows('select 1')).length > 0);
  const mill = await connect(server.url());
  const other = new pg.Client({ connectionString: server.url() });
  await other.connect();
  await other.query('begin');
  const order = { tenantId: 'acme', key: 'k', payload: { seq: 1 } };
  await mill.publish(OrderPlaced, order, { tx: other });
  await other.query('commit');
  // The first calls may meet a connection of before the crash.
  await eventually('it is moved', 5_000, async () => {
    await store.staging.sequence(10);
    return (await server.rows('select from millrace.event')).length === 1;
  });
  await other.end();
  await mill.stop();
  await store.close();
});

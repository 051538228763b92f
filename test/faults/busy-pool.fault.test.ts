/**
 * More streams with a transaction than the pool has connections: a stream that holds one and
 * needs another must never wait for a stream that does the same.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'millrace';
import { eventually } from './eventually.ts';
import { record, scaled } from './ledger.ts';
import { createEffects, OrderPlaced } from './pipeline.ts';
import { Producer } from './producer.ts';
import { announcedRandom } from './random.ts';
import { FaultServer } from './server.ts';

test('24 streams with transactions on 4 connections', { timeout: 300_000 }, async () => {
  const random = announcedRandom('busy-pool');
  const events = scaled(400);
  await using server = await FaultServer.started();
  await using publisher = await connect(server.url());
  await createEffects(server);
  await using mill = await connect(server.url(), { connectionsMax: 4 });
  const producer = new Producer(publisher, random);
  const groups = ['a', 'b', 'c'];
  for (const group of groups) {
    mill.subscribe({
      group,
      events: [OrderPlaced],
      async handle({ tenantId, key, payload }, context) {
        const tx = await context.tx();
        await sleep(1);
        await tx.query(
          `insert into effect (stage, tenant_id, key, seq, attempt, worker)
            values ($1, $2, $3, $4, $5, 'w1')`,
          [group, tenantId, key, payload.seq, context.attempt],
        );
      },
    });
  }
  await mill.start();
  // While handlers are inside their transactions more arrives, which their streams go and read.
  for (let i = 0; i < events; i += 1) {
    void producer.publishOne();
    if (i % 4 === 0) await sleep(5);
  }
  await producer.stop();
  const handled = async () => {
    const [row] = await server.rows<{ count: number }>('select count(*)::int as count from effect');
    return (row?.count ?? 0) >= events * groups.length;
  };
  const tookMs = await eventually('all handled', 60_000, handled).catch(() => 60_000);
  const [row] = await server.rows<{ count: number; twice: number }>(
    `select count(*)::int as count, (count(*) - count(distinct (stage, key, seq)))::int as twice
      from effect`,
  );
  const { errors } = await mill.health();
  const verdict = {
    lost: events * groups.length - (row?.count ?? 0) + (row?.twice ?? 0),
    duplicated: row?.twice ?? 0,
  };
  record({
    fault: 'more transactions wanted than connections',
    seed: random.seed,
    injected: groups.length * 8 - 4,
    events,
    verdict,
    recoveriesMs: [tookMs],
    note: `${errors} errors survived`,
  });
  assert.deepEqual(verdict, { lost: 0, duplicated: 0 });
  assert.equal(errors, 0, 'nobody waited for a connection in vain');
});

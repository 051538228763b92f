/**
 * A handler that outlives its time limit goes on with the transaction it was given. Its writes
 * must not get into the batch that goes on without it, least of all as another tenant.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'millrace';
import { eventually } from './eventually.ts';
import { record } from './ledger.ts';
import { createEffects, OrderPlaced } from './pipeline.ts';
import { FaultServer } from './server.ts';

const insert = `insert into effect (stage, tenant_id, key, seq, attempt, worker)
  values ($1, current_setting('millrace.tenant'), $2, $3, $4, 'w1')`;

test('a handler whose time was over writes nothing any more', { timeout: 60_000 }, async () => {
  await using server = await FaultServer.started();
  await using mill = await connect(server.url(), { partitions: 1 });
  await createEffects(server);
  let refused = 0;
  mill.subscribe({
    group: 'late',
    events: [OrderPlaced],
    timeoutMs: 200,
    retry: { initialDelayMs: 10, maxRetries: 50 },
    async handle({ key, payload }, context) {
      const tx = await context.tx();
      if (key === 'slow' && context.attempt === 1) {
        for (let i = 0; i < 200; i += 1) {
          await sleep(2);
          await tx.query(insert, ['late', key, payload.seq, context.attempt]).catch((error) => {
            refused += 1;
            throw error;
          });
        }
      }
      await sleep(5);
      await tx.query(insert, ['timely', key, payload.seq, context.attempt]);
    },
  });
  await mill.start();
  const wanted: Promise<unknown>[] = [];
  const place = (tenantId: string, key: string, seq: number) =>
    wanted.push(mill.publish(OrderPlaced, { tenantId, key, payload: { seq } }));
  place('acme', 'slow', 1);
  for (let seq = 1; seq <= 40; seq += 1) place('globex', 'swift', seq);
  await Promise.all(wanted);
  const count = async (text: string) =>
    Number(
      (await server.rows<{ count: string }>(`select count(*) from effect where ${text}`))[0]?.count,
    );
  await eventually('all handled', 30_000, async () => (await count(`stage = 'timely'`)) >= 41);
  const verdict = {
    unexpected: await count(
      `stage = 'late' or tenant_id <> case key when 'slow' then 'acme' else 'globex' end`,
    ),
    duplicated: (await count(`stage = 'timely'`)) - 41,
  };
  record({ fault: 'handler outlives its time limit', seed: 0, injected: 1, events: 41, verdict });
  assert.deepEqual(verdict, { unexpected: 0, duplicated: 0 });
  assert.equal(refused, 1, 'the late write was refused');
});

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import {
  type BatchContext,
  connect,
  DeadLettered,
  type EventDefinition,
  newEventId,
  RetryScheduled,
  type StoredEvent,
} from 'millrace';
import { freshDatabase } from '../../../test/support/database.ts';
import { ask } from '../../../test/support/mill.ts';
import { dryRun } from '../dry-run.ts';
import { ExceptionIngested } from '../events.ts';
import { loadPacks } from '../packs/load.ts';
import { createStages } from '../stages/create-stages.ts';
import { createToolRunner } from '../tools/runner.ts';
import { projection } from './projection.ts';
import { findException, listTenants, migrateProjection } from './queries.ts';
import { columns, foldRecord } from './record.ts';

const database = await freshDatabase();
const mill = await connect(database.url);
await migrateProjection(mill.store);
const stages = createStages({ packs: loadPacks(), tools: createToolRunner() });
after(async () => {
  await mill.stop();
  await database.drop();
});

/** The events of one exception as a log would hold them. */
async function history(tenantId: string, exceptionId: string): Promise<StoredEvent[]> {
  const payload = {
    exceptionId,
    domain: 'finance',
    exceptionType: 'SETTLEMENT_FAIL',
    source: 'OMS',
    rawPayload: { tradeId: 'T-1', amount: 12.34, failCode: 'SSI', daysOverdue: 1 },
  };
  const { events } = await dryRun(stages, ExceptionIngested, { tenantId, payload });
  return events.map((event, i) => ({ ...event, key: exceptionId, partition: 0, offset: i + 1 }));
}

function project(tenantId: string, events: readonly StoredEvent[]): Promise<void> {
  return mill.store.withTenant(tenantId, async (tx) => {
    const context = { tenantId, tx: async () => tx } as unknown as BatchContext;
    await projection.handleBatch?.(events, context);
  });
}

test('batches of any size, and batches told twice, give the same row', async () => {
  const events = await history('t1', 'whole');
  const expected = foldRecord(null, events);
  for (const size of [1, 3, 7, events.length]) {
    const id = `by-${size}`;
    const own = events.map((event) => ({ ...event, key: id }));
    for (let i = 0; i < own.length; i += size) {
      const batch = own.slice(i, i + size);
      await project('t1', batch);
      await project('t1', batch); // the same again, as after a crash
    }
    await project('t1', own.slice(0, 3)); // and something old, long after
    const row = await findException(mill, 't1', id);
    assert.equal(row.status, expected?.status);
    assert.equal(row.stage, expected?.stage);
    assert.equal(row.events, events.length, `batches of ${size}`);
    assert.equal(row.amount, 12.34);
  }
});

test('a failure shows while it lasts and goes when the pipeline goes on', async () => {
  const events = await history('t2', 'F-1');
  const [first, second] = events as [StoredEvent, StoredEvent];
  const about = {
    eventId: first.eventId,
    eventType: first.eventType,
    group: 'intake',
    errorCode: null,
  };
  const retry = control(RetryScheduled, first, 2, {
    ...about,
    reason: 'the lookup timed out',
    attempt: 1,
    delayMs: 10,
    nextAttemptAt: first.timestamp,
  });
  await project('t2', [first, retry]);
  assert.equal((await findException(mill, 't2', 'F-1')).lastError, 'intake: the lookup timed out');
  const dead = control(DeadLettered, first, 3, {
    ...about,
    reason: 'no such domain',
    retryCount: 3,
    fingerprint: 'f',
  });
  await project('t2', [dead]);
  const stuck = await findException(mill, 't2', 'F-1');
  assert.deepEqual([stuck.outcome, stuck.deadLetterGroup], ['DEAD_LETTER', 'intake']);
  await project('t2', [{ ...second, offset: 4 }]);
  const mended = await findException(mill, 't2', 'F-1');
  assert.deepEqual([mended.outcome, mended.lastError], ['UNDER_WAY', null]);
});

function control<P>(
  definition: EventDefinition<P>,
  cause: StoredEvent,
  offset: number,
  payload: P,
): StoredEvent {
  return {
    ...cause,
    eventId: newEventId(),
    eventType: definition.type,
    offset,
    causationId: cause.eventId,
    payload: payload as StoredEvent['payload'],
  };
}

test('tenants see their own rows only, and no tenant sees none', async () => {
  await project('t3', await history('t3', 'mine'));
  const count = (tenantId: string) =>
    mill.store.withTenant(tenantId, async (tx) => {
      const text = 'select count(*)::int as n from millrace_exceptions.exception';
      return (await tx.query<{ n: number }>(text))[0]?.n;
    });
  assert.equal(await count('t3'), 1);
  assert.equal(await count('nobody'), 0);
  assert.equal(await count(''), 0);
  assert.deepEqual(
    (await listTenants(mill)).filter((tenant) => tenant === 't3'),
    ['t3'],
  );
  await assert.rejects(
    mill.store.withTenant('t3', (tx) =>
      tx.query(`update millrace_exceptions.exception set tenant_id = 'nobody'`),
    ),
    /row-level security/,
  );
});

test('tables are forced under row-level security, and have the columns of the list', async () => {
  const tables = await ask<{ name: string; forced: boolean; owner: string }>(
    database.url,
    `select relname as name, relrowsecurity and relforcerowsecurity as forced,
       pg_get_userbyid(relowner) as owner
     from pg_class where relnamespace = 'millrace_exceptions'::regnamespace and relkind = 'r'`,
  );
  assert.deepEqual(tables.map(({ name }) => name).toSorted(), ['exception', 'tenant']);
  for (const { name, forced, owner } of tables) {
    assert.ok(forced, name);
    assert.equal(owner, 'millrace_owner');
  }
  const found = await ask<{ name: string }>(
    database.url,
    `select attname as name from pg_attribute
     where attrelid = 'millrace_exceptions.exception'::regclass and attnum > 0`,
  );
  const listed = columns.map(([, column]) => column);
  assert.deepEqual(found.map(({ name }) => name).toSorted(), ['tenant_id', ...listed].toSorted());
});

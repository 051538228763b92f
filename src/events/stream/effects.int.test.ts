/**
 * Database effects of handlers: committed with the cursor, undone for the event that failed and for
 * no other, whatever the handler does with its transaction.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { freshDatabase, type TestDatabase } from '../../../test/support/database.ts';
import { eventually, gate } from '../../../test/support/eventually.ts';
import {
  ask,
  effectsByKey,
  effectTable,
  names,
  openMill,
  quickRetry,
} from '../../../test/support/mill.ts';
import { seededRandom } from '../../../test/support/random.ts';
import type { SqlTransaction } from '../../ports/store.ts';

let database: TestDatabase;
before(async () => {
  database = await freshDatabase();
});
after(() => database.drop());

const numbers = (count: number) => Array.from({ length: count }, (_, n) => n);

/** A mill, a table, and ways to publish numbered events and to look at what was written. */
async function workshop(t: Parameters<typeof openMill>[0], columns = '') {
  const own = names();
  const mill = await openMill(t, database.url);
  await effectTable(database.url, own.table, columns);
  const write = (tx: SqlTransaction, key: string | null, n: number) =>
    tx.query(`insert into ${own.table} (key, n) values ($1, $2)`, [key, n]);
  return {
    ...own,
    mill,
    write,
    effects: () => effectsByKey(database.url, own.table),
    letters: () => mill.deadLetters.list({ tenantId: own.tenant }),
    publish: (key: string, n: number) =>
      mill.publish(own.Thing, { tenantId: own.tenant, key, payload: { n } }),
    /** Waits until the group has settled everything there is. */
    settled: () =>
      eventually('the group has settled everything', async () => {
        const heads = await mill.store.log.heads();
        const positions = await mill.store.streams.positions([own.group]);
        return positions.every(({ partition, position }) => position >= (heads[partition] ?? 0));
      }),
  };
}

describe('effects in the transaction of the batch', () => {
  for (const kind of ['handle', 'handleBatch'] as const) {
    it(`come out once and in order through random failures: ${kind}`, async (t) => {
      const random = seededRandom(t);
      const { mill, group, tenant, Thing, write, effects } = await workshop(t);
      const retry = { ...quickRetry, maxRetries: 100 };
      if (kind === 'handle') {
        mill.subscribe({
          group,
          events: [Thing],
          retry,
          concurrency: 4,
          async handle({ key, payload }, context) {
            if (random.chance(0.3)) await sleep(random.below(2));
            const tx = await context.tx();
            await write(tx, key, payload.n);
            if (random.chance(0.1)) throw new Error('after writing');
            if (random.chance(0.03)) await tx.query('select 1 / 0');
          },
        });
      } else {
        mill.subscribe({
          group,
          events: [Thing],
          retry,
          batchMax: 30,
          async handleBatch(events, context) {
            const tx = await context.tx();
            for (const { key, payload } of events) await write(tx, key, payload.n);
            for (const event of events) if (random.chance(0.03)) context.fail(event, 'by chance');
            if (random.chance(0.1)) throw new Error('the whole batch');
          },
        });
      }
      await mill.start();
      const keys = numbers(8).map((n) => `k${n}`);
      for (const n of numbers(15)) {
        await mill.publishMany(
          keys.map((key) => [Thing, { tenantId: tenant, key, payload: { n } }]),
        );
      }
      await eventually('all effects are there', async () => {
        const found = await effects();
        return keys.every((key) => (found.get(key)?.length ?? 0) >= 15);
      });
      const found = await effects();
      for (const key of keys) assert.deepEqual(found.get(key), numbers(15), key);
      assert.ok(kind === 'handleBatch' || mill.totals().failed > 0, 'the test can fail');
    });
  }

  it('go with the one event that failed', async (t) => {
    const { mill, group, Thing, write, effects, letters, publish } = await workshop(t);
    mill.subscribe({
      group,
      events: [Thing],
      retry: { maxRetries: 0 },
      async handle({ key, payload }, context) {
        await write(await context.tx(), key, payload.n);
        if (key === 'bad') throw new Error('after writing');
      },
    });
    await Promise.all(['a', 'bad', 'b', 'c'].map((key) => publish(key, 1)));
    await mill.start();
    await eventually('one is dead', async () => (await letters()).length === 1);
    await eventually('three are written', async () => (await effects()).size === 3);
    assert.ok(!(await effects()).has('bad'));
  });

  it('a statement error that the handler swallows is its failure alone', async (t) => {
    const { mill, group, Thing, write, effects, letters, publish } = await workshop(t);
    mill.subscribe({
      group,
      events: [Thing],
      retry: { maxRetries: 0 },
      async handle({ key, payload }, context) {
        const tx = await context.tx();
        await write(tx, key, payload.n);
        if (key === 'bad') await tx.query('select 1 / 0').catch(() => {});
      },
    });
    await Promise.all(['a', 'bad', 'b'].map((key) => publish(key, 1)));
    await mill.start();
    const [letter] = await eventually('one is dead', async () => {
      const found = await letters();
      return found.length > 0 && found;
    });
    assert.equal(letter?.exceptionId, 'bad');
    assert.equal(letter?.errorCode, 'HANDLER_FAILED');
    await eventually('the others are written', async () => (await effects()).size === 2);
  });

  it('the same for a batch handler', async (t) => {
    const { mill, group, Thing, write, effects, letters, publish } = await workshop(t);
    mill.subscribe({
      group,
      events: [Thing],
      retry: { maxRetries: 0 },
      async handleBatch(events, context) {
        const tx = await context.tx();
        for (const { key, payload } of events) {
          await write(tx, key, payload.n);
          if (key === 'bad') await tx.query('select 1 / 0').catch(() => {});
        }
      },
    });
    await Promise.all(['a', 'bad', 'b'].map((key) => publish(key, 1)));
    await mill.start();
    await eventually('one is dead', async () => (await letters()).length === 1);
    await eventually('the others are written', async () => (await effects()).size === 2);
    assert.ok(!(await effects()).has('bad'));
  });

  it('a handler that is late cannot write into the next one’s turn', async (t) => {
    const { mill, group, Thing, write, effects, letters, publish, settled } = await workshop(t);
    const late = gate();
    const refused: unknown[] = [];
    mill.subscribe({
      group,
      events: [Thing],
      retry: { maxRetries: 0 },
      timeoutMs: 200,
      async handle({ key, payload }, context) {
        const tx = await context.tx();
        if (key === 'late') {
          await late.opened;
          await write(tx, key, payload.n).catch((error) => refused.push(error));
        } else {
          late.open();
          await eventually('the late one has tried', () => refused.length > 0, 150);
          await write(tx, key, payload.n);
        }
      },
    });
    await mill.start();
    await publish('late', 1);
    await eventually('its time is over', async () => (await letters()).length === 1);
    // Of the same partition, so that it shares the transaction.
    const { partition } = (await letters())[0] as { partition: number };
    for (let n = 0; ; n += 1) if ((await publish(`next${n}`, 1)).partition === partition) break;
    await settled();
    assert.ok(!(await effects()).has('late'));
    assert.ok((await effects()).size > 0);
  });
});

describe('a constraint that is checked at the commit', () => {
  const deferred = ', unique (n) deferrable initially deferred';

  for (const kind of ['handle', 'async handle', 'handleBatch'] as const) {
    it(`fails the one event that breaks it: ${kind}`, async (t) => {
      const { mill, group, tenant, table, Thing, write, effects, letters } = await workshop(
        t,
        deferred,
      );
      await ask(database.url, `insert into ${table} (key, n) values ('first', 1), ('first', 2)`);
      const common = { group, events: [Thing], retry: { ...quickRetry, maxRetries: 1 } } as const;
      if (kind === 'handleBatch') {
        mill.subscribe({
          ...common,
          async handleBatch(events, context) {
            const tx = await context.tx();
            for (const { key, payload } of events) await write(tx, key, payload.n);
          },
        });
      } else {
        mill.subscribe({
          ...common,
          async handle({ key, payload }, context) {
            if (kind === 'async handle') await sleep(1);
            await write(await context.tx(), key, payload.n);
          },
        });
      }
      // Two keys break it, each with an event behind the bad one.
      const events = [
        ...numbers(10).map((n) => ({ key: `good${n}`, n: 100 + n })),
        { key: 'bad1', n: 1 },
        { key: 'bad1', n: 200 },
        { key: 'bad2', n: 2 },
        { key: 'bad2', n: 201 },
      ];
      await mill.publishMany(
        events.map(({ key, n }) => [Thing, { tenantId: tenant, key, payload: { n } }]),
      );
      await mill.start();
      await eventually('both are dead', async () => (await letters()).length === 2);
      assert.deepEqual(
        (await letters()).map(({ errorCode }) => errorCode),
        ['23505', '23505'],
      );
      await eventually('the good ones are written', async () => (await effects()).size === 11);
      const found = await effects();
      for (const n of numbers(10)) assert.deepEqual(found.get(`good${n}`), [100 + n]);
      await eventually('what follows waits', async () =>
        (await letters()).every(({ waiting }) => waiting === 1),
      );
      assert.ok(!(await effects()).has('bad1'), 'nothing of a bad key was kept');
    });
  }

  it('does not stop retries that break it together', async (t) => {
    const { mill, group, tenant, table, Thing, write, effects, letters } = await workshop(
      t,
      deferred,
    );
    let broken = true;
    mill.subscribe({
      group,
      events: [Thing],
      retry: { ...quickRetry, maxRetries: 2 },
      async handle({ key, payload, tenantId }, context) {
        if (tenantId !== tenant) return;
        await write(await context.tx(), key, broken ? 1 : payload.n);
      },
    });
    await ask(database.url, `insert into ${table} (key, n) values ('first', 1)`);
    await mill.start();
    const keys = numbers(6).map((n) => `k${n}`);
    await mill.publishMany(
      keys.map((key, n) => [Thing, { tenantId: tenant, key, payload: { n: n + 10 } }]),
    );
    await eventually('all are dead', async () => (await letters()).length === 6);
    broken = false;
    for (const letter of await letters()) await mill.deadLetters.retry(letter);
    await eventually('all are written', async () => (await effects()).size === 7);
  });
});

describe('row-level security', () => {
  it('shows a handler the rows of its own tenant only', async (t) => {
    const { mill, group, tenant, Thing } = await workshop(t);
    const seen: string[][] = [];
    mill.subscribe({
      group,
      events: [Thing],
      async handle(_event, context) {
        const tx = await context.tx();
        const rows = await tx.query<{ tenant_id: string }>(
          'select distinct tenant_id from millrace.event',
        );
        seen.push(rows.map((row) => row.tenant_id));
      },
    });
    const tenants = ['a', 'b'].map((name) => `${tenant}-${name}`);
    for (const tenantId of tenants) {
      for (const n of numbers(3))
        await mill.publish(Thing, { tenantId, key: `k${n}`, payload: { n } });
    }
    await mill.start();
    await eventually('all are handled', () => seen.length === 6);
    assert.deepEqual(
      seen.flat().sort(),
      tenants.flatMap((name) => [name, name, name]),
    );
  });

  it('keeps a handler from changing the log', async (t) => {
    const { mill, group, Thing, letters, publish } = await workshop(t);
    mill.subscribe({
      group,
      events: [Thing],
      retry: { maxRetries: 0 },
      async handle({ payload }, context) {
        const tx = await context.tx();
        await tx.query(
          payload.n === 0
            ? `update millrace.event set key = 'other'`
            : `delete from millrace.group_cursor`,
        );
      },
    });
    await mill.start();
    await publish('a', 0);
    await publish('b', 1);
    await eventually('both are refused', async () => (await letters()).length === 2);
    assert.deepEqual(
      (await letters()).map(({ errorCode }) => errorCode),
      ['42501', '42501'],
    );
  });
});

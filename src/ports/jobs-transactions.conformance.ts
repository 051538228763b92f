/**
 * Cases for jobs inside transactions: enqueued by a caller's, settled by a handler's. A store
 * without SQL transactions says so in its capabilities, and skips them.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type CallerTransaction,
  claimOne,
  code,
  countsOf,
  doneWith,
  drain,
  enqueuePlain,
  enqueueRow,
  failedWith,
  findJob,
  idOf,
  type JobCaseContext,
  type JobCases,
  newJobs,
  numbersOf,
  recoverFrom,
  ref,
  settlementOf,
  startMortal,
  startWorker,
  statusOf,
} from './jobs.fixtures.conformance.ts';
import type { JobRef } from './jobs.ts';
import type { SqlTransaction } from './store.ts';

class Undo extends Error {}

/** Fails soon where nobody may be held up; a driver itself waits much longer for an answer. */
function soon<T>(what: string, answer: Promise<T>): Promise<T> {
  const late = sleep(5_000, null, { ref: false }).then(() => {
    throw new Error(`not within 5 s: ${what}`);
  });
  return Promise.race([answer, late]);
}

interface Effects {
  readonly transaction: CallerTransaction;
  /** What a handler or a caller does beside. */
  write(tx: SqlTransaction, n: number): Promise<void>;
  /** What of that has become true. */
  written(): Promise<number[]>;
}

/** Runs the case with a table of its own, where the store has transactions. */
function withEffects(
  run: (context: JobCaseContext, effects: Effects) => Promise<void>,
): (context: JobCaseContext) => Promise<void> {
  return async (context) => {
    const { store, transaction, queue, t } = context;
    if (!store.capabilities.sqlTransactions) return t.skip('the store has no SQL transactions');
    assert.ok(transaction, 'the harness gives a transaction of a caller');
    const table = `effect_${queue.replaceAll('-', '_')}`;
    await transaction(async (tx) => {
      await tx.query(`create table ${table} (n int not null)`);
      await tx.query(`grant all on ${table} to public`);
    });
    return run(context, {
      transaction,
      async write(tx, n) {
        await tx.query(`insert into ${table} (n) values ($1)`, [n]);
      },
      async written() {
        type Row = { n: number };
        const rows = await transaction((tx) => tx.query<Row>(`select n from ${table} order by n`));
        return rows.map(({ n }) => n);
      },
    });
  };
}

const enqueueIn = (context: JobCaseContext, tx: SqlTransaction, n: number, rest = {}) =>
  context.store.enqueue(newJobs(context, 1, { from: n, ...rest }), {
    enqueueId: crypto.randomUUID(),
    again: false,
    tx,
  });

export const transactionCases: JobCases = {
  'what a transaction enqueues is there when it commits, not before': withEffects(
    async (context, { transaction, write, written }) => {
      const { store, queue, another } = context;
      const worker = await startWorker(await another(), queue);
      const [at] = await transaction(async (tx) => {
        const enqueued = await enqueueIn(context, tx, 1);
        await write(tx, 1);
        assert.deepEqual(await soon('a claim', worker.claim(10)), [], 'nobody can claim it yet');
        assert.equal(await statusOf(store, enqueued[0] as JobRef), null);
        return enqueued;
      });
      assert.equal(at?.duplicate, false);
      assert.deepEqual(await written(), [1]);
      const job = await claimOne(worker);
      assert.equal(idOf(job), idOf(at as JobRef));
      await worker.done([job]);
    },
  ),

  'what a transaction enqueued before it was rolled back never was': withEffects(
    async (context, { transaction, write, written }) => {
      const { store, queue } = context;
      const refs: JobRef[] = [];
      const undone = transaction(async (tx) => {
        refs.push(...(await enqueueIn(context, tx, 1)));
        refs.push(...(await enqueueIn(context, tx, 2, { delayMs: 5 })));
        await write(tx, 1);
        throw new Undo();
      });
      await assert.rejects(undone, Undo);
      assert.deepEqual(await written(), []);
      assert.deepEqual(await store.queries.find(refs), [null, null]);
      assert.deepEqual(await drain(await startWorker(store, queue)), []);
    },
  ),

  'a long transaction that enqueued holds nobody else up': withEffects(
    async (context, { transaction }) => {
      const { store, queue } = context;
      const worker = await startWorker(store, queue);
      await enqueuePlain(store, newJobs(context, 2));
      await transaction(async (tx) => {
        await enqueueIn(context, tx, 100);
        await soon('an append', enqueuePlain(store, newJobs(context, 1, { from: 2 })));
        const row = await soon('an enqueue', enqueueRow(context, { priority: 1 }, 3));
        const claimed = await soon('a claim', worker.claim(10));
        assert.deepEqual(numbersOf(claimed), [0, 1, 2, 3]);
        await worker.done(claimed);
        if (store.capabilities.history) assert.equal(await statusOf(store, row), 'completed');
        assert.deepEqual(await countsOf(store, queue), { completed: 4 });
      });
      assert.deepEqual(numbersOf(await drain(worker)), [100]);
    },
  ),

  'a unique key that a transaction took and gave up is free': withEffects(
    async (context, { transaction }) => {
      const { store, queue } = context;
      const unique = { key: 'one', mode: 'reject', windowMs: 0 } as const;
      const undone = transaction(async (tx) => {
        await enqueueIn(context, tx, 1, { unique });
        throw new Undo();
      });
      await assert.rejects(undone, Undo);
      await enqueueRow(context, { unique }, 2);
      const refused = transaction((tx) => enqueueIn(context, tx, 3, { unique }));
      await assert.rejects(refused, code('JOB_DUPLICATE'));
      assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [2]);
    },
  ),

  'a job that a transaction met by its unique key can be claimed, or soon': withEffects(
    async (context, { transaction }) => {
      const { store, queue } = context;
      const unique = { key: 'one', mode: 'keep', windowMs: 0 } as const;
      const first = await enqueueRow(context, { unique });
      const worker = await startWorker(store, queue);
      const early = await transaction(async (tx) => {
        const [met] = await enqueueIn(context, tx, 1, { unique });
        assert.deepEqual([met?.duplicate, idOf(met as JobRef)], [true, idOf(first)]);
        const { claimed, nextDueMs } = await soon('a claim', worker.exchange(10));
        const announced = nextDueMs !== null && nextDueMs <= 1_000;
        assert.ok(claimed.length === 1 || announced, 'passed over, and nobody knows');
        return claimed;
      });
      const job = early[0] ?? (await claimOne(worker));
      assert.equal(idOf(job), idOf(first));
    },
  ),

  'a parent and its child may come from one transaction': withEffects(
    async (context, { transaction }) => {
      const { store, queue } = context;
      await transaction(async (tx) => {
        const [parent] = await enqueueIn(context, tx, 1);
        await enqueueIn(context, tx, 2, { dependsOn: [ref(parent as JobRef)] });
      });
      const worker = await startWorker(store, queue);
      for (const n of [1, 2]) {
        const job = await claimOne(worker);
        assert.deepEqual(numbersOf([job]), [n]);
        await worker.done([job]);
      }
    },
  ),

  "a handler's effects commit with its job": withEffects(async (context, effects) => {
    const { store, queue, tenant } = context;
    for (const asRow of [false, true]) {
      if (asRow) await enqueueRow(context);
      else await enqueuePlain(store, newJobs(context, 1));
      const worker = await startWorker(store, queue);
      const job = await claimOne(worker);
      const work = await store.begin(worker.epoch, tenant);
      await effects.write(work.tx, asRow ? 2 : 1);
      assert.deepEqual(await effects.written(), asRow ? [1] : []);
      assert.equal(await statusOf(store, job), 'running');
      await work.commit(settlementOf({ done: [doneWith(job, '"both"')] }));
      const { status, resultJson } = await findJob(store, job);
      assert.deepEqual([status, resultJson], ['completed', '"both"']);
      assert.deepEqual(await effects.written(), asRow ? [1, 2] : [1]);
      await assert.rejects(work.tx.query('select 1'), 'the transaction has ended');
    }
  }),

  'a handler that rolls back leaves its job running, and no effect': withEffects(
    async (context, { write, written }) => {
      const { store, queue, tenant } = context;
      await enqueuePlain(store, newJobs(context, 1));
      const worker = await startWorker(store, queue);
      const job = await claimOne(worker);
      const work = await store.begin(worker.epoch, tenant);
      await write(work.tx, 1);
      await work.rollback();
      assert.deepEqual(await written(), []);
      assert.equal(await statusOf(store, job), 'running');
      await worker.fail(job);
      assert.equal((await claimOne(worker)).failures, 1);
    },
  ),

  'what a handler enqueues comes with the completion of its job': withEffects(
    async (context, { write, written }) => {
      const { store, queue, tenant } = context;
      await enqueuePlain(store, newJobs(context, 1));
      const worker = await startWorker(store, queue);
      const other = await startWorker(store, queue);
      for (const undo of [true, false]) {
        const job = await claimOne(worker);
        const work = await store.begin(worker.epoch, tenant);
        await write(work.tx, 1);
        await enqueueIn(context, work.tx, 5);
        assert.deepEqual(await other.claim(10), []);
        if (undo) {
          await work.rollback();
          await worker.fail(job);
        } else {
          await work.commit(settlementOf({ done: [doneWith(job)] }));
        }
      }
      assert.deepEqual(await written(), [1]);
      assert.deepEqual(numbersOf(await drain(other)), [5]);
    },
  ),

  'a transaction may end in a failure that is kept, with its effects': withEffects(
    async (context, { write, written }) => {
      const { store, queue, tenant } = context;
      await enqueuePlain(store, newJobs(context, 1));
      const worker = await startWorker(store, queue);
      const job = await claimOne(worker);
      const work = await store.begin(worker.epoch, tenant);
      await write(work.tx, 1);
      await work.commit(settlementOf({ failed: [failedWith(job, { status: 'dead' })] }));
      assert.deepEqual(await written(), [1]);
      assert.equal(await statusOf(store, job), 'dead');
    },
  ),

  'a handler whose worker was declared dead undoes everything': withEffects(
    async (context, { write, written }) => {
      const { store, queue, tenant, another } = context;
      await enqueuePlain(store, newJobs(context, 1));
      const mortal = await startMortal(store, queue);
      const job = await claimOne(mortal);
      const work = await store.begin(mortal.epoch, tenant);
      await write(work.tx, 1);
      await enqueueIn(context, work.tx, 7);
      assert.equal((await recoverFrom(await another(), mortal)).jobs.length, 1);
      const late = work.commit(settlementOf({ done: [doneWith(job)] }));
      await assert.rejects(late, code('LEASE_LOST'));
      assert.deepEqual(await written(), []);
      await work.rollback();
      assert.deepEqual(numbersOf(await drain(await startWorker(store, queue))), [0]);
    },
  ),

  'a handler whose job was cancelled undoes everything': withEffects(
    async (context, { write, written }) => {
      const { store, queue, tenant } = context;
      for (const asRow of [false, true]) {
        if (asRow) await enqueueRow(context);
        else await enqueuePlain(store, newJobs(context, 1));
        const worker = await startWorker(store, queue);
        const job = await claimOne(worker);
        const work = await store.begin(worker.epoch, tenant);
        await write(work.tx, 1);
        await store.change('cancel', [ref(job)]);
        await assert.rejects(work.commit(settlementOf({ done: [doneWith(job)] })));
        assert.deepEqual(await written(), []);
        assert.equal(await statusOf(store, job), 'cancelled');
        assert.deepEqual(await worker.claim(10), []);
      }
    },
  ),

  'a failed statement undoes the effects and the settlement': withEffects(
    async (context, { write, written }) => {
      const { store, queue, tenant } = context;
      await enqueuePlain(store, newJobs(context, 1));
      const worker = await startWorker(store, queue);
      const job = await claimOne(worker);
      const work = await store.begin(worker.epoch, tenant);
      await write(work.tx, 1);
      await assert.rejects(work.tx.query('select * from no_such_table'));
      await assert.rejects(work.commit(settlementOf({ done: [doneWith(job)] })));
      assert.deepEqual(await written(), []);
      assert.equal(await statusOf(store, job), 'running');
    },
  ),

  'many handlers have transactions at once': withEffects(async (context, { write, written }) => {
    const { store, queue, tenant } = context;
    const count = 24;
    await enqueuePlain(store, newJobs(context, count));
    const worker = await startWorker(store, queue);
    const jobs = await worker.claim(count);
    await Promise.all(
      jobs.map(async (job) => {
        const work = await store.begin(worker.epoch, tenant);
        const [n] = numbersOf([job]) as [number];
        await write(work.tx, n);
        if (n % 3 === 0) return work.rollback();
        return work.commit(settlementOf({ done: [doneWith(job)] }));
      }),
    );
    const kept = numbersOf(jobs).filter((n) => n % 3 !== 0);
    assert.deepEqual(
      await written(),
      kept.sort((a, b) => a - b),
    );
    assert.deepEqual(await countsOf(store, queue), { completed: 16, running: 8 });
  }),
};

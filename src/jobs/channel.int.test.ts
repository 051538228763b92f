/** What becomes of an enqueue whose answer is lost, on a real store that loses it on purpose. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { freshDatabase } from '../../test/support/database.ts';
import { ask } from '../../test/support/mill.ts';
import { MillraceError } from '../core/errors.ts';
import { openPostgresJobStore } from '../drivers/postgres/jobs/store.ts';
import { newJobs } from '../ports/jobs.fixtures.conformance.ts';
import type { JobStore } from '../ports/jobs.ts';
import { Channel } from './channel.ts';

test('is stored once, also when the worker is declared dead before the second try', async (t) => {
  const { url, drop } = await freshDatabase();
  const store = await openPostgresJobStore({ url });
  t.after(async () => {
    await store.close();
    await drop();
  });
  const queue = 'mails';
  const epoch = await store.register({
    workerId: crypto.randomUUID(),
    queues: [queue],
    timeToLiveMs: 60_000,
    host: 'here',
    pid: process.pid,
  });
  let [tries, isOver] = [0, false];
  const losing: JobStore = Object.create(store, {
    exchange: {
      value: async (exchange: Parameters<JobStore['exchange']>[0]) => {
        tries += 1;
        const result = await store.exchange(exchange);
        if (tries > 1) return result;
        await store.retire(epoch);
        throw new MillraceError('STORE_UNAVAILABLE', 'The answer was lost.');
      },
    },
  });
  const channel = new Channel({
    ...{ store: losing, queue, batchMax: 100, bufferMax: 100, patienceMs: 10_000, settleMs: 1 },
    ...{ onWaiting() {}, onWoken() {}, onError() {} },
  });
  const wish = { max: 10, lanes: [], suspects: true, ration: null };
  channel.attach({
    wish: () => (isOver ? null : wish),
    begin: () => (isOver ? null : { epoch, claimNo: 1 }),
    accept() {},
    refuse() {
      isOver = true;
    },
    committed() {},
    get epoch() {
      return isOver ? null : epoch;
    },
    apart: false,
  });
  const jobs = newJobs({ queue, tenant: 'default' }, 3);
  const refs = await channel.enqueue(jobs);
  assert.deepEqual([tries, isOver], [3, true], 'lost, refused, known by its id');
  assert.deepEqual(
    refs.map(({ offset }) => offset),
    [1, 2, 3],
  );
  const [stored] = await ask<{ count: string }>(url, 'select count(*) from millrace.job');
  assert.equal(Number(stored?.count), 3);
  await channel.close();
});

/**
 * Crashes between two steps that are in two slots: whatever the first left behind, others finish,
 * and nothing happens twice. The first step is done by hand, as the one who crashed did it.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  claimOne,
  doneWith,
  drain,
  enqueuePlain,
  enqueueRow,
  idOf,
  idsOf,
  newJobs,
  numbersOf,
  ref,
  settlementOf,
  startWorker,
  statusOf,
} from '../../ports/jobs.fixtures.conformance.ts';
import type { JobRef, JobStore } from '../../ports/jobs.ts';
import { openRedis } from './connection.ts';
import type { Context } from './context.ts';
import { createEpochs } from './epochs.ts';
import { createKeys } from './keys.ts';
import { Lanes } from './lanes.ts';
import { sweepQueues } from './news.ts';
import { scripts } from './scripts.ts';
import { settlementArguments } from './settlement.ts';
import { openRedisJobStore } from './store.ts';
import { freshPrefix } from './test-keys.ts';

const url = process.env.REDIS_URL;
const skip = url ? false : 'REDIS_URL is not set';

describe('a crash between two slots', { skip }, () => {
  const { prefix, remove } = freshPrefix(url as string);
  const keys = createKeys(prefix);
  let store: JobStore;
  let context: Context;
  let cases = 0;
  const newPlace = () => {
    cases += 1;
    return { store, queue: `crash ${cases}`, tenant: 'tenant' } as never as Parameters<
      typeof enqueueRow
    >[0];
  };
  before(async () => {
    store = await openRedisJobStore({ url: url as string, prefix });
    const redis = await openRedis(url as string);
    context = { redis, keys, historyMax: 100, lanes: new Lanes(redis, keys) };
  });
  after(async () => {
    await Promise.all([store.close(), context.redis.close()]);
    await remove();
  });

  it('a child that was stored and not linked is linked by the next sweep', async () => {
    const place = newPlace();
    const [parent] = (await enqueuePlain(store, newJobs(place, 1))) as [JobRef];
    const child = { ...place, queue: `${place.queue} b` };
    const [job] = newJobs(child, 1, { dependsOn: [ref(parent)] });
    const [lane] = await context.lanes.ofRows(child.queue, [child.tenant]);
    const { lane: number } = lane as { lane: number };
    const record = `name\u001f1\u001f\u001f${job?.payloadJson}`;
    const args = ['an id', '', 1, number, 0, child.tenant, '', record, 0, '', '', 0, 'wait'];
    const stored = await context.redis.run<string[]>(scripts.enqueue, keys.queue(child.queue), [
      ...args,
      ...[1, idOf(parent), '1'],
    ]);
    const at = { lane: Number(stored[2]), offset: Number(stored[3]) };
    const worker = await startWorker(store, place.queue);
    await worker.done([await claimOne(worker)]);
    assert.equal(await statusOf(store, at), 'blocked', 'nobody told it');
    await sweepQueues(context, 0);
    await sweepQueues(context, 0);
    const other = await startWorker(store, child.queue);
    assert.deepEqual(idsOf(await drain(other)), [idOf(at)]);
  });

  it('news of a parent that were not carried are carried by the next sweep', async () => {
    const place = newPlace();
    const [parent] = (await enqueuePlain(store, newJobs(place, 1))) as [JobRef];
    const there = { ...place, queue: `${place.queue} b` };
    const child = await enqueueRow(there, { dependsOn: [ref(parent)] });
    const worker = await startWorker(store, place.queue);
    const job = await claimOne(worker);
    const settle = settlementArguments(settlementOf({ done: [doneWith(job)] }));
    const args = [worker.epoch, 'an id', 100, '', 0, '', 0, 0, '1', ...settle];
    const reply = await context.redis.run<unknown[]>(
      scripts.exchange,
      keys.queue(place.queue),
      args,
    );
    assert.deepEqual([reply[0], reply.at(-1)], ['ok', 1], 'there is news');
    assert.equal(await statusOf(store, child), 'blocked');
    await sweepQueues(context, 0);
    assert.equal(await statusOf(store, child), 'waiting');
    const base = keys.queue(place.queue);
    assert.equal(await context.redis.send(base, ['EXISTS', `${base}:out`]), 0, 'struck out');
  });

  it('an epoch that was declared dead and not fenced is fenced by others', async () => {
    const place = newPlace();
    await enqueuePlain(store, newJobs(place, 700));
    const worker = await startWorker(store, place.queue);
    await worker.claim(600);
    const found = await context.redis.run<unknown[]>(scripts.declareDead, keys.registry, [
      worker.epoch,
      0,
    ]);
    assert.equal(found.length, 1);
    assert.equal((await worker.claim(1)).length, 1, 'its slot has not heard of it');
    const patient = await createEpochs(context).recover({ crashesMax: 3 });
    assert.deepEqual(patient.jobs, [], 'the one who declared it may still be at it');
    const [one, two] = await Promise.all([
      createEpochs(context, { takeoverMs: -1 }).recover({ crashesMax: 3 }),
      createEpochs(context, { takeoverMs: -1 }).recover({ crashesMax: 3 }),
    ]);
    const recovered = [...one.jobs, ...two.jobs];
    assert.equal(new Set(idsOf(recovered)).size, recovered.length, 'each once');
    assert.equal(recovered.length, 601);
    const other = await startWorker(store, place.queue);
    assert.equal((await drain(other, 500)).length, 700);
  });

  it('ticks that fired and were not enqueued are, once', async () => {
    const place = newPlace();
    const [job] = newJobs(place, 1, { from: 5 });
    const id = 'tenant\u001fname\u001f2026-01-01T00:00:00.000Z';
    const entry = JSON.stringify({ id, job: JSON.stringify(job) });
    const key = `${keys.schedules}:out`;
    for (let round = 0; round < 2; round += 1) {
      await context.redis.send(key, ['RPUSH', key, entry]);
      await store.schedules.due(new Date().toISOString(), 10);
      assert.equal(await context.redis.send(key, ['EXISTS', key]), 0, 'struck out');
    }
    assert.deepEqual(numbersOf(await drain(await startWorker(store, place.queue))), [5]);
  });

  it('a slot that lost its lanes is told again', async () => {
    const place = newPlace();
    await enqueuePlain(store, newJobs(place, 2));
    const base = keys.queue(place.queue);
    await context.redis.send(base, ['DEL', `${base}:lanes`]);
    await enqueuePlain(store, newJobs(place, 2, { from: 2 }));
    await enqueueRow(place, {}, 4);
    await context.redis.send(base, ['DEL', `${base}:lanes`]);
    await enqueueRow(place, {}, 5);
    await enqueuePlain(store, newJobs(place, 1, { from: 6 }));
    const seen = numbersOf(await drain(await startWorker(store, place.queue)));
    assert.deepEqual(seen.sort(), [0, 1, 2, 3, 4, 5, 6]);
  });

  it('an epoch works in a queue that it was not registered for', async () => {
    const place = newPlace();
    const worker = await startWorker(store, place.queue);
    const there = { ...place, queue: `${place.queue} b` };
    await enqueuePlain(store, newJobs(there, 2));
    const lanes = await store.readyLanes(there.queue);
    const claim = { max: 2, lanes, suspects: true, claimNo: 1 };
    const exchange = { queue: there.queue, epoch: worker.epoch, claim, settle: null, enqueue: [] };
    const answer = await store.exchange({ ...exchange, enqueueId: 'none', again: false });
    assert.equal(answer.claimed.length, 2);
    await store.retire(worker.epoch);
    assert.equal((await drain(await startWorker(store, there.queue))).length, 2, 'released there');
  });
});

/** What callers see when the server goes away and comes back, and that it has lost nothing then. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { eventually } from '../../../test/support/eventually.ts';
import {
  code,
  doneWith,
  drain,
  enqueueRow,
  idsOf,
  newExchange,
  newJobs,
  numbersOf,
  settlementOf,
  startWorker,
  upTo,
} from '../../ports/jobs.fixtures.conformance.ts';
import type { Exchange, ExchangeResult, JobRef, JobStore } from '../../ports/jobs.ts';
import { openRedisJobStore } from './store.ts';
import { noServer, TestServer } from './test-server.ts';

const place = { queue: 'outage', tenant: 'tenant' };
const unavailable = code('STORE_UNAVAILABLE');
const back = (store: JobStore) =>
  eventually('it is back', () =>
    store.ping().then(
      () => true,
      () => false,
    ),
  );

/** Sends an exchange until it is answered, as the runtime does. */
async function send(store: JobStore, exchange: Exchange): Promise<ExchangeResult> {
  let again = false;
  return eventually('it is answered', async () => {
    try {
      return await store.exchange({ ...exchange, again });
    } catch (error) {
      assert.ok(unavailable(error), String(error));
      again = true;
      return null;
    }
  });
}

describe('a Redis that goes away', { skip: noServer }, () => {
  it('fails calls at once, is reconnected by itself, and has all that it said', async (t) => {
    const server = await TestServer.started(t);
    await using store = disposable(await openRedisJobStore({ url: server.url }));
    const worker = await startWorker(store, place.queue);
    const exchange = newExchange(place.queue, { enqueue: newJobs(place, 200) });
    const { enqueued } = await store.exchange(exchange);
    const claimed = await worker.claim(50);
    await worker.done(claimed.slice(0, 20), '{"kept":true}');
    const delayed = await enqueueRow({ ...place, store } as never, { delayMs: 60_000 }, 999);
    await server.kill();
    const startedAt = performance.now();
    await assert.rejects(store.exchange(newExchange(place.queue)), unavailable);
    await assert.rejects(store.ping(), unavailable);
    assert.ok(performance.now() - startedAt < 1_000, 'at once');
    await server.start();
    await back(store);
    const again = await store.exchange({ ...exchange, again: true });
    assert.deepEqual(again.enqueued, enqueued, 'the answer to the enqueue is known still');
    const counts = (await store.queries.counts([place.queue])).get(place.queue);
    const { waiting, running, completed, delayed: later } = counts ?? {};
    assert.deepEqual([waiting, running, completed, later], [150, 30, 20, 1]);
    const [result] = await store.queries.results([claimed[0] as JobRef]);
    assert.equal(result, '{"kept":true}');
    await worker.settle({ done: claimed.slice(20).map((job) => doneWith(job)) });
    assert.deepEqual(numbersOf(await drain(worker)), upTo(150, 50));
    assert.deepEqual(idsOf(await store.change('run', [delayed])), idsOf([delayed]));
    assert.deepEqual(numbersOf(await drain(worker)), [999]);
  });

  it('loses no job and doubles none, however often it is killed', async (t) => {
    const server = await TestServer.started(t);
    await using store = disposable(await openRedisJobStore({ url: server.url }));
    const { epoch } = await startWorker(store, place.queue, { timeToLiveMs: 600_000 });
    const acknowledged: JobRef[] = [];
    const done: JobRef[] = [];
    let settle = settlementOf({});
    const lanes = new Set<number>();
    let over = false;
    const killer = (async () => {
      for (let round = 0; round < 4; round += 1) {
        const before = acknowledged.length;
        await eventually('some go through', () => acknowledged.length > before + 200);
        await server.kill();
        await server.start();
      }
      over = true;
    })();
    for (let claimNo = 1; ; claimNo += 1) {
      const last = over;
      const enqueue = last ? [] : newJobs(place, 20, { from: acknowledged.length });
      const claim = { max: 20, lanes: [...lanes], suspects: true, claimNo };
      const answer = await send(store, newExchange(place.queue, { epoch, settle, enqueue, claim }));
      acknowledged.push(...answer.enqueued);
      for (const { lane } of answer.enqueued) lanes.add(lane);
      settle = settlementOf({ done: answer.claimed.map((job) => doneWith(job)) });
      done.push(...answer.claimed);
      if (last && answer.claimed.length === 0) break;
    }
    await killer;
    assert.deepEqual(idsOf(done), idsOf(acknowledged), 'each once, in order');
    assert.deepEqual(
      acknowledged.map(({ offset }) => offset),
      upTo(acknowledged.length, 1),
      'and no offset is left over from a try that was lost',
    );
  });

  it('is opened with its mistakes named', async (t) => {
    const server = await TestServer.started(t);
    const open = (url: string) => openRedisJobStore({ url });
    await server.kill();
    await assert.rejects(open(server.url), unavailable);
    await assert.rejects(open('http://127.0.0.1'), code('CONFIG_INVALID'));
    await assert.rejects(open('localhost'), code('CONFIG_INVALID'));
    const url = server.url;
    await assert.rejects(openRedisJobStore({ url, prefix: 'a b' }), code('CONFIG_INVALID'));
    await assert.rejects(openRedisJobStore({ url, historyMax: -1 }), code('CONFIG_INVALID'));
    await server.start();
    const secured = await open(server.url);
    await secured.ping();
    await secured.close();
    await assert.rejects(secured.ping(), unavailable, 'closed');
    const refused = server.url.replace('//', '//someone:secret@');
    await assert.rejects(open(refused), code('STORE_MISCONFIGURED'));
  });

  it('tells a listener once that notices are lost', async (t) => {
    const server = await TestServer.started(t);
    await using store = disposable(await openRedisJobStore({ url: server.url }));
    const lost: unknown[] = [];
    const listener = await store.notices.listen({
      onNotice: () => {},
      onLost: (cause) => lost.push(cause),
    });
    await server.kill();
    await eventually('it is told', () => lost.length > 0);
    assert.ok(unavailable(lost[0]));
    await server.start();
    await back(store);
    await listener.close();
    assert.equal(lost.length, 1);
  });
});

function disposable(store: JobStore): JobStore & AsyncDisposable {
  return { ...store, [Symbol.asyncDispose]: () => store.close() };
}

/**
 * Hints between processes get lost, doubled and late; answers of the store get lost. Deliveries
 * must not depend on the hints, nor order and number of effects on the answers.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, type DeploymentMode, Millrace } from 'millrace';
import { openPostgresStore } from '../../src/drivers/postgres/store.ts';
import { type Faults, faulty } from '../support/faulty.ts';
import type { Random } from '../support/random.ts';
import { eventually } from './eventually.ts';
import { allowedMs, assertClean, drain, judge, record, scaled } from './ledger.ts';
import { createEffects, subscribePipeline } from './pipeline.ts';
import { Producer } from './producer.ts';
import { announcedRandom } from './random.ts';
import { FaultServer } from './server.ts';

const pollMsMost = 1_000;

/** A publisher and two workers, each with a store of its own, in this process. */
async function run(name: string, mode: DeploymentMode, random: Random, faults: Faults) {
  const events = scaled(200);
  await using server = await FaultServer.started();
  await using publisher = await connect(server.url(), { mode });
  await createEffects(server);
  const stores = [];
  const workers: Millrace[] = [];
  for (const worker of ['w1', 'w2']) {
    const store = faulty(
      await openPostgresStore({ url: server.url() }),
      random.below(2 ** 31),
      faults,
    );
    const mill = new Millrace(store, { mode });
    stores.push(store);
    workers.push(mill);
    subscribePipeline(mill, { worker });
  }
  try {
    await Promise.all(workers.map((mill) => eventually('started', 10_000, () => started(mill))));
    const producer = new Producer(publisher, random, 40);
    const arrivals: Promise<number>[] = [];
    for (let i = 0; i < events; i += 1) {
      await producer.publishOne();
      if (i % 10 === 0) arrivals.push(arrival(server, producer));
      await sleep(random.below(30));
    }
    const arrivalsMs = await Promise.all(arrivals);
    await drain(server, 20_000);
    const verdict = await judge(server, producer);
    const injected = stores.flatMap((store) => Object.values(store.injected));
    const slowest = Math.round(Math.max(...arrivalsMs));
    record({
      fault: name,
      seed: random.seed,
      injected: injected.reduce((sum, count) => sum + count, 0),
      events: producer.acknowledgedCount,
      verdict,
      note: `slowest of ${arrivalsMs.length} deliveries ${slowest} ms`,
    });
    assertClean(verdict);
    return arrivalsMs;
  } finally {
    for (const mill of workers) await mill.stop();
  }
}

async function started(mill: Millrace): Promise<boolean> {
  await mill.start();
  return true;
}

/** Milliseconds until everything acknowledged by now has gone through the first stage. */
async function arrival(server: FaultServer, producer: Producer): Promise<number> {
  const marks = producer.marks();
  return eventually('delivered', 20_000, async () => {
    const rows = await server.rows<{ key: string; seq: number }>(
      `select key, max(seq) as seq from effect where stage = 'ship' group by key`,
    );
    const reached = new Map(rows.map(({ key, seq }) => [key, seq]));
    return [...marks].every(([key, seq]) => (reached.get(key) ?? 0) >= seq);
  });
}

test('every second notice is dropped: Hybrid delivers within poll + 1 s', async () => {
  const random = announcedRandom('lost-notices');
  const arrivalsMs = await run('every 2nd notice dropped, some doubled, late', 'Hybrid', random, {
    noticeDropped: 0.5,
    noticeDoubled: 0.2,
    delayed: 0.2,
  });
  assert.ok(
    Math.max(...arrivalsMs) <= allowedMs(pollMsMost * 1.25 + 1_000),
    `${arrivalsMs.map(Math.round)}`,
  );
});

test('answers of the store get lost, calls are refused', async () => {
  const random = announcedRandom('lost-answers');
  await run('store answers lost, calls refused', 'Hybrid', random, {
    lostAnswer: 0.05,
    refused: 0.03,
    delayed: 0.1,
    noticeDropped: 0.3,
  });
});

test('EventDrivenOnly goes on after answers got lost', async () => {
  const random = announcedRandom('lost-answers-event-driven');
  await run('the same without polling', 'EventDrivenOnly', random, {
    lostAnswer: 0.05,
    refused: 0.03,
  });
});

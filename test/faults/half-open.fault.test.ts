/**
 * Every connection of a worker falls silent without being closed, as when a firewall forgets it:
 * the others take over, the worker notices, its health says so, and with new connections it works
 * again.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { connect } from 'millrace';
import { eventually } from './eventually.ts';
import { allowedMs, assertClean, drain, judge, record, scale } from './ledger.ts';
import { createEffects, subscribePipeline } from './pipeline.ts';
import { Producer } from './producer.ts';
import { CuttingProxy } from './proxy.ts';
import { announcedRandom } from './random.ts';
import { Recoveries } from './recoveries.ts';
import { FaultServer } from './server.ts';

const noticedMsMax = 15_000;
const backMsMax = 90_000;

test('connections that fall silent', { timeout: 180_000 }, async () => {
  const random = announcedRandom('half-open');
  await using server = await FaultServer.started();
  await using proxy = await CuttingProxy.listening(server.port);
  const pace = { heartbeatMs: 200, timeToLiveMs: 1_000, graceMs: 1_000 };
  await using other = await connect(server.url(), pace);
  await createEffects(server);
  const silent = await connect(server.url(proxy.port), { ...pace, connectionsMax: 6 });
  for (const [worker, mill] of Object.entries({ other, silent })) {
    subscribePipeline(mill, { worker, handlerMs: 2 });
    await mill.start();
  }
  const works = async () => {
    const { streams, status } = await silent.health();
    return status === 'ok' && streams.length >= 8;
  };
  await eventually('both share the work', 10_000, works);
  const producer = new Producer(other, random);
  producer.start(100);
  await eventually('under way', 5_000, () => producer.acknowledgedCount > 100);
  const recoveries = new Recoveries(server, producer);
  proxy.freeze();
  proxy.thaw();
  recoveries.noteFault();
  const noticed = async () => (await silent.health()).status !== 'ok';
  const noticedMs = await eventually('health says so', noticedMsMax, noticed, 200);
  // By itself it takes the minute after which a statement counts as lost: for the nightly run.
  if (scale <= 1) proxy.cutAll();
  const backMs = await eventually('it works again', backMsMax, works, 200);
  const recoveriesMs = await recoveries.finish(20_000);
  await producer.stop();
  await drain(server, 20_000);
  const verdict = await judge(server, producer);
  record({
    fault: 'connections fall silent, unclosed',
    seed: random.seed,
    injected: 1,
    events: producer.acknowledgedCount,
    verdict,
    recoveriesMs,
    note: `noticed after ${Math.round(noticedMs)} ms, at work again after ${Math.round(backMs)} ms`,
  });
  await silent.stop();
  assertClean(verdict);
  assert.ok(
    Math.max(...recoveriesMs) <= allowedMs(10_000),
    `recoveries ${recoveriesMs.map(Math.round)}`,
  );
});

/** Connections of a scheduler lose answers or fall silent: each tick is enqueued exactly once. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { openPostgresJobStore } from '../../src/drivers/postgres/jobs/store.ts';
import { createSchedules } from '../../src/jobs/schedule/schedules.ts';
import { eventually } from './eventually.ts';
import { allowedMs, record, scaled } from './ledger.ts';
import { CuttingProxy } from './proxy.ts';
import { announcedRandom } from './random.ts';
import { FaultServer } from './server.ts';
import { judgeTicks, lateness, readTicks, saveSchedules } from './ticks.ts';

const recoveryMsMax = 15_000;

/** A scheduler behind the proxy; `end` resolves when it has stopped. */
async function startScheduler(url: string, answerMs: number) {
  const store = await openPostgresJobStore({ url, migrate: false });
  const errors: string[] = [];
  const schedules = createSchedules({
    schedules: store.schedules,
    onError: (error) => errors.push((error as Error).message),
    answerMs,
  });
  schedules.start();
  return { errors, stop: () => schedules.stop(), close: () => store.close() };
}

test('answers of firings that get lost', { timeout: 120_000 }, async () => {
  const random = announcedRandom('schedule-answers');
  await using server = await FaultServer.started();
  await saveSchedules(server.url(), 4);
  await using proxy = await CuttingProxy.listening(server.port);
  const scheduler = await startScheduler(server.url(proxy.port), 5_000);
  const cuts = scaled(15);
  for (let cut = 0; cut < cuts; cut += 1) {
    const moment = random.chance(0.5) ? 'after-answer' : 'at-once';
    await proxy.cutNext(['millrace_fire_schedule'], moment);
  }
  const before = (await readTicks(server)).length;
  const goesOn = async () => (await readTicks(server)).length > before + 20;
  await eventually('it goes on', 15_000, goesOn);
  await scheduler.stop();
  await scheduler.close();
  const rows = await readTicks(server);
  const verdict = judgeTicks(rows);
  const note = lateness(rows);
  const fault = 'answers of firings lost';
  record({ fault, seed: random.seed, injected: cuts, events: rows.length, verdict, note });
  assert.deepEqual(verdict, { lost: 0, duplicated: 0 });
  assert.ok(scheduler.errors.length > 0, 'it noticed');
});

test('connections of a scheduler that fall silent', { timeout: 120_000 }, async () => {
  await using server = await FaultServer.started();
  await saveSchedules(server.url(), 4);
  await using proxy = await CuttingProxy.listening(server.port);
  const scheduler = await startScheduler(server.url(proxy.port), 1_000);
  await eventually('it fires', 15_000, async () => (await readTicks(server)).length > 40);
  proxy.freeze();
  proxy.thaw();
  const frozenAt = Date.now();
  const recoveryMs = await eventually('it goes on', 60_000, async () => {
    const rows = await readTicks(server);
    // The second: one that was on its way may still arrive.
    return rows.some(({ tick }) => Date.parse(tick) > frozenAt + 1_000);
  });
  await scheduler.stop();
  // Statements on silent connections would be waited for.
  proxy.cutAll();
  await scheduler.close();
  const rows = await readTicks(server);
  const verdict = judgeTicks(rows);
  const events = rows.length;
  const fault = 'scheduler connections silent, unclosed';
  record({ fault, seed: 0, injected: 1, events, verdict, recoveriesMs: [recoveryMs] });
  assert.deepEqual(verdict, { lost: 0, duplicated: 0 });
  assert.ok(recoveryMs <= allowedMs(recoveryMsMax), `${recoveryMs}`);
  assert.match(scheduler.errors.join(), /has not answered for 1000 ms/);
});

/**
 * Jobs that end their worker, eat its memory, never come back or answer what cannot be stored. They
 * come to a rest, quarantined or dead with a clear error; the jobs beside them are all done, and
 * none of those is blamed.
 */
import assert from 'node:assert/strict';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Jobs } from 'millrace';
import { answerNames, defineHarm } from './harm.ts';
import { JobTrial } from './job-trial.ts';
import { scaled } from './ledger.ts';

const harm = defineHarm({ directory: '', worker: '' });
const crashesMax = 3;

async function statuses(jobs: Jobs, ids: readonly string[]): Promise<Record<string, number>> {
  const found: Record<string, number> = {};
  for (const id of ids) {
    const status = (await jobs.get(id))?.status ?? 'gone';
    found[status] = (found[status] ?? 0) + 1;
  }
  return found;
}

test('poison is put away, its neighbours are done', { timeout: 600_000 }, async () => {
  await using trial = await JobTrial.open('jobs-poison');
  const { producer, random, jobs, server } = trial;
  const nodeArgs = ['--max-old-space-size=96'];
  const fleet = await trial.fleet(2, { heartbeatMs: 400, timeToLiveMs: 2_500 }, { nodeArgs });
  const stopped = new AbortController();
  const supervised = fleet.keep(2, stopped.signal);
  producer.start(60);
  const fatal: string[] = [];
  for (let i = 0; i < scaled(4); i += 1) {
    const { id } = await jobs.enqueue(i % 4 === 3 ? harm.Hoard : harm.Exit, undefined);
    fatal.push(id);
    await sleep(random.below(300));
  }
  await sleep(2_000);
  await trial.recover(60_000);
  await trial.judge({
    fault: 'poison ends its workers',
    times: fatal.length,
    crashing: true,
    drainMs: 60_000,
    // Four that are run apart in turn, each for up to five seconds, and three crashes of each.
    recoveryMsMax: 40_000,
    note: `${fleet.crashes.length} workers ended`,
  });
  stopped.abort();
  await supervised;
  assert.deepEqual(await statuses(jobs, fatal), { quarantined: fatal.length });
  const innocent = await server.rows<{ name: string; crashes: number }>(
    `select name, crashes from millrace.job_state
      where status in ('quarantined', 'dead') and name not in ('exit', 'hoard')`,
  );
  assert.deepEqual(innocent, []);
  assert.ok(fleet.crashes.length <= fatal.length * crashesMax, `${fleet.crashes.length} crashes`);
});

test('answers that cannot be stored', { timeout: 120_000 }, async () => {
  await using trial = await JobTrial.open('jobs-answers');
  const { producer, jobs } = trial;
  await trial.fleet(1);
  producer.start(60);
  const verbs = ['return', 'throw'] as const;
  const asked = verbs.flatMap((verb) => answerNames.map((answer) => ({ verb, answer })));
  const enqueued = await jobs.enqueueMany(harm.Answer, asked);
  const endless = await jobs.enqueueMany(harm.Endless, [undefined, undefined]);
  const errors: string[] = [];
  const storable = new Set(['return null', 'return undefined', 'return cause', 'return huge']);
  for (const [i, { verb, answer }] of asked.entries()) {
    const what = `${verb} ${answer}`;
    const ended = await jobs
      .result(enqueued[i] as { id: string; duplicate: boolean }, { timeoutMs: 20_000 })
      .then(
        () => 'completed',
        () => 'failed',
      );
    const view = await jobs.get((enqueued[i] as { id: string }).id);
    if (ended === 'completed' && storable.has(what)) continue;
    const message = view?.error?.message ?? '';
    const said = verb === 'throw' || view?.error?.code === 'RESULT_INVALID';
    if (view?.status === 'dead' && message.length > 0 && message.length < 5_000 && said) continue;
    errors.push(`${what}: ${view?.status}, ${view?.error?.code}: ${message.slice(0, 200)}`);
  }
  for (const one of endless) {
    await assert.rejects(jobs.result(one, { timeoutMs: 20_000 }), { code: 'JOB_FAILED' });
    const view = await jobs.get(one.id);
    if (view?.error?.code !== 'HANDLER_TIMEOUT') errors.push(`endless: ${view?.error?.code}`);
  }
  const times = asked.length + endless.length;
  await trial.judge({ fault: 'answers that cannot be stored', times });
  assert.deepEqual(errors, []);
});

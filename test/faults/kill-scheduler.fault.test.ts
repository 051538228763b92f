/** Scheduler processes are killed while they fire: each tick is enqueued exactly once. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { eventually } from './eventually.ts';
import { allowedMs, record, scaled } from './ledger.ts';
import { announcedRandom } from './random.ts';
import { FaultServer } from './server.ts';
import { judgeTicks, lateness, readTicks, saveSchedules } from './ticks.ts';

const script = fileURLToPath(new URL('./scheduler.ts', import.meta.url));
const recoveryMsMax = 10_000;

/** Scheduler processes; all of them are gone at the end. */
class Schedulers {
  readonly #url: string;
  readonly #children = new Set<ChildProcess>();
  readonly crashes: string[] = [];

  constructor(url: string) {
    this.#url = url;
  }

  get all(): readonly ChildProcess[] {
    return [...this.#children];
  }

  async start(): Promise<ChildProcess> {
    const child = spawn(process.execPath, ['--conditions=millrace-source', script], {
      env: { ...process.env, FAULT_OPTIONS: JSON.stringify({ url: this.#url }) },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#children.add(child);
    child.once('exit', (code, signal) => {
      this.#children.delete(child);
      if (signal === null && code !== 0) this.crashes.push(`${child.pid} ended by ${code}`);
    });
    let output = '';
    await new Promise<void>((resolve) => {
      child.stdout?.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        if (/^ready$/m.test(output)) resolve();
      });
      child.once('exit', () => resolve());
    });
    return child;
  }

  async end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.all.map((child) => this.end(child, 'SIGKILL')));
  }
}

test('SIGKILL of schedulers loses no tick and doubles none', { timeout: 600_000 }, async () => {
  const random = announcedRandom('kill-scheduler');
  await using server = await FaultServer.started();
  await saveSchedules(server.url(), 8);
  await using schedulers = new Schedulers(server.url());
  await Promise.all([schedulers.start(), schedulers.start()]);
  const recoveriesMs: number[] = [];
  let kills = 0;
  for (let round = 0; round < scaled(4); round += 1) {
    await sleep(200 + random.below(400));
    // Both of them, now and then: then nobody fires until another one starts.
    const victims = random.chance(0.3) ? schedulers.all : schedulers.all.slice(0, 1);
    await Promise.all(victims.map((victim) => schedulers.end(victim, 'SIGKILL')));
    kills += victims.length;
    const killedAt = Date.now();
    const started = Promise.all(victims.map(() => schedulers.start()));
    recoveriesMs.push(
      await eventually('ticks fire again', 30_000, async () => {
        const rows = await readTicks(server);
        return rows.some(({ tick }) => Date.parse(tick) > killedAt);
      }),
    );
    await started;
  }
  await sleep(300);
  await Promise.all(schedulers.all.map((child) => schedulers.end(child, 'SIGTERM')));
  const rows = await readTicks(server);
  const verdict = judgeTicks(rows);
  record({
    fault: 'SIGKILL of a scheduler',
    seed: random.seed,
    injected: kills,
    events: rows.length,
    verdict,
    recoveriesMs,
    note: lateness(rows),
  });
  assert.deepEqual(schedulers.crashes, []);
  assert.deepEqual(verdict, { lost: 0, duplicated: 0 });
  assert.ok(rows.length > 8 * 20, `${rows.length} ticks`);
  assert.ok(Math.max(...recoveriesMs) <= allowedMs(recoveryMsMax), String(recoveriesMs));
});

test('a firing whose process is killed under it counts once', { timeout: 60_000 }, async () => {
  await using server = await FaultServer.started();
  await saveSchedules(server.url(), 1);
  await using schedulers = new Schedulers(server.url());
  const lock = new pg.Client({ connectionString: server.url() });
  await lock.connect();
  // The firing waits for this row, inside its transaction, when its process dies.
  await lock.query('begin');
  await lock.query('select 1 from millrace.job_schedule for update');
  const victim = await schedulers.start();
  const waiting = async () => {
    const rows = await server.rows(
      `select 1 from pg_stat_activity
       where wait_event_type = 'Lock' and query like '%fire_schedule%'`,
    );
    return rows.length > 0;
  };
  await eventually('the firing waits', 10_000, waiting);
  await schedulers.end(victim, 'SIGKILL');
  await lock.query('commit');
  await lock.end();
  await schedulers.start();
  await eventually('20 ticks', 10_000, async () => (await readTicks(server)).length >= 20);
  await Promise.all(schedulers.all.map((child) => schedulers.end(child, 'SIGTERM')));
  assert.deepEqual(judgeTicks(await readTicks(server)), { lost: 0, duplicated: 0 });
});

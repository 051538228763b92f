/** Real processes: started, ended, crashed, killed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import * as path from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { eventually } from '../../../test/support/eventually.ts';
import type { WorkerInfo } from '../../ports/jobs.ts';
import { isScaled } from './worker-command.ts';
import { WorkerProcesses, type WorkerProcessesOptions } from './worker-processes.ts';

let directory = '';
before(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'millrace-scaling-'));
});
after(() => rm(directory, { recursive: true, force: true }));

/** A module with this text. */
async function moduleOf(name: string, code: string): Promise<string> {
  const file = path.join(directory, name);
  await writeFile(file, code);
  return file;
}

const waits = 'setInterval(() => {}, 1_000);';

function open(t: TestContext, options: WorkerProcessesOptions) {
  const processes = new WorkerProcesses({ stdio: 'ignore', graceMs: 5_000, ...options });
  const started: number[] = [];
  const stopped: number[] = [];
  const crashed: { pid: number | null; reason: string; restartMs: number }[] = [];
  processes.listen({
    onStarted: ({ pid }) => started.push(pid),
    onStopped: ({ pid }) => stopped.push(pid),
    onCrashed: (worker) => crashed.push(worker),
  });
  t.after(() => processes.close());
  return { processes, started, stopped, crashed };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const busy = (pid: number, running: number) => ({ pid, running }) as WorkerInfo;

describe('worker processes', () => {
  it('are as many as asked for, and the least busy end first', async (t) => {
    const module = await moduleOf('waits.mjs', waits);
    const { processes, started, stopped, crashed } = open(t, { module });
    await processes.scaleTo(3);
    await eventually('they have started', () => started.length === 3);
    assert.equal(await processes.count(), 3);
    assert.ok(started.every(isAlive));
    const [one, two, three] = started as [number, number, number];
    await processes.scaleTo(2, [busy(one, 4), busy(two, 0), busy(three, 1)]);
    await eventually('the idle one is gone', () => stopped.length === 1);
    assert.deepEqual(stopped, [two]);
    await processes.scaleTo(1, []);
    await eventually('then the youngest', () => stopped[1] === three);
    assert.deepEqual(processes.pids, [one]);
    await processes.close();
    assert.ok(!started.some(isAlive));
    assert.deepEqual(crashed, []);
  });

  it('are killed when they do not end', async (t) => {
    const deaf = path.join(directory, 'deaf');
    const code = `import { writeFileSync } from 'node:fs';
      process.on('SIGTERM', () => {}); writeFileSync('${deaf}', ''); ${waits}`;
    const module = await moduleOf('stubborn.mjs', code);
    const { processes, stopped } = open(t, { module, graceMs: 100 });
    await processes.scaleTo(1);
    await eventually('it is deaf', () => existsSync(deaf));
    const since = performance.now();
    await processes.scaleTo(0);
    await eventually('it is gone', () => stopped.length === 1);
    assert.ok(performance.now() - since >= 99, 'it had its grace');
  });

  it('are replaced when they crash', async (t) => {
    const module = await moduleOf('waits.mjs', waits);
    const { processes, started, crashed } = open(t, { module, restartMs: 20 });
    await processes.scaleTo(2);
    await eventually('they have started', () => started.length === 2);
    process.kill(started[0] as number, 'SIGKILL');
    await eventually('there is another one', () => started.length === 3);
    assert.deepEqual(
      crashed.map(({ pid, reason }) => [pid, reason]),
      [[started[0], 'it ended by SIGKILL']],
    );
    assert.deepEqual(new Set(processes.pids), new Set(started.slice(1)));
  });

  it('that cannot live are started later and later', async (t) => {
    const module = await moduleOf('fails.mjs', 'process.exit(3);');
    const { processes, crashed } = open(t, { module, restartMs: 10 });
    await processes.scaleTo(1);
    await eventually('it has tried', () => crashed.length === 4);
    assert.match(crashed[0]?.reason ?? '', /exit code 3/);
    assert.deepEqual(
      crashed.slice(0, 4).map(({ restartMs }) => restartMs),
      [10, 20, 40, 80],
    );
  });

  it('may be any command, and one that does not exist is said', async (t) => {
    const sleeping = open(t, { command: 'sleep', args: ['100'] });
    await sleeping.processes.scaleTo(1);
    await eventually('it has started', () => sleeping.started.length === 1);
    await sleeping.processes.close();
    assert.equal(sleeping.stopped.length, 1);
    const missing = open(t, { command: '/no/such/program', restartMs: 10 });
    await missing.processes.scaleTo(1);
    const [crash] = await eventually('it is told', () => missing.crashed[1] && missing.crashed);
    assert.equal(crash?.pid, null);
    assert.match(crash?.reason ?? '', /could not be started.*ENOENT/);
  });

  it('know that they are scaled, and get what is theirs', async (t) => {
    const file = path.join(directory, 'told.json');
    const code = `import { writeFileSync } from 'node:fs';
      const { MILLRACE_SCALED, COLOR } = process.env;
      const told = [MILLRACE_SCALED, COLOR, process.argv.slice(2), process.cwd()];
      writeFileSync(${JSON.stringify(file)}, JSON.stringify(told)); ${waits}`;
    const module = new URL(`file://${await moduleOf('tells.mjs', code)}`);
    const env = () => ({ COLOR: 'green' });
    const { processes } = open(t, { module, env, args: ['a', 'b'], cwd: directory });
    await processes.scaleTo(1);
    const told = await eventually('it has told', async () => {
      const text = await readFile(file, 'utf8').catch(() => '');
      return text === '' ? null : (JSON.parse(text) as unknown[]);
    });
    assert.deepEqual(told, ['1', 'green', ['a', 'b'], await realpath(directory)]);
    assert.deepEqual([isScaled({ MILLRACE_SCALED: '1' }), isScaled({})], [true, false]);
  });

  it('end with the process that started them, however it ended', async (t) => {
    const worker = await moduleOf('waits.mjs', waits);
    const source = new URL('./worker-processes.ts', import.meta.url).href;
    const scaler = await moduleOf(
      'scaler.mjs',
      `import { WorkerProcesses } from '${source}';
       const processes = new WorkerProcesses({ module: '${worker}', stdio: 'ignore' });
       processes.listen({ onStarted: ({ pid }) => console.log(pid) });
       await processes.scaleTo(2);`,
    );
    const child = spawn(process.execPath, ['--conditions=millrace-source', scaler], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    let said = '';
    child.stdout.on('data', (text) => {
      said += text;
    });
    const pids = await eventually('they have started', () => {
      const found = said.match(/\d+/g)?.map(Number) ?? [];
      return found.length === 2 && found.every(isAlive) && found;
    });
    child.kill('SIGKILL');
    await once(child, 'exit');
    await eventually('they are gone', () => !pids.some(isAlive));
  });

  it('need something to run', () => {
    assert.throws(() => new WorkerProcesses({ module: 'a.js', command: 'b' }), {
      code: 'CONFIG_INVALID',
    });
  });
});

/**
 * Who owns an embedded server, and what becomes of it when processes race, are interrupted or die.
 * The owners here are processes of their own, ended by their handles.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { createInterface } from 'node:readline';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startEmbeddedPostgres } from './launcher.ts';
import { isAlive, isPostmasterOf, startStamp } from './processes.ts';
import {
  assertRejectsWith,
  endBeforeRemoval,
  query,
  start,
  temporaryDirectory,
} from './test-server.ts';

const posix = { skip: process.platform === 'win32' ? 'signals differ on Windows' : false };

describe('two owners', () => {
  it('in one process: the second is refused', async (t) => {
    const directory = await temporaryDirectory(t);
    await start(directory);
    const second = startEmbeddedPostgres({ directory });
    await assertRejectsWith(second, 'EMBEDDED_BUSY', /is run by this process already/);
  });

  it('in two processes: the second is refused and told the pid of the first', async (t) => {
    const directory = await temporaryDirectory(t);
    const owner = await startOwner(directory);
    const second = startEmbeddedPostgres({ directory });
    const busy = new RegExp(`is run by process ${owner.pid}$`);
    const error = await assertRejectsWith(second, 'EMBEDDED_BUSY', busy);
    assert.deepEqual(error.details, { directory, pid: owner.pid });
    assert.ok(isAlive(owner.serverPid));
  });

  it('that race for a fresh directory: exactly one gets it', async (t) => {
    const directory = await temporaryDirectory(t);
    const settings = { shared_buffers: '16MB' };
    const tries = Array.from({ length: 4 }, () => startEmbeddedPostgres({ directory, settings }));
    const results = await Promise.allSettled(tries);
    const started = results.filter((result) => result.status === 'fulfilled');
    for (const { value } of started) await value.stop();
    assert.equal(started.length, 1);
  });

  it('a server that somebody started by hand on the data is not touched', posix, async (t) => {
    const directory = await temporaryDirectory(t);
    const owner = await startOwner(directory);
    await fs.rm(path.join(directory, 'owner.json'));
    const second = startEmbeddedPostgres({ directory });
    const busy = new RegExp(`is run by process ${owner.serverPid}$`);
    await assertRejectsWith(second, 'EMBEDDED_BUSY', busy);
    assert.ok(isAlive(owner.serverPid));
  });

  it('a claim whose pid is another process by now counts for nothing', async (t) => {
    const directory = await temporaryDirectory(t);
    const stale = { claim: 'x', pid: process.ppid, started: '1', socketDirectory: null };
    await fs.writeFile(path.join(directory, 'owner.json'), JSON.stringify(stale));
    const server = await start(directory);
    assert.deepEqual(await query(server.url, 'select 1 as n'), [{ n: 1 }]);
  });

  it('half a claim, left by a full disk, counts for nothing', async (t) => {
    const directory = await temporaryDirectory(t);
    await fs.writeFile(path.join(directory, 'owner.json'), '{"pi');
    const server = await start(directory);
    assert.deepEqual(await query(server.url, 'select 1 as n'), [{ n: 1 }]);
  });
});

describe('an owner that ends', () => {
  it('by SIGKILL takes its server with it, cleanly', posix, async (t) => {
    const directory = await temporaryDirectory(t);
    const owner = await startOwner(directory);
    await query(owner.url, 'create table kept as select 41 as n');
    owner.process.kill('SIGKILL');
    await eventually(async () => !isAlive(owner.serverPid));
    const log = await fs.readFile(path.join(directory, 'postgres.log'), 'utf8');
    assert.match(log, /database system is shut down/);
    const server = await start(directory);
    assert.deepEqual(await query(server.url, 'select n from kept'), [{ n: 41 }]);
  });

  it('together with its watcher leaves a server that the next start stops', posix, async (t) => {
    const directory = await temporaryDirectory(t);
    const owner = await startOwner(directory);
    await query(owner.url, 'create table kept as select 41 as n');
    process.kill(watcherOf(owner.pid), 'SIGKILL');
    owner.process.kill('SIGKILL');
    await eventually(async () => (await startStamp(owner.pid)) === null);
    await sleep(300); // a watcher would have acted by now
    assert.ok(await isPostmasterOf(owner.serverPid, path.join(directory, 'data')));
    const lines: string[] = [];
    const server = await start(directory, { onLog: (line) => lines.push(line) });
    assert.deepEqual(lines, [
      `stopping the server ${owner.serverPid} that a process left behind when it died`,
    ]);
    assert.deepEqual(await query(server.url, 'select n from kept'), [{ n: 41 }]);
  });

  it('without a word ends by itself: an open server does not keep it alive', posix, async (t) => {
    const directory = await temporaryDirectory(t);
    const owner = await startOwner(directory, '');
    await eventually(async () => owner.process.exitCode === 0);
    await eventually(async () => !isAlive(owner.serverPid));
  });

  it(
    'by Ctrl-C drains first: the signal of the terminal does not reach the server',
    posix,
    async (t) => {
      const directory = await temporaryDirectory(t);
      const owner = await startOwner(
        directory,
        `process.on('SIGINT', async () => {
        const client = new pg.Client(server.url);
        await new Promise((resolve) => setTimeout(resolve, 200));
        await client.connect();
        const { rows } = await client.query("select 'drained' as word");
        await client.end();
        await server.stop();
        console.log(rows[0].word);
        process.exit(0);
      });
      setInterval(() => undefined, 1000);`,
      );
      process.kill(-owner.pid, 'SIGINT'); // the whole process group, as a terminal does
      assert.equal(await owner.nextLine(), 'drained');
      assert.equal(isAlive(owner.serverPid), false);
    },
  );
});

interface OwnerProcess {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly serverPid: number;
  readonly url: string;
  nextLine(): Promise<string>;
}

/** A process that starts a server in the directory and then runs `body`. */
async function startOwner(
  directory: string,
  body = 'setInterval(() => undefined, 1000);',
): Promise<OwnerProcess> {
  const script = `
    import pg from 'pg';
    import { startEmbeddedPostgres } from ${JSON.stringify(import.meta.resolve('./launcher.ts'))};
    const settings = { shared_buffers: '16MB' };
    const directory = ${JSON.stringify(directory)};
    const server = await startEmbeddedPostgres({ directory, settings });
    void pg;
    // The test process holds the other end: should it die, so do we.
    process.stdin.on('end', () => process.exit()).resume().unref();
    ${body}
    console.log(JSON.stringify({ serverPid: server.pid, url: server.url }));`;
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], {
    cwd: import.meta.dirname,
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true, // a process group of its own, to be interrupted as a whole
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string> => String((await lines.next()).value);
  const told = JSON.parse(await nextLine()) as { serverPid: number; url: string };
  endBeforeRemoval(directory, async () => {
    child.kill('SIGKILL');
    await eventually(async () => !isAlive(told.serverPid));
  });
  return { process: child, pid: child.pid as number, ...told, nextLine };
}

/** The pid of the watcher that this owner started. */
function watcherOf(ownerPid: number): number {
  const table = execFileSync('ps', ['-eo', 'pid=,ppid=,args='], { encoding: 'utf8' });
  const line = table
    .split('\n')
    .map((row) => row.trim().split(/\s+/))
    .find(([, ppid, ...args]) => ppid === String(ownerPid) && args.includes('millrace-watcher'));
  return Number(line?.[0] ?? assert.fail('no watcher'));
}

async function eventually(check: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    if (await check()) return;
    await sleep(50);
  }
  assert.fail('it did not happen within 10 s');
}

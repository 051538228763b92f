/**
 * One running server process: spawned, watched until ready, stopped.
 *
 * The server is not in our process group, so Ctrl-C in a terminal reaches only us: we drain first
 * and stop it after. It never keeps our event loop alive. Its output goes straight to a file, not
 * through us: a busy process of ours can never make it wait.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { MillraceError } from '../../../core/errors.ts';
import { type Binaries, cannotRun, programPath } from './binaries.ts';
import { busy } from './claim.ts';
import { isLoaderFailure, serverEnvironment } from './cluster.ts';
import type { DataDirectory } from './data-directory.ts';
import { type Identity, launchAs } from './identity.ts';
import { readServerLock } from './server-lock.ts';
import { watchOurselves } from './watcher.ts';

export type StopMode = 'fast' | 'immediate';

export interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ServerProcess {
  readonly pid: number;
  readonly exited: Promise<ServerExit>;
  stop(mode: StopMode): Promise<void>;
  kill(): Promise<void>;
}

const logMax = 10 * 1024 * 1024;
/** Recovery replays at most 2 GB of WAL: under a minute here, five on a slow disk. */
const startMsMax = 300_000;
/** After this a fast shutdown becomes an immediate one: crash recovery then does the checkpoint. */
const fastStopMsMax = 60_000;

/**
 * Starts the server and waits until it accepts connections (30 ms; longer after a crash).
 * @throws MillraceError EMBEDDED_START_FAILED with the last lines of its log, EMBEDDED_BUSY.
 */
export async function startServer(
  directory: DataDirectory,
  identity: Identity,
  binaries: Binaries,
  args: readonly string[],
): Promise<ServerProcess> {
  await rotateLog(directory.logFile);
  const deadline = Date.now() + 10_000;
  for (;;) {
    const logFrom = await sizeOf(directory.logFile);
    const server = await spawnServer(directory, identity, binaries, args);
    const failure = await waitUntilReady(server, directory.data);
    if (failure === null) return server;
    const log = await readFrom(directory.logFile, logFrom);
    // The children of a killed server need some ms to notice and to leave its shared memory.
    if (/pre-existing shared memory block/.test(log) && Date.now() < deadline) {
      await sleep(50);
      continue;
    }
    throw await explain(directory, binaries, failure, log);
  }
}

async function spawnServer(
  directory: DataDirectory,
  identity: Identity,
  binaries: Binaries,
  args: readonly string[],
): Promise<ServerProcess> {
  const program = programPath(binaries, 'postgres');
  const launch = launchAs(identity, program, ['-D', directory.data, ...args]);
  const log = await fs.open(directory.logFile, 'a', 0o600);
  try {
    const child = spawn(launch.file, launch.args, {
      ...launch.options,
      cwd: '/',
      env: serverEnvironment(),
      detached: process.platform !== 'win32',
      windowsHide: true,
      stdio: ['ignore', log.fd, log.fd],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    return superviseServer(child, directory, identity, binaries);
  } catch (cause) {
    throw cannotRun(binaries, (cause as Error).message, cause);
  } finally {
    await log.close();
  }
}

function superviseServer(
  child: ChildProcess,
  directory: DataDirectory,
  identity: Identity,
  binaries: Binaries,
): ServerProcess {
  const pid = child.pid as number;
  const watcher = watchOurselves(identity, directory.data, pid);
  const exited = new Promise<ServerExit>((resolve) => {
    child.once('exit', (code, signal) => {
      watcher.stop();
      resolve({ code, signal });
    });
  });
  child.unref();
  const endWith = async (signal: NodeJS.Signals): Promise<void> => {
    child.ref(); // else the event loop could end before the server does
    child.kill(signal);
    await exited;
  };
  let stopping: Promise<void> | undefined;
  const stop = async (mode: StopMode): Promise<void> => {
    if (process.platform === 'win32') {
      child.ref();
      const args = ['stop', '-D', directory.data, '-m', mode];
      await promisify(execFile)(programPath(binaries, 'pg_ctl'), args);
      await exited;
      return;
    }
    if (mode === 'immediate') return endWith('SIGQUIT');
    const patience = setTimeout(() => child.kill('SIGQUIT'), fastStopMsMax);
    await endWith('SIGINT').finally(() => clearTimeout(patience));
  };
  return {
    pid,
    exited,
    stop: (mode) => {
      if (mode === 'immediate' && stopping !== undefined) child.kill('SIGQUIT'); // in a hurry now
      stopping ??= stop(mode);
      return stopping;
    },
    kill: () => endWith('SIGKILL'),
  };
}

/** Null when the server is ready, else how it ended. */
async function waitUntilReady(server: ServerProcess, data: string): Promise<ServerExit | null> {
  let ended: ServerExit | undefined;
  void server.exited.then((exit) => {
    ended = exit;
  });
  const deadline = Date.now() + startMsMax;
  for (let waitMs = 2; Date.now() < deadline; waitMs = Math.min(waitMs * 1.3, 100)) {
    if (ended !== undefined) return ended;
    const lock = await readServerLock(data);
    if (lock?.pid === server.pid && lock.ready) return null;
    await sleep(waitMs);
  }
  await server.stop('immediate');
  return server.exited;
}

async function explain(
  directory: DataDirectory,
  binaries: Binaries,
  { code, signal }: ServerExit,
  log: string,
): Promise<MillraceError> {
  if (/lock file "postmaster\.pid" already exists/.test(log)) {
    return busy(directory.root, (await readServerLock(directory.data))?.pid ?? null);
  }
  if (isLoaderFailure(code, log)) return cannotRun(binaries, log.trim());
  const lines = log.trim().split('\n').slice(-10).join('\n');
  const how = signal === null ? `code ${code}` : `signal ${signal}`;
  return new MillraceError(
    'EMBEDDED_START_FAILED',
    `the embedded Postgres in ${directory.root} ended with ${how} while starting:\n${lines}`,
    { fix: fixFor(log, directory.logFile), details: { code, signal } },
  );
}

function fixFor(log: string, logFile: string): string {
  if (/Address already in use/.test(log)) return 'Choose another port, or leave the port out.';
  if (/No space left on device/.test(log)) return 'Free some disk space.';
  if (/could not map anonymous shared memory|Cannot allocate memory/.test(log)) {
    return 'Give the server more memory, or a smaller settings.shared_buffers.';
  }
  if (/unrecognized configuration parameter|invalid value for parameter/.test(log)) {
    return 'Correct the option `settings`.';
  }
  return `The whole log is in ${logFile}.`;
}

async function rotateLog(file: string): Promise<void> {
  if ((await sizeOf(file)) > logMax) await fs.rename(file, `${file}.1`);
}

async function sizeOf(file: string): Promise<number> {
  return fs.stat(file).then(
    (stats) => stats.size,
    () => 0,
  );
}

async function readFrom(file: string, position: number): Promise<string> {
  const text = await fs.readFile(file).catch(() => Buffer.alloc(0));
  return text.subarray(position).toString('utf8');
}

/**
 * Postgres' own lock file, postmaster.pid, and the server that an earlier process left running.
 *
 * Invariant: a server is stopped only when the process that owned it is dead. A dead owner normally
 * leaves no server behind (watcher.ts); here is what catches the rest.
 */
import * as fs from 'node:fs/promises';
import * as net from 'node:net';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { busy } from './claim.ts';
import { isAlive, isPostmasterOf } from './processes.ts';

/** What Postgres writes to postmaster.pid: one value a line. */
export interface ServerLock {
  readonly pid: number;
  readonly port: number;
  readonly socketDirectory: string;
  readonly ready: boolean;
}

export async function readServerLock(data: string): Promise<ServerLock | null> {
  const text = await fs.readFile(path.join(data, 'postmaster.pid'), 'utf8').catch(() => null);
  if (text === null) return null;
  const lines = text.split('\n').map((line) => line.trim());
  const pid = Number(lines[0]);
  if (!Number.isSafeInteger(pid) || pid === 0) return null;
  const [port, socketDirectory] = [Number(lines[3] ?? 0), lines[4] ?? ''];
  return { pid: Math.abs(pid), port, socketDirectory, ready: lines[7] === 'ready' };
}

/**
 * Makes sure no server runs on the data: stops one whose owner died, removes a lock file whose pid
 * belongs to something else now. A lock of a dead process is left to Postgres, which checks more.
 * @throws MillraceError EMBEDDED_BUSY for a server that somebody else started.
 */
export async function clearServer(
  root: string,
  data: string,
  inherited: boolean,
  onLog: (line: string) => void,
): Promise<void> {
  const lock = await readServerLock(data);
  if (lock === null) return;
  if (await isPostmasterOf(lock.pid, data)) {
    if (!inherited) throw busy(root, lock.pid);
    onLog(`stopping the server ${lock.pid} that a process left behind when it died`);
    await stopOrphan(root, lock.pid, data);
  } else if (await socketAnswers(lock)) {
    throw busy(root, null); // a server in another container: its pid means nothing here
  } else if (isAlive(lock.pid)) {
    await fs.rm(path.join(data, 'postmaster.pid'), { force: true });
  }
}

/** Fast shutdown, then without checkpoint, then by force; crash recovery makes up for each. */
async function stopOrphan(root: string, pid: number, data: string): Promise<void> {
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    try {
      process.kill(pid, signal);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'EPERM') throw busy(root, pid);
      return;
    }
    const deadline = Date.now() + 15_000;
    while (Date.now() < deadline) {
      if (!(await isPostmasterOf(pid, data))) return;
      await sleep(20);
    }
  }
  throw busy(root, pid);
}

/** SSLRequest (PostgreSQL protocol, 54.7): every server answers it with one byte, at once. */
const sslRequest = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);

/**
 * Whether a server is there. A connection alone says nothing: the children of a server that was
 * just killed may hold its socket open for a moment, and the kernel connects to that as well. It
 * ends with them; one that stays and is silent counts as a server that is busy.
 */
function socketAnswers({ socketDirectory, port }: ServerLock): Promise<boolean> {
  if (socketDirectory === '' || process.platform === 'win32') return Promise.resolve(false);
  return new Promise((resolve) => {
    const socket = net.connect(path.join(socketDirectory, `.s.PGSQL.${port}`));
    let connected = false;
    const answer = (value: boolean) => {
      resolve(value);
      socket.destroy();
    };
    socket.setTimeout(5000, () => answer(connected));
    socket.once('connect', () => {
      connected = true;
      socket.write(sslRequest);
    });
    socket.once('data', () => answer(true));
    socket.once('error', () => answer(false));
    socket.once('close', () => answer(false));
  });
}

/**
 * Is that process still the one we mean? Process ids are used again, in containers at once (every
 * restart begins at 1), so a pid alone names nobody. Here a process is a pid with its start time.
 */
import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * A text that differs between processes that had the same pid; null when there is no such process
 * (a zombie counts as none). On Windows it is `alive` for every living process.
 */
export async function startStamp(pid: number): Promise<string | null> {
  if (!isAlive(pid)) return null;
  if (process.platform === 'linux') return linuxStamp(pid);
  if (process.platform === 'win32') return 'alive';
  return psColumn(pid, 'lstart');
}

/** Linux: start time in clock ticks since boot, field 22 of /proc/<pid>/stat (proc(5)). */
async function linuxStamp(pid: number): Promise<string | null> {
  const stat = await fs.readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null);
  if (stat === null) return null;
  // Field 2 is the name in parentheses and may hold spaces: count from the last parenthesis on.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? null : (fields[19] ?? null);
}

/** True when the process is a Postgres server on that data directory, as far as one can see. */
export async function isPostmasterOf(pid: number, dataDirectory: string): Promise<boolean> {
  if ((await startStamp(pid)) === null) return false;
  if (process.platform === 'linux') {
    // A postmaster's working directory is its data directory.
    const cwd = await fs.readlink(`/proc/${pid}/cwd`).catch(() => null);
    if (cwd !== null) return cwd === dataDirectory;
    const command = await fs.readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return command.includes('postgres');
  }
  if (process.platform === 'win32') return true;
  return (await psColumn(pid, 'command'))?.includes('postgres') ?? false;
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'EPERM'; // alive, somebody else's
  }
}

async function psColumn(pid: number, column: string): Promise<string | null> {
  try {
    const { stdout } = await run('ps', ['-o', `${column}=`, '-p', String(pid)]);
    return stdout.trim() || null;
  } catch {
    return null;
  }
}

/**
 * One process owns an embedded server's directory: the claim is the file `owner.json`.
 *
 * Invariant: a claim is taken over only from an owner that is dead (its pid is gone, or belongs to
 * another process now). Should two processes ever believe they own it, Postgres' own lock file
 * (server-lock.ts) lets one of them start and the other report EMBEDDED_BUSY.
 */
import { randomUUID } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MillraceError } from '../../../core/errors.ts';
import { removeLeftovers } from './data-directory.ts';
import { startStamp } from './processes.ts';
import { removeSocketDirectory } from './socket-directory.ts';

interface Owner {
  readonly claim: string;
  readonly pid: number;
  readonly started: string | null;
  readonly socketDirectory: string | null;
}

export interface Claim {
  /** True when the claim was taken over from an owner that died without stopping its server. */
  readonly inherited: boolean;
  /** Records the socket directory, for whoever must clean up after us. */
  record(socketDirectory: string): Promise<void>;
  /** Gives the directory back. Harmless when the claim is no longer ours. */
  release(): Promise<void>;
}

/**
 * Claims the directory for this process.
 * @throws MillraceError EMBEDDED_BUSY naming the process that has it.
 */
export async function claimDirectory(root: string): Promise<Claim> {
  const file = path.join(root, 'owner.json');
  const mine: Owner = {
    claim: randomUUID(),
    pid: process.pid,
    started: await startStamp(process.pid),
    socketDirectory: null,
  };
  let inherited = false;
  for (let tries = 0; tries < 20; tries += 1) {
    if (await writeNew(file, mine)) {
      await removeLeftovers(root);
      return claimHandle(file, mine, inherited);
    }
    const owner = await readOwner(file);
    if (owner === null) {
      await sleep(50); // released, or being written at this moment
      if (tries > 10) await fs.rm(file, { force: true }); // half a file: a full disk
      continue;
    }
    if (await lives(owner)) throw busy(root, owner.pid);
    if (await removeClaim(file, owner)) {
      inherited = true;
      if (owner.socketDirectory !== null) await removeSocketDirectory(root, owner.socketDirectory);
    }
  }
  throw busy(root, null);
}

function claimHandle(file: string, mine: Owner, inherited: boolean): Claim {
  return {
    inherited,
    record: async (socketDirectory) => {
      const next = `${file}.${mine.claim}`;
      await fs.writeFile(next, JSON.stringify({ ...mine, socketDirectory }));
      await fs.rename(next, file);
    },
    release: async () => {
      await removeClaim(file, mine);
    },
  };
}

async function writeNew(file: string, owner: Owner): Promise<boolean> {
  try {
    await fs.writeFile(file, JSON.stringify(owner), { flag: 'wx' });
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw cause;
  }
}

async function readOwner(file: string): Promise<Owner | null> {
  try {
    const owner = JSON.parse(await fs.readFile(file, 'utf8')) as Owner;
    return typeof owner.pid === 'number' ? owner : null;
  } catch {
    return null;
  }
}

async function lives(owner: Owner): Promise<boolean> {
  const stamp = await startStamp(owner.pid);
  return stamp !== null && (owner.started === null || owner.started === stamp);
}

/**
 * Removes a claim unless it changed hands since it was read: it is moved aside first, and put back
 * when it turns out to be somebody else's.
 */
async function removeClaim(file: string, owner: Owner): Promise<boolean> {
  const aside = `${file}.${randomUUID()}`;
  try {
    await fs.rename(file, aside);
  } catch {
    return false; // somebody else removed it
  }
  if ((await readOwner(aside))?.claim !== owner.claim) {
    await fs.rename(aside, file);
    return false;
  }
  await fs.rm(aside, { force: true });
  return true;
}

export function busy(root: string, pid: number | null): MillraceError {
  const who =
    pid === null
      ? 'another process'
      : pid === process.pid
        ? 'this process already'
        : `process ${pid}`;
  return new MillraceError('EMBEDDED_BUSY', `the embedded Postgres in ${root} is run by ${who}`, {
    fix:
      pid === process.pid
        ? 'Open it once per process and share the connection.'
        : `Stop ${who}, choose another directory, or connect to a Postgres server by its URL.`,
    details: { directory: root, pid },
  });
}

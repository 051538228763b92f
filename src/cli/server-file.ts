/**
 * Where the process that runs a data directory can be reached: `server.json` beside the database.
 * A hint, never the truth: whoever reads it asks the address, and believes it only when the process
 * that answers is the one that wrote it.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export interface ServerAddress {
  readonly url: string;
  readonly pid: number;
  readonly workerId: string;
}

const fileIn = (data: string) => join(data, 'server.json');
const answerMs = 2_000;

export async function writeServerFile(data: string, address: ServerAddress): Promise<void> {
  const next = `${fileIn(data)}.${address.pid}`;
  await writeFile(next, `${JSON.stringify(address)}\n`, { mode: 0o600 });
  await rename(next, fileIn(data));
}

/** Removes the file if it is still ours. */
export async function removeServerFile(data: string, workerId: string): Promise<void> {
  const written = await readServerFile(data);
  if (written?.workerId === workerId) await rm(fileIn(data), { force: true });
}

async function readServerFile(data: string): Promise<ServerAddress | null> {
  try {
    const read = JSON.parse(await readFile(fileIn(data), 'utf8')) as ServerAddress;
    return typeof read.url === 'string' && typeof read.workerId === 'string' ? read : null;
  } catch {
    return null;
  }
}

/** The live server of this directory, or null. */
export async function findServer(data: string): Promise<ServerAddress | null> {
  const address = await readServerFile(data);
  if (address === null) return null;
  try {
    const response = await fetch(`${address.url}/health`, {
      signal: AbortSignal.timeout(answerMs),
    });
    const health = (await response.json()) as { workerId?: string };
    return health.workerId === address.workerId ? address : null;
  } catch {
    return null;
  }
}

/**
 * The directory of the server's unix socket. Its mode is what guards the connection: the server
 * trusts whoever can enter, and only the server's user and root can.
 */
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { unusable } from './data-directory.ts';
import { canReach, handOver, type Identity } from './identity.ts';

/** The system's limit for a socket path, less the longest name, `/.s.PGSQL.65535`. */
const socketDirectoryMax = (process.platform === 'darwin' ? 103 : 107) - '/.s.PGSQL.65535'.length;

/**
 * A directory for the socket with a path short enough for the system: `run` beside the data, else
 * a fresh one under the temporary directory, which goes when the server stops.
 */
export async function makeSocketDirectory(root: string, identity: Identity): Promise<string> {
  const beside = path.join(root, 'run');
  if (Buffer.byteLength(beside) <= socketDirectoryMax) {
    // What a killed server left there names a pid that may be another process by now.
    await fs.rm(beside, { recursive: true, force: true });
    await fs.mkdir(beside, { mode: 0o700 });
    await handOver(beside, identity);
    return beside;
  }
  for (const parent of [os.tmpdir(), '/tmp']) {
    const longest = path.join(parent, 'millrace-XXXXXX');
    if (Buffer.byteLength(longest) > socketDirectoryMax) continue;
    if (identity.how !== 'ourselves' && !(await canReach(identity, parent))) continue;
    const made = await fs.mkdtemp(path.join(parent, 'millrace-'));
    await handOver(made, identity);
    return made;
  }
  const problem = `has a path too long for a socket (${socketDirectoryMax} bytes at most)`;
  throw unusable(root, problem);
}

/** Removes a socket directory that is not beside the data. */
export async function removeSocketDirectory(root: string, socketDirectory: string): Promise<void> {
  if (path.dirname(socketDirectory) === root) return;
  if (!path.basename(socketDirectory).startsWith('millrace-')) return;
  await fs.rm(socketDirectory, { recursive: true, force: true });
}

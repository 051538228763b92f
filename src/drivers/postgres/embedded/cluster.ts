/**
 * Makes the database cluster with initdb.
 *
 * Invariant: `data` appears by one rename of a complete cluster, so a crash inside initdb leaves
 * nothing that looks like data, and of two processes that make it at once one wins.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { MillraceError } from '../../../core/errors.ts';
import { type Binaries, cannotRun, programPath } from './binaries.ts';
import { type DataDirectory, ignoreExisting, unusable } from './data-directory.ts';
import { handOver, type Identity, launchAs } from './identity.ts';

const passwordFile = 'millrace.password';

/** Makes the database cluster (0.5 s). Does nothing when another process just made it. */
export async function createCluster(
  directory: DataDirectory,
  identity: Identity,
  binaries: Binaries,
): Promise<void> {
  if (identity.how === 'other-user') await letEnter(directory.root);
  const staging = await fs.mkdtemp(path.join(directory.root, 'init-'));
  try {
    const password = path.join(staging, passwordFile);
    await fs.writeFile(password, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 });
    await handOver(staging, identity);
    await handOver(password, identity);
    await runInitdb(path.join(staging, 'data'), password, identity, binaries);
    await fs.rename(password, path.join(staging, 'data', passwordFile));
    await fs.rename(path.join(staging, 'data'), directory.data).catch(ignoreExisting);
    await syncDirectory(directory.root);
  } finally {
    await fs.rm(staging, { recursive: true, force: true });
  }
}

async function runInitdb(
  data: string,
  password: string,
  identity: Identity,
  binaries: Binaries,
): Promise<void> {
  // Socket: trust, guarded by the directory's mode. TCP: a password, since every user of the
  // machine reaches 127.0.0.1 and a superuser of Postgres may run programs.
  const args = ['-D', data, '-U', 'postgres', '--no-locale', '-E', 'UTF8', '--no-instructions'];
  args.push('--auth-local=trust', '--auth-host=scram-sha-256', `--pwfile=${password}`);
  const launch = launchAs(identity, programPath(binaries, 'initdb'), args);
  const options = { ...launch.options, env: serverEnvironment(), cwd: path.parse(data).root };
  try {
    await promisify(execFile)(launch.file, launch.args, options);
  } catch (cause) {
    const failure = cause as { code?: unknown; stderr?: string; message: string };
    const reason = failure.stderr?.trim() || failure.message;
    if (isLoaderFailure(failure.code, reason)) throw cannotRun(binaries, reason, cause);
    throw new MillraceError('EMBEDDED_START_FAILED', `initdb failed: ${reason}`, {
      fix: 'Check free space and permissions of the directory; the message above is of initdb.',
      cause,
    });
  }
}

/** True for a program that could not be loaded: wrong C library, missing library, no file. */
export function isLoaderFailure(code: unknown, output: string): boolean {
  if (code === 126 || code === 127 || code === 'ENOENT' || code === 'ENOEXEC') return true;
  return /error while loading shared libraries|Library not loaded/.test(output);
}

/** No PG… variable and no secret reaches the server; a fixed locale keeps its log English. */
export function serverEnvironment(): NodeJS.ProcessEnv {
  const kept = ['PATH', 'LD_LIBRARY_PATH', 'SystemRoot', 'TEMP', 'TMP', 'TMPDIR', 'USERPROFILE'];
  const present = kept.filter((name) => process.env[name] !== undefined);
  return { ...Object.fromEntries(present.map((name) => [name, process.env[name]])), LC_ALL: 'C' };
}

/** The password of user postgres for connections by TCP. */
export async function readPassword(directory: DataDirectory): Promise<string> {
  const file = path.join(directory.data, passwordFile);
  const text = await fs.readFile(file, 'utf8').catch((cause: unknown) => {
    throw unusable(directory.root, `has lost its password file ${file}`, cause);
  });
  return text.trim();
}

/** The server's user passes through our directory but cannot list or change it. */
async function letEnter(root: string): Promise<void> {
  const { mode } = await fs.stat(root);
  await fs.chmod(root, (mode & 0o7777) | 0o011);
}

async function syncDirectory(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await fs.open(directory);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

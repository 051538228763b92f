/**
 * The directory of an embedded server: its layout, and what may be in it before we take it.
 *
 *   <directory>/data          the data directory of Postgres, made by initdb, mode 0700
 *   <directory>/run           its socket, mode 0700: who cannot enter cannot connect
 *   <directory>/postgres.log  what the server logs; the one before is postgres.log.1
 *   <directory>/owner.json    the process that runs the server (ownership.ts)
 *
 * Invariant: nothing is written before the directory is known to be empty or ours.
 */
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { MillraceError } from '../../../core/errors.ts';

export interface DataDirectory {
  readonly root: string;
  readonly data: string;
  readonly logFile: string;
  readonly hasData: boolean;
  readonly owner: { readonly uid: number; readonly gid: number; readonly hasData: boolean };
}

const ours = /^(data|run|postgres\.log|postgres\.log\.1|owner\.json.*|init-.*)$/;
/** Put there by file systems, editors and version control; no reason to refuse a directory. */
const harmless = new Set(['lost+found', '.gitignore', '.gitkeep', '.DS_Store']);
const chooseAnother = 'Choose another directory: an empty one, or one that Millrace made.';

/**
 * Opens the directory, makes it when missing, and refuses one that holds something else.
 * @throws MillraceError EMBEDDED_DIRECTORY
 */
export async function openDirectory(given: string, major: number): Promise<DataDirectory> {
  const root = await makeDirectory(path.resolve(given));
  const entries = (await fs.readdir(root)).filter((name) => !harmless.has(name));
  if (entries.includes('PG_VERSION')) throw bareCluster(root, await versionOf(root));
  const foreign = entries.find((name) => !ours.test(name));
  if (foreign !== undefined) {
    throw unusable(root, `is not empty and not made by Millrace (it has '${foreign}' in it)`);
  }
  const data = path.join(root, 'data');
  const hasData = entries.includes('data');
  if (hasData) checkVersion(root, await versionOf(data), major);
  const { uid, gid } = await fs.stat(hasData ? data : root);
  const logFile = path.join(root, 'postgres.log');
  return { root, data, logFile, hasData, owner: { uid, gid, hasData } };
}

async function makeDirectory(root: string): Promise<string> {
  try {
    // Only the last one is private: parents that nobody may enter would shut the server out.
    await fs.mkdir(path.dirname(root), { recursive: true });
    await fs.mkdir(root, { mode: 0o700 }).catch(ignoreExisting);
    await fs.access(root, fs.constants.R_OK | fs.constants.W_OK | fs.constants.X_OK);
    return await fs.realpath(root);
  } catch (cause) {
    throw unusable(root, `cannot be used: ${(cause as Error).message}`, cause);
  }
}

async function versionOf(data: string): Promise<string | null> {
  const text = await fs.readFile(path.join(data, 'PG_VERSION'), 'utf8').catch(() => null);
  return text?.trim() ?? null;
}

function checkVersion(root: string, version: string | null, major: number): void {
  if (version === String(major)) return;
  if (version === null) throw unusable(root, `has a 'data' in it that is no Postgres data`);
  throw new MillraceError(
    'EMBEDDED_DIRECTORY',
    `the data in ${root} is of Postgres ${version}, the embedded server is Postgres ${major}`,
    {
      fix:
        'Use the Millrace version that made it, or dump it with the pg_dump of ' +
        `Postgres ${version} and restore it into a new directory.`,
      details: { found: version, expected: String(major) },
    },
  );
}

function bareCluster(root: string, version: string | null): MillraceError {
  const problem = `is data of a Postgres ${version ?? '?'} that Millrace did not make`;
  return unusable(root, problem);
}

export function unusable(root: string, problem: string, cause?: unknown): MillraceError {
  const message = `the directory ${root} ${problem}`;
  return new MillraceError('EMBEDDED_DIRECTORY', message, { fix: chooseAnother, cause });
}

/** Removes what crashed starts left behind; called under the claim only. */
export async function removeLeftovers(root: string): Promise<void> {
  for (const name of await fs.readdir(root)) {
    if (!name.startsWith('init-')) continue;
    await fs.rm(path.join(root, name), { recursive: true, force: true });
  }
}

export function ignoreExisting(cause: unknown): void {
  const code = (cause as NodeJS.ErrnoException).code;
  if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw cause;
}

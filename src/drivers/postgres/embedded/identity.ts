/**
 * Which operating system user the embedded server runs as. Postgres refuses to run as root.
 *
 * Not root: as ourselves. Root: the first of these who can reach both data and programs:
 * the owner of the data directory; `nobody`; root without its powers, in a user namespace of its
 * own (`unshare`); the owner of the directory above. If only the programs are out of reach they are
 * copied. A directory that has data keeps the identity it was made with: its owner tells.
 */
import { execFile } from 'node:child_process';
import type { Stats } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { MillraceError } from '../../../core/errors.ts';
import { type Binaries, copyBinaries, programPath } from './binaries.ts';

export interface Identity {
  readonly how: 'ourselves' | 'other-user' | 'user-namespace';
  /** The owner that files of the server have on disk. -1 on Windows. */
  readonly uid: number;
  readonly gid: number;
}

/** How to start a program as that identity. */
export interface Launch {
  readonly file: string;
  readonly args: readonly string[];
  readonly options: { readonly uid?: number; readonly gid?: number };
}

/** `nobody` and its group have these numbers on Linux and in user namespaces alike. */
const nobody: Identity = { how: 'other-user', uid: 65_534, gid: 65_534 };
const rootWithoutPowers: Identity = { how: 'user-namespace', uid: 0, gid: 0 };
const namespaceArgs = ['--user', '--map-user=65534', '--map-group=65534', '--'];

/** The command line that runs `file` as `identity`. */
export function launchAs(identity: Identity, file: string, args: readonly string[]): Launch {
  switch (identity.how) {
    case 'ourselves':
      return { file, args, options: {} };
    case 'other-user':
      return { file, args, options: { uid: identity.uid, gid: identity.gid } };
    case 'user-namespace':
      // unshare replaces itself by the program: the process id stays the one we were given.
      return { file: 'unshare', args: [...namespaceArgs, file, ...args], options: {} };
  }
}

export interface Choice {
  readonly identity: Identity;
  readonly binaries: Binaries;
}

/**
 * Decides who runs the server.
 * @param directory exists; the caller hands it to the identity when it has no data yet.
 * @param owner the owner of the data, or of the empty directory.
 * @throws MillraceError EMBEDDED_DIRECTORY when nobody who may run Postgres can reach it.
 */
export async function chooseIdentity(
  binaries: Binaries,
  directory: string,
  owner: { readonly uid: number; readonly gid: number; readonly hasData: boolean },
): Promise<Choice> {
  const ourUid = process.geteuid?.();
  if (ourUid === undefined) return { identity: { how: 'ourselves', uid: -1, gid: -1 }, binaries };
  if (ourUid !== 0) return { identity: await ourselves(directory, owner, ourUid), binaries };

  const candidates = await candidatesForRoot(directory, owner);
  const reaching: Identity[] = [];
  for (const identity of candidates) {
    if (!(await canReach(identity, path.dirname(directory)))) continue;
    if (identity.how === 'user-namespace' && !(await namespacesWork())) continue;
    if (await canReach(identity, path.dirname(programPath(binaries, 'postgres')))) {
      return { identity, binaries };
    }
    reaching.push(identity);
  }
  const identity = reaching[0];
  if (identity !== undefined) return { identity, binaries: await copyBinaries(binaries) };
  throw unreachable(directory, candidates);
}

async function ourselves(
  directory: string,
  owner: { readonly uid: number; readonly hasData: boolean },
  uid: number,
): Promise<Identity> {
  if (owner.uid !== uid) {
    throw new MillraceError(
      'EMBEDDED_DIRECTORY',
      `the directory ${directory} belongs to user id ${owner.uid}, this process is user id ${uid}`,
      { fix: `Run as the user with id ${owner.uid}, or choose another directory.` },
    );
  }
  const identity: Identity = { how: 'ourselves', uid, gid: process.getegid?.() ?? -1 };
  // initdb wants a name for its user id; containers often run as a number that has none.
  if (hasUserName() || !(await namespacesWork())) return identity;
  return { ...identity, how: 'user-namespace' };
}

async function candidatesForRoot(
  directory: string,
  owner: { readonly uid: number; readonly gid: number; readonly hasData: boolean },
): Promise<readonly Identity[]> {
  const ownerIdentity: Identity = { how: 'other-user', uid: owner.uid, gid: owner.gid };
  if (owner.uid !== 0) return [ownerIdentity];
  if (owner.hasData) return [rootWithoutPowers];
  const above = await fs.stat(path.dirname(directory));
  const candidates: Identity[] = [nobody, rootWithoutPowers];
  if (above.uid !== 0) candidates.push({ how: 'other-user', uid: above.uid, gid: above.gid });
  return candidates;
}

function unreachable(directory: string, candidates: readonly Identity[]): MillraceError {
  return new MillraceError(
    'EMBEDDED_DIRECTORY',
    `Postgres does not run as root, and no other user can be used that reaches ${directory}`,
    {
      fix:
        'Run as a user other than root, or choose a directory whose parents everybody may enter ' +
        '(chmod o+x), such as one under /var/lib.',
      details: { tried: candidates },
    },
  );
}

/** True when `identity` may enter `directory` and every directory above it, by their mode bits. */
export async function canReach(identity: Identity, directory: string): Promise<boolean> {
  let current = await fs.realpath(directory);
  for (;;) {
    if (!mayEnter(identity, await fs.stat(current))) return false;
    const above = path.dirname(current);
    if (above === current) return true;
    current = above;
  }
}

function mayEnter({ uid, gid }: Identity, stats: Stats): boolean {
  if (stats.uid === uid) return (stats.mode & 0o100) !== 0;
  if (stats.gid === gid) return (stats.mode & 0o010) !== 0;
  return (stats.mode & 0o001) !== 0;
}

/** Containers often forbid user namespaces, so this is tried, not guessed (2 ms, once). */
let namespaces: Promise<boolean> | undefined;
function namespacesWork(): Promise<boolean> {
  namespaces ??= promisify(execFile)('unshare', [...namespaceArgs, 'true']).then(
    () => true,
    () => false,
  );
  return namespaces;
}

function hasUserName(): boolean {
  try {
    return os.userInfo().username !== '';
  } catch {
    return false;
  }
}

/** Gives a file to the identity, where that is another user. */
export async function handOver(file: string, identity: Identity): Promise<void> {
  if (identity.how === 'other-user') await fs.chown(file, identity.uid, identity.gid);
}

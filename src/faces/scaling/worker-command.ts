/**
 * What a worker process runs: a module, any other command, or this program once more. A process
 * that a scaler started knows so by its environment, and its own scalers rest.
 */
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { fork, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { inheritedFlags, threadEntry } from '../../runtime/thread.ts';
import { WorkerError } from '../errors.ts';

type Environment = Readonly<Record<string, string>>;

export interface WorkerCommandOptions {
  /** A module to run in Node; by default the program of this process, with its arguments. */
  readonly module?: string | URL | undefined;
  /** Any other program instead; it must end on SIGTERM. */
  readonly command?: string | undefined;
  readonly args?: readonly string[] | undefined;
  /** Beside those of this process. */
  readonly env?: Environment | (() => Environment) | undefined;
  readonly cwd?: string | undefined;
  /** Flags of Node; those of this process by default. */
  readonly execArgv?: readonly string[] | undefined;
  /** 'inherit': it writes where this process writes. */
  readonly stdio?: 'inherit' | 'ignore' | undefined;
}

const marker = 'MILLRACE_SCALED';

/** True in a process that a scaler started. */
export function isScaled(env: Readonly<Record<string, string | undefined>> = process.env): boolean {
  return env[marker] === '1';
}

/** @throws WorkerError CONFIG_INVALID when there is nothing to run. */
export function checkCommand(options: WorkerCommandOptions): WorkerCommandOptions {
  const { module, command } = options;
  if (module !== undefined && command !== undefined) {
    throw new WorkerError('CONFIG_INVALID', 'Both worker.module and worker.command are given.');
  }
  if (command !== undefined || module !== undefined || process.argv[1]) return options;
  throw new WorkerError('CONFIG_INVALID', 'It is not known what a worker process shall run.', {
    fix: "Give worker: { module: new URL('./worker.ts', import.meta.url) }.",
  });
}

/** The process is under way; whether it begins is said by its events. */
export function startProcess(options: WorkerCommandOptions): ChildProcess {
  const { module, command, cwd, stdio = 'inherit' } = options;
  const given = typeof options.env === 'function' ? options.env() : options.env;
  const env = { ...process.env, ...given, [marker]: '1' };
  if (command !== undefined) {
    return spawn(command, [...(options.args ?? [])], { env, cwd, stdio });
  }
  const own = module === undefined;
  const file = own ? (process.argv[1] as string) : pathOf(module);
  const args = options.args ?? (own ? process.argv.slice(2) : []);
  const leash = threadEntry('leash', import.meta.url).href;
  const flags = options.execArgv ?? inheritedFlags(process.execArgv).execArgv ?? process.execArgv;
  const execArgv = [...flags, '--import', leash];
  const channels: StdioOptions = [stdio, stdio, stdio, 'ipc'];
  return fork(file, [...args], {
    env,
    execArgv,
    stdio: channels,
    ...(cwd !== undefined && { cwd }),
  });
}

function pathOf(module: string | URL): string {
  const text = String(module);
  return text.startsWith('file:') ? fileURLToPath(text) : text;
}

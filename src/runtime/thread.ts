/**
 * Starts worker threads of ours, from sources and from the built package alike. The heartbeat and
 * the sandbox open theirs here.
 */
import { Worker, type WorkerOptions } from 'node:worker_threads';

/** The file `name` beside `from`, with the ending that `from` has: .ts unbuilt, .js in dist. */
export function threadEntry(name: string, from: string): URL {
  return new URL(`./${name}${from.endsWith('.ts') ? '.ts' : '.js'}`, from);
}

export function openThread(entry: URL, options: WorkerOptions = {}): Worker {
  return new Worker(entry, { ...inheritedFlags(process.execArgv), ...options });
}

/**
 * A thread inherits the flags of its process. Those of `node --eval` are refused for a file, so
 * then only the conditions are handed on: by them the thread finds the same modules.
 */
export function inheritedFlags(flags: readonly string[]): { readonly execArgv?: string[] } {
  const evaluates = flags.some((flag) => /^(--input-type|-e|--eval|-p|--print|-pe)\b/.test(flag));
  if (!evaluates) return {};
  const execArgv = flags.filter((flag) => /^(--conditions|-C)=/.test(flag));
  for (const [index, flag] of flags.entries()) {
    if (flag === '--conditions' || flag === '-C') execArgv.push(flag, flags[index + 1] ?? '');
  }
  return { execArgv };
}

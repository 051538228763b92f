/**
 * Stops the server when our process dies in a way that leaves it no time (SIGKILL, out of memory).
 *
 * A shell holds one end of a pipe whose other end is ours. When we die, however that happens, the
 * kernel closes it, the shell reads the end and asks the server for a fast shutdown. Costs one
 * sleeping process of 1 MB; needs no polling and no PR_SET_PDEATHSIG, which Node cannot set.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { type Identity, launchAs } from './identity.ts';

// The pid is compared with the lock file's, so a pid that has been used again is not hit. The wait
// covers a server so young that its lock file is not written.
const script = `
while read -r _; do :; done
tries=0
while kill -0 "$2" 2>/dev/null && [ "$tries" -lt 30 ]; do
  read -r pid < "$1/postmaster.pid" && [ "$pid" = "$2" ] && kill -INT "$2" && exit 0
  tries=$((tries + 1))
  sleep 1
done 2>/dev/null
`;

/** Starts watching; `stop` ends it without touching the server. */
export function watchOurselves(
  identity: Identity,
  data: string,
  serverPid: number,
): { stop(): void } {
  if (process.platform === 'win32') return { stop: () => undefined };
  const args = ['-c', script, 'millrace-watcher', data, String(serverPid)];
  // In a user namespace the server is still ours by user id: the plain shell may signal it.
  const launch =
    identity.how === 'other-user'
      ? launchAs(identity, '/bin/sh', args)
      : { file: '/bin/sh', args, options: {} };
  const shell: ChildProcess = spawn(launch.file, launch.args, {
    ...launch.options,
    cwd: '/',
    env: { PATH: process.env.PATH ?? '/usr/bin:/bin' },
    detached: true, // Ctrl-C reaches the foreground process group; this is not in it
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  shell.on('error', () => undefined); // without a shell the next start finds and stops the orphan
  shell.stdin?.on('error', () => undefined);
  shell.unref();
  (shell.stdin as unknown as { unref?: () => void } | null)?.unref?.();
  return { stop: () => void shell.kill('SIGKILL') };
}

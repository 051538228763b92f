/** Whether what Redis acknowledges is on its disk: asked when we connect, for nobody else will. */
import { MillraceError } from '../../../core/errors.ts';
import type { Redis } from '../connection.ts';

const fix =
  'Set appendonly yes and appendfsync always on the server. Millrace repairs what is lost from ' +
  'its log, but other readers of the topic cannot. docs/redis-streams.md says what may be lost.';

/** Null when an acknowledgement is on disk; else what may be lost, and what to do. */
export async function durabilityProblem(
  redis: Redis,
  route: string,
): Promise<MillraceError | null> {
  const info = String(await redis.send(route, ['INFO', 'persistence']));
  if (!/^aof_enabled:1\r?$/m.test(info)) {
    return weak('This Redis keeps no log of writes: a crash loses what it acknowledged.');
  }
  let policy: string;
  try {
    const found = await redis.send<string[]>(route, ['CONFIG', 'GET', 'appendfsync']);
    policy = found[1] ?? 'unknown to us';
  } catch {
    // Hosted servers hide their settings.
    policy = 'hidden from us';
  }
  if (policy === 'always') return null;
  const loss = policy === 'no' ? 'half a minute' : 'a second';
  return weak(`This Redis may lose about ${loss} of what it acknowledged (appendfsync ${policy}).`);
}

function weak(message: string): MillraceError {
  return new MillraceError('STORE_MISCONFIGURED', message, { fix });
}

/** Looks, before anything is stored, whether a server can keep jobs. */
import { MillraceError } from '../../core/errors.ts';

const majorMin = 7;

export interface ServerFacts {
  readonly isCluster: boolean;
}

/** @throws STORE_MISCONFIGURED when the server would lose jobs or lacks what scripts need. */
export async function checkServer(
  send: (args: readonly string[]) => Promise<unknown>,
): Promise<ServerFacts> {
  const facts = parseInfo(String(await send(['INFO'])));
  const version = facts.get('redis_version') ?? '0';
  if (Number.parseInt(version, 10) < majorMin) {
    throw new MillraceError(
      'STORE_MISCONFIGURED',
      `This server is Redis ${version}; ${majorMin} is the oldest.`,
      { fix: 'Upgrade to Redis 7 or newer, or to Valkey.' },
    );
  }
  if (facts.get('role') === 'slave') {
    throw new MillraceError('STORE_MISCONFIGURED', 'This server is a read-only replica.', {
      fix: 'Connect to the primary.',
      details: { role: 'replica' },
    });
  }
  const policy = facts.get('maxmemory_policy') ?? 'noeviction';
  if (facts.get('maxmemory') !== '0' && policy !== 'noeviction') {
    throw new MillraceError(
      'STORE_MISCONFIGURED',
      `This server throws keys away when its memory is full (maxmemory-policy ${policy}).`,
      { fix: 'Set maxmemory-policy to noeviction: evicted keys would be lost jobs and events.' },
    );
  }
  return { isCluster: facts.get('cluster_enabled') === '1' };
}

function parseInfo(text: string): ReadonlyMap<string, string> {
  const pairs = text.split('\r\n').map((line) => line.split(':', 2) as [string, string]);
  return new Map(pairs.filter(([, value]) => value !== undefined));
}

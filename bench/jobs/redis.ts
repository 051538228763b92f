/**
 * A redis-server of the bench's own, in a directory of its own: append-only file on, synced every
 * second, which is Redis's default and what BullMQ recommends. The same for every product on Redis.
 * A crash of such a server may lose a second of what it acknowledged; Postgres here loses nothing.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@redis/client';

export interface RedisServer extends AsyncDisposable {
  readonly url: string;
  /** Empties it and its file. */
  clear(): Promise<void>;
  /** Bytes of the append-only file. */
  written(): Promise<number>;
}

export const redisSettings = 'appendonly yes, appendfsync everysec';

/** `null` when there is no redis-server on this machine. */
export async function startRedis(): Promise<RedisServer | null> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-bench-redis-'));
  const port = await freePort();
  const server = spawn(
    'redis-server',
    [
      ...['--bind', '127.0.0.1', '--port', String(port), '--dir', directory, '--save', ''],
      ...['--appendonly', 'yes', '--appendfsync', 'everysec'],
      // No rewrite in the middle of a run, for none of the products.
      ...['--auto-aof-rewrite-percentage', '0', '--maxmemory-policy', 'noeviction'],
    ],
    { stdio: 'ignore' },
  );
  const failed = await Promise.race([
    once(server, 'error').then(() => true),
    once(server, 'spawn').then(() => false),
  ]);
  if (failed) {
    rmSync(directory, { recursive: true, force: true });
    return null;
  }
  const kill = () => server.kill('SIGKILL');
  process.once('exit', kill); // also when nobody gets to dispose of it
  const url = `redis://127.0.0.1:${port}`;
  const client = createClient({ url, socket: { reconnectStrategy: () => 20 } });
  client.on('error', () => undefined); // it may not listen yet: the client tries again
  await client.connect();
  const persistence = async (field: string) => {
    const text = await client.info('persistence');
    return new RegExp(`^${field}:(.*?)\r?$`, 'm').exec(text)?.[1] ?? '';
  };
  return {
    url,
    async clear() {
      await client.flushAll();
      await client.sendCommand(['BGREWRITEAOF']);
      while ((await persistence('aof_rewrite_in_progress')) !== '0') {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    },
    written: async () => Number(await persistence('aof_current_size')),
    async [Symbol.asyncDispose]() {
      client.destroy();
      const ended = once(server, 'exit');
      process.off('exit', kill);
      kill();
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

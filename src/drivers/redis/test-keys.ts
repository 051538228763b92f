/** Keys of a test: a prefix of its own on a shared server, removed when it is over. */
import { openRedis, type Redis } from './connection.ts';
import { createKeys } from './keys.ts';

export interface TestKeys {
  readonly prefix: string;
  remove(): Promise<void>;
}

/** Removes all keys of the prefix on the node of this one. */
async function removeBeside(redis: Redis, base: string): Promise<void> {
  const prefix = base.slice(0, base.search(/[:}]/));
  for (let cursor = '0'; ; ) {
    const args = ['SCAN', cursor, 'MATCH', `${prefix}*`, 'COUNT', '1000'];
    const [next, keys] = await redis.send<[string, string[]]>(base, args);
    await Promise.all(keys.map((key) => redis.send(key, ['UNLINK', key])));
    cursor = next;
    if (cursor === '0') return;
  }
}

export function freshPrefix(url: string): TestKeys {
  const prefix = `test-${crypto.randomUUID()}`;
  return {
    prefix,
    async remove() {
      const redis = await openRedis(url);
      const { registry, schedules, queue } = createKeys(prefix);
      const queues = await redis.send<string[]>(registry, ['SMEMBERS', `${registry}:queues`]);
      // On a cluster each base may be on another node; one node's keys all go at once.
      for (const base of [...queues.map(queue), schedules, registry]) {
        const left = [`${base}:lanes`, `${base}:alive`, `${base}:all`];
        if ((await redis.send(base, ['EXISTS', ...left])) !== 0) await removeBeside(redis, base);
      }
      await redis.close();
    },
  };
}

/** Redis Streams: our driver against @redis/client by itself, XADD and XREADGROUP pipelined. */
import { createClient } from '@redis/client';
import { newEventId, openBroker } from 'millrace';
import {
  batchSize,
  type Contest,
  latencyProbe,
  makeEvents,
  ourSide,
  partitions,
  rateClock,
  type Side,
} from './contest.ts';

type Stream = readonly [key: string, entries: readonly (readonly [string, string[]])[]];
const readCount = '512';

export async function openRedisContest(url: string): Promise<Contest> {
  const broker = await openBroker(url);
  const stamp = newEventId();
  const [publishes, consumes] = [`bench-publish-${stamp}`, `bench-consume-${stamp}`];
  const quiet = `bench-latency-${stamp}`;
  await broker.createTopics([publishes, consumes, quiet].map((topic) => ({ topic, partitions })));
  await broker.publish(makeEvents(publishes, batchSize));
  const bare = await openBare(url, { publishes, consumes });
  const probe = await latencyProbe(broker, quiet);
  let filled = 0;
  return {
    name: 'redis',
    ours: ourSide(broker, { publishes, consumes, group: () => `bench-${newEventId()}` }),
    bare,
    clear: bare.clear,
    async fill(count) {
      // A group that acknowledges nothing keeps them for the next to consume.
      if (filled === 0) await bare.hold();
      for (; filled < count; filled += batchSize) {
        await broker.publish(makeEvents(consumes, batchSize));
      }
    },
    latencyMs: probe.once,
    async close() {
      await probe.close();
      await broker.deleteTopics([publishes, consumes, quiet]);
      await bare.close();
      await broker.close();
    },
  };
}

interface Topics {
  readonly publishes: string;
  readonly consumes: string;
}

/** As docs/redis-streams.md names them. */
const keysOf = (topic: string) =>
  Array.from({ length: partitions }, (_, p) => `millrace:{${topic}}:p:${p}`);

async function openBare(url: string, { publishes, consumes }: Topics) {
  const client = createClient({ url, RESP: 2 });
  client.on('error', () => {}); // each call hears of its own failure
  await client.connect();
  const send = <T>(args: string[]) => client.sendCommand<T>(args);
  const found = await Promise.all(
    keysOf(publishes).map((key) => send<[string, string[]][]>(['XRANGE', key, '-', '+'])),
  );
  // One of each partition in turn, as our side publishes them.
  const commands = Array.from({ length: batchSize }, (_, i) => {
    const p = i % partitions;
    const fields = found[p]?.[Math.floor(i / partitions)]?.[1] ?? [];
    return ['XADD', keysOf(publishes)[p] as string, '*', ...fields];
  });
  const side: Side = {
    publish: () => Promise.all(commands.map((command) => send(command))),
    async consume(count) {
      const clock = rateClock(count);
      const group = `bare-${newEventId()}`;
      const keys = keysOf(consumes);
      for (const key of keys) await send(['XGROUP', 'CREATE', key, group, '0']);
      const streams = ['STREAMS', ...keys, ...keys.map(() => '>')];
      const read = ['XREADGROUP', 'GROUP', group, 'bare', 'COUNT', readCount, ...streams];
      const acknowledged: Promise<unknown>[] = [];
      for (let seen = 0; seen < count; ) {
        const streams = (await send<Stream[] | null>(read)) ?? [];
        for (const [key, entries] of streams) {
          seen += entries.length;
          clock.count(entries.length);
          acknowledged.push(send(['XACK', key, group, ...entries.map(([id]) => id)]));
        }
      }
      await Promise.all(acknowledged);
      for (const key of keys) await send(['XGROUP', 'DESTROY', key, group]);
      return clock.rate;
    },
  };
  return {
    ...side,
    async clear(): Promise<void> {
      await send(['UNLINK', ...keysOf(publishes)]);
    },
    async hold(): Promise<void> {
      for (const key of keysOf(consumes)) {
        await send(['XGROUP', 'CREATE', key, 'bench-hold', '0', 'MKSTREAM']);
      }
    },
    close: () => client.close(),
  };
}

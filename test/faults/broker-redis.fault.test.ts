/** Redis Streams as the broker: killed, cut off, full, away; workers that come and go. */
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@redis/client';
import { noServer, TestServer } from '../../src/drivers/redis/test-server.ts';
import { runNetworkFaults } from './broker-network.ts';
import { away, BrokerScene, comeAndGo, ofTheNight } from './broker-scene.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { scaled } from './ledger.ts';

test('Redis Streams', { skip: noServer, timeout: 900_000 }, async (t) => {
  const redis = await TestServer.started(t);
  const proxy = await FaultyProxy.listening(Number(new URL(redis.url).port));
  t.after(() => proxy[Symbol.asyncDispose]());
  const scene = await BrokerScene.set(t, 'Redis', {
    broker: { url: `redis://127.0.0.1:${proxy.port}`, connectTimeoutMs: 3_000 },
  });

  // On every commit the long absence below stands for it: that begins with SIGKILL too.
  await t.test('is killed and comes back under load', { skip: ofTheNight }, () =>
    scene.run({
      name: 'kill and restart',
      async inject({ note, random }) {
        const times = scaled(0.5);
        for (let i = 0; i < times; i += 1) {
          await redis.kill();
          note();
          await sleep(random.below(1_500));
          await redis.start();
          await sleep(500);
        }
        return times;
      },
    }),
  );

  await runNetworkFaults(t, scene, proxy, ['latency', 'resets', 'half-open']);

  await t.test('workers come and go', () =>
    scene.run({ name: 'rebalances', inject: (at) => comeAndGo(at, scaled(3)) }),
  );

  await t.test('is full: nothing more is stored until there is room', () =>
    scene.run({
      name: 'memory full',
      async inject({ note, delivered }) {
        const client = createClient({ url: redis.url });
        await client.connect();
        try {
          await client.configSet('maxmemory-policy', 'noeviction');
          await client.configSet('maxmemory', '1mb');
          note();
          await sleep(3_000);
          const held = delivered();
          await sleep(1_500);
          if (delivered() > held + 50) throw new Error('the limit limits nothing');
        } finally {
          await client.configSet('maxmemory', '0');
          client.destroy();
        }
        return 1;
      },
    }),
  );

  await t.test('is away while orders are accepted', () =>
    scene.run(
      away(
        async () => void (await redis.kill()),
        () => redis.start(),
      ),
    ),
  );
});

/** RabbitMQ as the broker: killed, cut off, out of memory, away; workers that come and go. */
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { noRabbitmq, RabbitmqServer } from '../support/rabbitmq-server.ts';
import { runNetworkFaults } from './broker-network.ts';
import { away, BrokerScene, comeAndGo, ofTheNight } from './broker-scene.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { scaled } from './ledger.ts';

test('RabbitMQ', { skip: noRabbitmq, timeout: 900_000 }, async (t) => {
  const rabbit = await RabbitmqServer.started(t);
  const proxy = await FaultyProxy.listening(rabbit.port);
  t.after(() => proxy[Symbol.asyncDispose]());
  const url = rabbit.url.replace(/:\d+$/, `:${proxy.port}`);
  const scene = await BrokerScene.set(t, 'RabbitMQ', {
    broker: { url, connectTimeoutMs: 3_000, publishTimeoutMs: 10_000 },
    probe: { url: rabbit.url },
  });

  // On every commit the long absence below stands for it: that begins with SIGKILL too.
  await t.test('is killed and comes back under load', { skip: ofTheNight }, () =>
    scene.run({
      name: 'kill and restart',
      recoveryMsMax: 60_000,
      async inject({ note, random }) {
        const times = scaled(0.5);
        for (let i = 0; i < times; i += 1) {
          await rabbit.kill();
          note();
          await sleep(random.below(1_500));
          await rabbit.start();
          await sleep(500);
        }
        return times;
      },
    }),
  );

  await runNetworkFaults(t, scene, proxy, ['resets', 'one-way']);

  await t.test('workers come and go', () =>
    scene.run({ name: 'rebalances', inject: (at) => comeAndGo(at, scaled(3)) }),
  );

  await t.test('raises the alarm of its memory: publishers are blocked until it is lifted', () =>
    scene.run({
      name: 'memory alarm',
      async inject({ note, relayed }) {
        await rabbit.ctl('set_vm_memory_high_watermark', '0.000001');
        note();
        await sleep(2_000);
        const held = relayed();
        await sleep(2_000);
        const went = relayed() - held;
        await rabbit.ctl('set_vm_memory_high_watermark', '0.4');
        if (went > 50) throw new Error(`the alarm stops nothing: ${went} relayed meanwhile`);
        return 1;
      },
    }),
  );

  await t.test('is away while orders are accepted', () =>
    scene.run(
      away(
        () => rabbit.kill(),
        () => rabbit.start(),
      ),
    ),
  );
});

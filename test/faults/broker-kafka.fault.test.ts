/** Kafka as the broker: killed, cut off, slowed by a quota, away; members that come and go. */
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Admin } from '@platformatic/kafka';
import { noKafka, startKafka } from '../support/kafka-server.ts';
import { runNetworkFaults } from './broker-network.ts';
import { away, BrokerScene, comeAndGo, ofTheNight } from './broker-scene.ts';
import { FaultyProxy } from './faulty-proxy.ts';
import { scaled } from './ledger.ts';

type QuotaChange = Parameters<Admin['alterClientQuotas']>[0]['entries'][number]['ops'][number];

/** Changes the bytes a second that clients may produce; null lifts the limit. */
async function limitProducers(host: string, value: number | null): Promise<void> {
  const admin = new Admin({ clientId: 'operator', bootstrapBrokers: [host] });
  try {
    const key = 'producer_byte_rate' as const;
    const op: QuotaChange = value === null ? { key, remove: true } : { key, value, remove: false };
    await admin.alterClientQuotas({
      entries: [{ entities: [{ entityType: 'client-id' }], ops: [op] }],
    });
  } finally {
    await admin.close();
  }
}

test('Kafka', { skip: noKafka, timeout: 900_000 }, async (t) => {
  const proxy = await FaultyProxy.listening();
  const hosts = `127.0.0.1:${proxy.port}`;
  // Clients are told to come by the proxy, whatever they ask the broker for.
  const kafka = await startKafka(t, {
    properties: { 'advertised.listeners': `OPEN://${hosts}` },
  });
  proxy.target = Number(kafka.hosts('open').split(':')[1]);
  t.after(() => proxy[Symbol.asyncDispose]());
  const scene = await BrokerScene.set(t, 'Kafka', {
    broker: { url: `kafka://${hosts}`, connectTimeoutMs: 3_000, publishTimeoutMs: 10_000 },
  });

  // On every commit the long absence below stands for it: that begins with SIGKILL too.
  await t.test('is killed and comes back under load', { skip: ofTheNight }, () =>
    scene.run({
      name: 'kill and restart',
      recoveryMsMax: 60_000,
      async inject({ note, random }) {
        const times = scaled(0.5);
        for (let i = 0; i < times; i += 1) {
          await kafka.kill();
          note();
          await sleep(random.below(1_500));
          await kafka.restart();
          await sleep(500);
        }
        return times;
      },
    }),
  );

  await runNetworkFaults(t, scene, proxy, ['resets', 'half-open']);

  await t.test('members come and go', () =>
    scene.run({ name: 'rebalances', inject: (at) => comeAndGo(at, scaled(3)) }),
  );

  await t.test('a quota is filled', () =>
    scene.run({
      name: 'quota of producers',
      async inject({ note }) {
        await limitProducers(hosts, 5_000);
        note();
        await sleep(5_000);
        await limitProducers(hosts, null);
        return 1;
      },
    }),
  );

  await t.test('is away while orders are accepted', () =>
    scene.run(
      away(
        () => kafka.kill(),
        () => kafka.restart(),
      ),
    ),
  );
});

test('Kafka, with tokens that expire', { skip: noKafka, timeout: 300_000 }, async (t) => {
  const kafka = await startKafka(t, {
    listeners: {
      open: { protocol: 'PLAINTEXT' },
      bearer: { protocol: 'SASL_PLAINTEXT', mechanisms: ['OAUTHBEARER'] },
    },
    // A session ends with its token, and after this long in any case.
    properties: { 'connections.max.reauth.ms': '3000' },
  });
  const scene = await BrokerScene.set(t, 'Kafka', {
    broker: { url: `kafka://${kafka.hosts('bearer')}`, connectTimeoutMs: 3_000 },
    probe: { url: `kafka://${kafka.hosts('open')}` },
    tokenLifeMs: 4_000,
    workers: 2,
  });
  await scene.run({
    name: 'tokens expire',
    async inject({ note, fleet }) {
      const before = fleet.count('tokens');
      note();
      await sleep(scaled(8) * 1_000);
      const made = fleet.count('tokens') - before;
      if (made < 2) throw new Error(`${made} tokens were asked for in 8 s`);
      return made;
    },
  });
});

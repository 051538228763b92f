/** What a network does to the connections between workers and their broker. */
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type BrokerScene, type Fault, ofTheNight } from './broker-scene.ts';
import type { FaultyProxy } from './faulty-proxy.ts';
import { scale, scaled } from './ledger.ts';

/**
 * All of them at night; on every commit those named, since each broker has its turn.
 * @param silenceMs how long connections stay silent before the network forgets them.
 */
export async function runNetworkFaults(
  t: TestContext,
  scene: BrokerScene,
  proxy: FaultyProxy,
  always: readonly NetworkFault[],
): Promise<void> {
  for (const fault of networkFaults(proxy, scale >= 2 ? 20_000 : 4_000)) {
    const skip = always.some((name) => name === fault.name) ? false : ofTheNight;
    await t.test(fault.name, { skip }, () => scene.run(fault));
  }
}

type NetworkFault = 'latency' | 'resets' | 'half-open' | 'one-way';

function networkFaults(proxy: FaultyProxy, silenceMs: number): readonly Fault[] {
  const cut = (name: NetworkFault, act: () => number): Fault => ({
    name,
    recoveryMsMax: 30_000 + silenceMs,
    async inject({ note }) {
      const hit = act();
      if (hit === 0) throw new Error('no connection came by the proxy');
      note();
      // Nobody tells either side; a stack of TCP gives up after minutes, a firewall resets.
      await sleep(silenceMs);
      proxy.reset();
      return hit;
    },
  });
  return [
    {
      name: 'latency',
      async inject({ note }) {
        proxy.latencyMs = 60;
        note();
        await sleep(scaled(2) * 1_000);
        proxy.latencyMs = 0;
        return 1;
      },
    },
    {
      name: 'resets',
      async inject({ note, random }) {
        const times = scaled(3);
        let hit = 0;
        for (let i = 0; i < times; i += 1) {
          hit += proxy.reset();
          note();
          await sleep(300 + random.below(1_000));
        }
        if (hit === 0) throw new Error('no connection came by the proxy');
        return times;
      },
    },
    cut('half-open', () => proxy.silence()),
    cut('one-way', () => proxy.loseOneWay('from-broker')),
  ];
}

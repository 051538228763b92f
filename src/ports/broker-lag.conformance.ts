/** Cases for lag: how much a group has before it, in every partition of the topics. */
import assert from 'node:assert/strict';
import {
  type BrokerCases,
  interleaved,
  keysOf,
  numbered,
  type Topic,
  upTo,
  within,
} from './broker.fixtures.conformance.ts';
import type { Broker } from './broker.ts';

/** By partition. */
async function lagOf(broker: Broker, group: string, { topic, partitions }: Topic) {
  const lags = await broker.lag(group, [topic]);
  assert.ok(lags.every((lag) => lag.topic === topic));
  const found = new Map(lags.map(({ partition, lag }) => [partition, lag]));
  assert.deepEqual(
    [...found.keys()].sort((a, b) => a - b),
    upTo(partitions),
  );
  return upTo(partitions).map((partition) => found.get(partition) as number);
}

export const lagCases: BrokerCases = {
  'lag grows by what is published and shrinks by what is acknowledged': async (context) => {
    const { broker, group, tenant } = context;
    const topic = await context.topic();
    const keys = keysOf(topic, tenant);
    const member = await context.join(topic, { acknowledges: false });
    const lists = keys.map((key, p) => numbered(topic, tenant, key, { count: 10 * (p + 1) }));
    await broker.publish(interleaved(lists));
    await member.received(lists.flat().length);
    const reaches = async (wanted: readonly number[]) => {
      let last: readonly number[] = [];
      await within(`lag is ${wanted}`, async () => {
        last = await lagOf(broker, group, topic);
        return last.join() === wanted.join();
      }).catch((error) => {
        throw new Error(`${(error as Error).message}; it is ${last}`);
      });
    };
    const all = lists.map((list) => list.length);
    await reaches(all);
    const fifth = keys.map(
      (key) => member.deliveries.filter(({ event }) => event?.key === key)[4] as never,
    );
    await member.acknowledge(fifth);
    await reaches(all.map((count) => count - 5));
    await member.acknowledge(member.deliveries);
    await reaches(all.map(() => 0));
    // Nobody is there, and it grows again.
    await member.close();
    await broker.publish(numbered(topic, tenant, keys[1] as string, { count: 7 }));
    await reaches(all.map((_, p) => (p === 1 ? 7 : 0)));
  },

  'a group that nobody knows lags by everything': async (context) => {
    const { broker, fixture, tenant, t } = context;
    if (!broker.capabilities.keepsWithoutGroup) return t.skip('keeps no events without a group');
    const topic = await context.topic();
    const before = await lagOf(broker, fixture.group(), topic);
    const keys = keysOf(topic, tenant);
    await broker.publish(keys.flatMap((key) => numbered(topic, tenant, key, { count: 9 })));
    const after = await lagOf(broker, fixture.group(), topic);
    assert.deepEqual(
      after,
      before.map((lag) => lag + 9),
    );
  },

  'lag of several topics is told at once': async (context) => {
    const { broker, group, tenant, t } = context;
    if (!broker.capabilities.createsTopics) return t.skip('has one topic and makes none');
    const [one, two] = [await context.topic(1), await context.topic(2)] as const;
    const member = await context.join([one, two], { acknowledges: false });
    await broker.publish(numbered(one, tenant, 'k', { count: 3 }));
    await broker.publish(numbered(two, tenant, 'k', { count: 4 }));
    await member.received(7);
    await within('both lag', async () => {
      const lags = await broker.lag(group, [one.topic, two.topic]);
      const of = ({ topic }: Topic) =>
        lags.filter((lag) => lag.topic === topic).reduce((sum, { lag }) => sum + lag, 0);
      return lags.length === 3 && of(one) === 3 && of(two) === 4;
    });
  },
};

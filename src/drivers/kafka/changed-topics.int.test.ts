/**
 * Topics that change under a group, by the hand of an operator: one of several is deleted, made
 * anew, or gets more partitions. In both group protocols the members go on with what there is.
 */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { describe, it, type TestContext } from 'node:test';
import { Admin } from '@platformatic/kafka';
import { eventually } from '../../../test/support/eventually.ts';
import type { BrokerSubscription, OutgoingEvent } from '../../ports/broker.ts';
import { openKafkaBroker } from './broker.ts';

const url = process.env.KAFKA_URL ?? '';
const skip = url === '' ? 'KAFKA_URL is not set: eval "$(scripts/services.sh up kafka)"' : false;
const patienceMs = 60_000;

function event(topic: string, partition: number, n: number): OutgoingEvent {
  return {
    ...{ topic, partition, payloadJson: `${n}`, metadataJson: null, place: null },
    event: {
      ...{ eventId: randomUUID(), eventType: 'Numbered', version: 1, tenantId: 'acme' },
      ...{ key: 'key', timestamp: '2026-11-21T10:00:00.123Z', correlationId: 'key' },
      ...{ causationId: null, payload: n, metadata: {} },
    },
  };
}

/** Two topics of two partitions, and a member that acknowledges all it gets of them. */
async function scene(t: TestContext, groupProtocol: string) {
  const [broker, operator] = await Promise.all([
    openKafkaBroker({ url: `${url}?groupProtocol=${groupProtocol}` }),
    openKafkaBroker({ url }),
  ]);
  const group = `changed-${randomBytes(5).toString('hex')}`;
  const [one, other] = [`${group}-one`, `${group}-other`];
  const make = (topic: string) => operator.createTopics([{ topic, partitions: 2 }]);
  await Promise.all([make(one), make(other)]);
  t.after(async () => {
    await broker.close();
    await operator.deleteTopics([one, other]);
    await operator.close();
  });
  const seen: string[] = [];
  const lost: string[] = [];
  const joined = Promise.withResolvers<BrokerSubscription>();
  const nameOf = (topic: string) => topic.slice(group.length + 1);
  const subscription = await broker.subscribe({
    group,
    topics: [one, other],
    from: 'start',
    onDeliveries: ({ topic, partition }, some) => {
      for (const { event } of some) seen.push(`${nameOf(topic)}/${partition}: ${event?.dataJson}`);
      joined.promise.then((own) => own.acknowledge(some)).catch(() => {});
    },
    onAssigned: () => {},
    onRevoked: (partitions, isLost) => {
      if (isLost) for (const { topic, partition } of partitions) lost.push(`${topic}/${partition}`);
    },
    onError: () => {},
  });
  joined.resolve(subscription);
  const has = (topic: string) => {
    const mine = subscription.assigned.filter((place) => place.topic === topic);
    return mine.map(({ partition }) => partition).sort();
  };
  const sees = (what: string) =>
    eventually(`it sees ${what}`, () => seen.includes(what), patienceMs);
  await eventually('all is assigned', () => subscription.assigned.length === 4, patienceMs);
  return { operator, group, one, other, make, seen, lost, has, sees };
}

describe('Kafka: topics that change under a group', { skip, concurrency: true }, () => {
  for (const groupProtocol of ['consumer', 'classic']) {
    it(`goes on with the others when one is deleted (${groupProtocol})`, async (t) => {
      const { operator, one, other, make, has, sees, lost } = await scene(t, groupProtocol);
      await operator.publish([0, 1, 2].map((n) => event(one, 0, n)));
      await operator.publish([event(other, 0, 1)]);
      await Promise.all([sees('one/0: 2'), sees('other/0: 1')]);
      await operator.deleteTopics([one]);
      await eventually('it has that one no more', () => has(one).length === 0, patienceMs);
      assert.deepEqual(has(other), [0, 1]);
      await operator.publish([event(other, 1, 2)]);
      await sees('other/1: 2');
      await make(one);
      await eventually('it has it again', () => has(one).length === 2, patienceMs);
      await operator.publish([event(one, 0, 10)]);
      await sees('one/0: 10');
      assert.deepEqual(
        lost.filter((name) => name.startsWith(other)),
        [],
        'nothing else was lost',
      );
    });

    it(`takes partitions that were added (${groupProtocol})`, async (t) => {
      const { operator, one, other, has, sees } = await scene(t, groupProtocol);
      const [bootstrap = ''] = [url.replace('kafka://', '')];
      const admin = new Admin({ clientId: 'operator', bootstrapBrokers: [bootstrap] });
      t.after(() => admin.close());
      await admin.createPartitions({
        topics: [{ name: one, count: 4, assignments: null as never }],
      });
      await eventually('it has all', () => has(one).length === 4, patienceMs);
      await operator.publish([event(one, 3, 1), event(one, 2, 2), event(other, 0, 3)]);
      await Promise.all([sees('one/3: 1'), sees('one/2: 2'), sees('other/0: 3')]);
    });

    it(`reads a topic that was made anew from its start (${groupProtocol})`, async (t) => {
      const { operator, one, make, seen, sees } = await scene(t, groupProtocol);
      await operator.publish([0, 1, 2].map((n) => event(one, 0, n)));
      await sees('one/0: 2');
      await operator.deleteTopics([one]);
      await make(one);
      // More than before: nothing is out of range, so only the topic's id tells.
      await operator.publish([10, 11, 12, 13, 14, 15].map((n) => event(one, 0, n)));
      await sees('one/0: 15');
      const anew = seen.filter((what) => what.startsWith('one/0: 1') && what.length === 9);
      assert.deepEqual([...new Set(anew)].length, 6, anew.join());
    });
  }
});

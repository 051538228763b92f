/** Cases for topics, credentials and health: what is there, what is not, and who may see it. */
import assert from 'node:assert/strict';
import { type BrokerCases, outgoing, rejectsWith, within } from './broker.fixtures.conformance.ts';

export const topicCases: BrokerCases = {
  'a topic is there with its partitions, and making it again changes nothing': async (context) => {
    const { broker } = context;
    const { topic, partitions } = await context.topic(3);
    await broker.createTopics([{ topic, partitions }]);
    await Promise.all([
      broker.createTopics([{ topic, partitions }]),
      broker.createTopics([{ topic, partitions }]),
    ]);
    assert.deepEqual(await broker.topics([topic]), [{ topic, partitions }]);
    const all = await broker.topics();
    assert.ok(all.some((info) => info.topic === topic && info.partitions === partitions));
  },

  'another number of partitions is a mismatch': async (context) => {
    const { broker } = context;
    const { topic, partitions } = await context.topic(3);
    const other = broker.createTopics([{ topic, partitions: partitions + 2 }]);
    await assert.rejects(other, rejectsWith('BROKER_TOPIC_MISMATCH'));
    const fewer = broker.createTopics([{ topic, partitions: partitions - 1 }]);
    await assert.rejects(fewer, rejectsWith('BROKER_TOPIC_MISMATCH'));
    assert.deepEqual(await broker.topics([topic]), [{ topic, partitions }]);
  },

  'many topics are made at once, and deleted': async (context) => {
    const { broker, fixture, t } = context;
    if (!broker.capabilities.createsTopics) return t.skip('has one topic and makes none');
    const names = Array.from({ length: 5 }, () => fixture.topic());
    assert.deepEqual(await broker.topics(names), []);
    await broker.createTopics(names.map((topic, i) => ({ topic, partitions: i + 1 })));
    const made = await broker.topics(names);
    assert.deepEqual(
      names.map((topic) => made.find((info) => info.topic === topic)?.partitions),
      [1, 2, 3, 4, 5],
    );
    await broker.deleteTopics(names);
    await within('they are gone', async () => (await broker.topics(names)).length === 0);
    await broker.deleteTopics(names); // gone already: nothing to do
  },

  'a topic that does not exist is unknown to publish and to subscribe': async (context) => {
    const { broker, tenant, group } = context;
    const missing = {
      topic: `missing-${crypto.randomUUID()}`,
      partitions: 2,
      from: 'start',
    } as const;
    const event = outgoing(missing, { tenantId: tenant, key: 'k', payload: 1 });
    await assert.rejects(broker.publish([event]), rejectsWith('BROKER_TOPIC_UNKNOWN'));
    await assert.rejects(context.join(missing), rejectsWith('BROKER_TOPIC_UNKNOWN'));
    assert.deepEqual(await broker.topics([missing.topic]), []);
    // Nothing of it stays in the way of what is right.
    const topic = await context.topic();
    const member = await context.join(topic, { group });
    await broker.publish([outgoing(topic, { tenantId: tenant, key: 'k', payload: 2 })]);
    const [delivery] = await member.received(1);
    assert.equal(delivery?.event?.dataJson, '2');
  },

  'wrong credentials are denied': async ({ fixture, t }) => {
    if (fixture.openRefused === null) return t.skip('the server asks for no credentials');
    const opened = await fixture.openRefused().then(
      (broker) => ({ broker }),
      (error: unknown) => ({ error }),
    );
    if ('error' in opened) {
      assert.ok(rejectsWith('BROKER_DENIED')(opened.error));
      return;
    }
    const { broker } = opened;
    try {
      const topic = { topic: fixture.topic(), partitions: 1, from: 'start' } as const;
      const event = outgoing(topic, { tenantId: 't', key: 'k', payload: 1 });
      await assert.rejects(broker.publish([event]), rejectsWith('BROKER_DENIED'));
      const health = await broker.health();
      assert.equal(health.ok, false);
      assert.ok(health.problem);
    } finally {
      await broker.close();
    }
  },

  'a live server is healthy': async ({ broker }) => {
    const health = await broker.health();
    assert.deepEqual({ ok: health.ok, problem: health.problem }, { ok: true, problem: null });
    assert.ok(health.latencyMs !== null && health.latencyMs >= 0 && health.latencyMs < 30_000);
  },
};

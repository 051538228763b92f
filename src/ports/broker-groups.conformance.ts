/** Cases for groups: who gets what, from where on, and what nobody else may see. */
import assert from 'node:assert/strict';
import {
  type BrokerCases,
  idsOf,
  interleaved,
  keysOf,
  numbered,
  outgoing,
  upTo,
  within,
} from './broker.fixtures.conformance.ts';
import { shared } from './broker-member.conformance.ts';

export const groupCases: BrokerCases = {
  'a member alone has every partition': async (context) => {
    const topic = await context.topic();
    const member = await context.join(topic);
    await shared([member], [topic]);
    const { assigned } = member.subscription;
    assert.deepEqual(
      assigned.map(({ topic: name, partition }) => `${name}/${partition}`).sort(),
      [...member.held].sort(),
    );
  },

  'members of a group share the partitions, and each event comes to one': async (context) => {
    const { broker, tenant } = context;
    const topic = await context.topic();
    const members = [await context.join(topic), await context.join(topic)] as const;
    await shared(members, [topic]);
    const keys = keysOf(topic, tenant);
    const lists = keys.map((key) => numbered(topic, tenant, key, { count: 50 }));
    await broker.publish(interleaved(lists));
    const ids = () => members.flatMap((member) => member.ids);
    await within('all events come', () => new Set(ids()).size >= 50 * keys.length);
    assert.equal(ids().length, 50 * keys.length);
    for (const [p, key] of keys.entries()) {
      const [holder, other] = members[0].held.has(`${topic.topic}/${p}`)
        ? members
        : [members[1], members[0]];
      assert.deepEqual(holder.numbers(key), upTo(50));
      assert.deepEqual(other.numbers(key), []);
    }
  },

  'every group gets everything': async (context) => {
    const { broker, fixture, tenant } = context;
    const topic = await context.topic();
    const groups = [fixture.group(), fixture.group(), fixture.group()];
    const members = await Promise.all(groups.map((group) => context.join(topic, { group })));
    const keys = keysOf(topic, tenant);
    const events = interleaved(keys.map((key) => numbered(topic, tenant, key, { count: 40 })));
    await broker.publish(events);
    for (const member of members) {
      await member.received(events.length);
      for (const key of keys) assert.deepEqual(member.numbers(key), upTo(40));
    }
  },

  'one client has members of several groups, and publishes': async (context) => {
    const { fixture, tenant } = context;
    const topic = await context.topic();
    const broker = await context.another();
    const join = () => context.join(topic, { broker, group: fixture.group() });
    const members = [await join(), await join()] as const;
    await broker.publish(numbered(topic, tenant, 'k', { count: 30 }));
    for (const member of members) await member.received(30);
    await members[0].close();
    await broker.publish(numbered(topic, tenant, 'k', { count: 30, first: 30 }));
    await members[1].received(60);
    assert.deepEqual(members[1].numbers('k'), upTo(60));
    assert.equal(members[0].deliveries.length, 30);
  },

  'a member of several topics gets the events of each': async (context) => {
    const { broker, tenant, t } = context;
    if (!broker.capabilities.createsTopics) return t.skip('has one topic and makes none');
    const topics = [await context.topic(2), await context.topic(1), await context.topic(3)];
    const member = await context.join(topics);
    await shared([member], topics);
    await broker.publish(topics.flatMap((topic) => numbered(topic, tenant, 'k', { count: 20 })));
    await member.received(60);
    for (const { topic } of topics) {
      const own = member.deliveries.filter((delivery) => delivery.topic === topic);
      assert.deepEqual(
        own.map(({ event }) => JSON.parse(`${event?.dataJson}`).n),
        upTo(20),
      );
    }
  },

  "a tenant's topic shows nothing of another's": async (context) => {
    const { broker, fixture, t } = context;
    if (!broker.capabilities.createsTopics) return t.skip('has one topic and makes none');
    const topics = [await context.topic(2), await context.topic(2)] as const;
    const tenants = ['acme', 'globex'] as const;
    const members = await Promise.all(
      topics.map((topic) => context.join(topic, { group: fixture.group() })),
    );
    const lists = topics.map((topic, i) =>
      numbered(topic, tenants[i] as string, 'same-key', { count: 100 }),
    );
    await broker.publish(interleaved(lists));
    for (const [i, member] of members.entries()) {
      await member.received(100);
      assert.deepEqual(
        new Set(member.deliveries.map(({ event }) => event?.tenantId)),
        new Set([tenants[i]]),
      );
      assert.deepEqual(
        new Set(member.deliveries.map(({ topic }) => topic)),
        new Set([topics[i]?.topic]),
      );
    }
    assert.deepEqual(
      members.map(({ deliveries }) => deliveries.length),
      [100, 100],
    );
  },

  'a new group from the start gets what was there before it': async (context) => {
    const { broker, fixture, tenant, t } = context;
    const { replays, keepsWithoutGroup } = broker.capabilities;
    if (!replays) return t.skip('keeps no events for groups that come later');
    const topic = await context.topic();
    if (!keepsWithoutGroup) await context.join(topic, { group: fixture.group() });
    const keys = keysOf(topic, tenant);
    const events = interleaved(keys.map((key) => numbered(topic, tenant, key, { count: 30 })));
    await broker.publish(events);
    const member = await context.join(topic, { from: 'start' });
    const wanted = idsOf(events);
    await within('the events come', () => wanted.every((id) => member.ids.includes(id)));
    for (const key of keys) {
      const own = member.deliveries.filter(({ event }) => event?.tenantId === tenant);
      const numbers = own.filter(({ event }) => event?.key === key);
      assert.deepEqual(
        numbers.map(({ event }) => JSON.parse(`${event?.dataJson}`).n),
        upTo(30),
      );
    }
  },

  'a new group from the end gets what comes after it, and keeps its place': async (context) => {
    const { broker, tenant } = context;
    const topic = await context.topic();
    const keys = keysOf(topic, tenant);
    const batch = (first: number) =>
      interleaved(keys.map((key) => numbered(topic, tenant, key, { count: 10, first })));
    await broker.publish(batch(0));
    const first = await context.join(topic, { from: 'end', acknowledges: false });
    await shared([first], [topic]);
    await broker.publish(batch(10));
    await first.received(10 * keys.length);
    for (const key of keys) assert.deepEqual(first.numbers(key), upTo(20).slice(10));
    // Nothing was acknowledged: the end that the group began at is its place, not today's end.
    await first.close();
    const second = await context.join(topic, { from: 'end' });
    await second.received(10 * keys.length);
    for (const key of keys) assert.deepEqual(second.numbers(key), upTo(20).slice(10));
  },

  'events published while nobody of the group is there wait for it': async (context) => {
    const { broker, tenant } = context;
    const topic = await context.topic();
    const first = await context.join(topic);
    await broker.publish([outgoing(topic, { tenantId: tenant, key: 'k', payload: { n: 0 } })]);
    await first.received(1);
    await first.acknowledged();
    await first.close();
    await broker.publish(numbered(topic, tenant, 'k', { count: 20, first: 1 }));
    const second = await context.join(topic);
    await second.received(20);
    assert.deepEqual(second.numbers('k'), upTo(21).slice(1));
  },
};

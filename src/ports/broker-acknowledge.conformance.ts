/** Cases for acknowledging: what is done is done for this group, and nothing else ever is. */
import assert from 'node:assert/strict';
import {
  type BrokerCase,
  type BrokerCases,
  interleaved,
  keyIn,
  keysOf,
  numbered,
  type Topic,
  upTo,
  within,
} from './broker.fixtures.conformance.ts';
import type { Delivery } from './broker.ts';
import type { Member } from './broker-member.conformance.ts';

/** A member that holds on to what it got: `count` events in each partition. */
async function holding(context: BrokerCase, topic: Topic, count: number) {
  const member = await context.join(topic, { acknowledges: false });
  const keys = keysOf(topic, context.tenant);
  const lists = keys.map((key) => numbered(topic, context.tenant, key, { count }));
  await context.broker.publish(interleaved(lists));
  await member.received(count * keys.length);
  const at = (key: string, n: number) => {
    const found = member.deliveries.filter(({ event }) => event?.key === key)[n];
    assert.ok(found, `${key}/${n}`);
    return found;
  };
  return { member, keys, at };
}

/** What the next member of the group gets, to the end. */
async function next(context: BrokerCase, topic: Topic, keys: readonly string[]): Promise<Member> {
  const member = await context.join(topic);
  const ends = keys.map((key) => numbered(topic, context.tenant, key, { count: 1, first: -1 }));
  await context.broker.publish(ends.flat());
  await within('the ends come', () => keys.every((key) => member.numbers(key).at(-1) === -1));
  return member;
}

const before = (member: Member, key: string) => member.numbers(key).slice(0, -1);

/** To let go without a word on what is under way. */
async function leave(member: Member): Promise<void> {
  await member.acknowledged();
  assert.deepEqual(member.refusals, []);
  await member.close();
}

export const acknowledgeCases: BrokerCases = {
  'nothing is acknowledged but by acknowledging': async (context) => {
    const topic = await context.topic();
    const { member, keys } = await holding(context, topic, 20);
    await leave(member);
    const after = await next(context, topic, keys);
    for (const key of keys) assert.deepEqual(before(after, key), upTo(20), key);
  },

  'acknowledging one says that everything before it is done': async (context) => {
    const topic = await context.topic();
    const { member, keys, at } = await holding(context, topic, 20);
    await member.acknowledge(keys.map((key, i) => at(key, i * 3)));
    await leave(member);
    const after = await next(context, topic, keys);
    for (const [i, key] of keys.entries()) {
      assert.deepEqual(before(after, key), upTo(20).slice(i * 3 + 1), key);
    }
  },

  'a lower one changes nothing, and many come in any order': async (context) => {
    const topic = await context.topic();
    const { member, keys, at } = await holding(context, topic, 20);
    const [a = '', b = ''] = keys;
    await member.acknowledge([at(a, 12), at(a, 3), at(b, 2), at(b, 9), at(b, 5)]);
    await member.acknowledge([at(a, 1), at(b, 4)]);
    await member.acknowledge([at(a, 12)]);
    await leave(member);
    const after = await next(context, topic, keys);
    assert.deepEqual(before(after, a), upTo(20).slice(13));
    assert.deepEqual(before(after, b), upTo(20).slice(10));
  },

  'what one group acknowledges another still gets': async (context) => {
    const { broker, fixture, tenant } = context;
    const topic = await context.topic();
    const other = fixture.group();
    const [one, two] = [
      await context.join(topic),
      await context.join(topic, { group: other, acknowledges: false }),
    ];
    await broker.publish(numbered(topic, tenant, 'k', { count: 30 }));
    await Promise.all([one.received(30), two.received(30)]);
    await Promise.all([leave(one), leave(two)]);
    const again = await context.join(topic, { group: other });
    await again.received(30);
    assert.deepEqual(again.numbers('k'), upTo(30));
    const none = await next(context, topic, ['k']);
    assert.deepEqual(before(none, 'k'), []);
  },

  'acknowledging while events come loses nothing and repeats nothing': async (context) => {
    const { broker, tenant } = context;
    const topic = await context.topic();
    const keys = keysOf(topic, tenant);
    const first = await context.join(topic);
    for (let n = 0; n < 20; n += 1) {
      await broker.publish(
        interleaved(keys.map((key) => numbered(topic, tenant, key, { count: 10, first: n * 10 }))),
      );
    }
    await first.received(200 * keys.length);
    await leave(first);
    for (const key of keys) assert.deepEqual(first.numbers(key), upTo(200), key);
    const after = await next(context, topic, keys);
    for (const key of keys) assert.deepEqual(before(after, key), [], key);
  },

  'an acknowledgement under way is finished by close': async (context) => {
    const topic = await context.topic();
    const { member, keys, at } = await holding(context, topic, 20);
    const told = member.acknowledge(keys.map((key) => at(key, 19)));
    await member.close();
    await told;
    assert.deepEqual(member.refusals, []);
    const after = await next(context, topic, keys);
    for (const key of keys) assert.deepEqual(before(after, key), [], key);
  },

  'no more than inFlightMax wait for their acknowledgement': async (context) => {
    const { broker, tenant } = context;
    const topic = await context.topic();
    const [slow, quick] = [keyIn(topic, tenant, 0), keyIn(topic, tenant, 1)];
    const inFlightMax = 10;
    let done = 0;
    const came: Delivery[] = [];
    const member = await context.join(topic, {
      inFlightMax,
      handle(self, deliveries) {
        if (deliveries[0]?.event?.key !== slow) {
          self.deliveries.push(...deliveries);
          void self.acknowledge(deliveries);
          return;
        }
        came.push(...deliveries);
        if (came.length - done > inFlightMax) {
          self.problems.push(`${came.length - done} are in flight`);
        }
      },
    });
    await broker.publish(numbered(topic, tenant, slow, { count: 100 }));
    await within('the first ones', () => came.length === inFlightMax);
    // The partition that waits keeps no other one waiting.
    await broker.publish(numbered(topic, tenant, quick, { count: 200 }));
    await member.received(200);
    assert.equal(came.length, inFlightMax);
    while (done < 100) {
      await within(`number ${done}`, () => came.length > done);
      const all = came.length;
      const last = came[Math.min(all, done + 7) - 1] as Delivery;
      done = Math.min(all, done + 7);
      await member.acknowledge([last]);
    }
    assert.deepEqual(
      came.map(({ event }) => JSON.parse(`${event?.dataJson}`).n),
      upTo(100),
    );
  },

  'a paused partition rests until it is resumed, and no other one does': async (context) => {
    const { broker, tenant } = context;
    const topic = await context.topic();
    const [p, q] = [keyIn(topic, tenant, 0), keyIn(topic, tenant, 1)];
    const member = await context.join(topic);
    const partition = { topic: topic.topic, partition: 0 };
    const count = async (first: number) => {
      const lists = [p, q].map((key) => numbered(topic, tenant, key, { count: 10, first }));
      await broker.publish(interleaved(lists));
      await within(`${q} up to ${first + 10}`, () => member.numbers(q).length >= first + 10);
    };
    await count(0);
    await within('both come', () => member.numbers(p).length === 10);
    member.subscription.pause([partition]);
    await count(10); // may have been fetched already
    const fetched = member.numbers(p).length;
    await count(20);
    await count(30);
    assert.ok(
      member.numbers(p).length <= Math.max(20, fetched),
      `${member.numbers(p).length} came`,
    );
    member.subscription.pause([partition]);
    member.subscription.resume([partition]);
    await within('the rest comes', () => member.numbers(p).length >= 40);
    await count(40);
    await within('it goes on', () => member.numbers(p).length >= 50);
    assert.deepEqual([member.numbers(p), member.numbers(q)], [upTo(50), upTo(50)]);
  },
};

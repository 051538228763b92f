/** Cases for members that come and go: who had what, who has it now, what became of the rest. */
import assert from 'node:assert/strict';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import {
  assertNoGap,
  type BrokerCase,
  type BrokerCases,
  idsOf,
  interleaved,
  keysOf,
  numbered,
  rejectsWith,
  type Topic,
  upTo,
  within,
} from './broker.fixtures.conformance.ts';
import type { Delivery, TopicPartition } from './broker.ts';
import { type JoinOptions, type Member, shared } from './broker-member.conformance.ts';

/** One partition while a member has it: its deliveries, handled one after the other. */
interface Lane {
  open: boolean;
  readonly waiting: Delivery[];
  working: Promise<void> | null;
}

/**
 * Members that handle as workers do: one event after the other, and when a partition is to go they
 * finish the one under way and acknowledge before they let go.
 */
function handlers() {
  const handled = new Map<string, number[]>();
  const doubles: { readonly other: Member; readonly name: string }[] = [];
  const members: Member[] = [];
  const lanes = new Map<Member, Map<string, Lane>>();

  const work = async (member: Member, name: string, lane: Lane) => {
    while (lane.open && lane.waiting.length > 0) {
      let last: Delivery | null = null;
      for (const delivery of lane.waiting.splice(0, 50)) {
        await setImmediate(); // something may happen between any two events
        if (!lane.open) break;
        const { event } = delivery;
        const key = `${event?.key}`;
        const numbers = handled.get(key) ?? [];
        handled.set(key, numbers);
        numbers.push(JSON.parse(`${event?.dataJson}`).n);
        last = delivery;
      }
      for (const other of members) {
        if (other !== member && lane.open && other.held.has(name)) doubles.push({ other, name });
      }
      if (last !== null) await member.acknowledge([last]);
    }
    lane.working = null;
  };
  const options: JoinOptions = {
    handle(member, deliveries) {
      const own = lanes.get(member) ?? new Map<string, Lane>();
      lanes.set(member, own);
      const { topic, partition } = deliveries[0] as Delivery;
      const name = `${topic}/${partition}`;
      const lane: Lane = own.get(name) ?? { open: true, waiting: [], working: null };
      own.set(name, lane);
      lane.waiting.push(...deliveries);
      lane.working ??= work(member, name, lane);
    },
    async letGo(member, partitions: readonly TopicPartition[]) {
      const own = lanes.get(member);
      const leaving = partitions.map(({ topic, partition }) => {
        const name = `${topic}/${partition}`;
        const lane = own?.get(name);
        own?.delete(name);
        if (lane) lane.open = false;
        return lane?.working;
      });
      await Promise.all(leaving);
    },
  };
  return { handled, doubles, members, options };
}

/** Of events published and not handled yet: what takes long to hand over is no reason for more. */
const backlogMax = 3_000;

/** Publishes to every key until told to stop; answers how many each key got. */
function load(
  { broker, tenant }: BrokerCase,
  topic: Topic,
  keys: readonly string[],
  handled: () => number,
) {
  let running = true;
  const run = async () => {
    let first = 0;
    while (running) {
      if (first * keys.length - handled() > backlogMax) {
        await sleep(10);
        continue;
      }
      await broker.publish(
        interleaved(keys.map((key) => numbered(topic, tenant, key, { count: 10, first }))),
      );
      first += 10;
    }
    return first;
  };
  const done = run();
  done.catch(() => {}); // told by stop
  return {
    stop() {
      running = false;
      return done;
    },
  };
}

/** Two members and 20 events of each key, received by the first alone before the second came. */
async function handedOver(context: BrokerCase, options: JoinOptions) {
  const topic = await context.topic();
  const keys = keysOf(topic, context.tenant);
  const first = await context.join(topic, { acknowledges: false, ...options });
  const lists = keys.map((key) => numbered(topic, context.tenant, key, { count: 20 }));
  await context.broker.publish(interleaved(lists));
  await first.received(20 * keys.length);
  const second = await context.join(topic, { acknowledges: false });
  await shared([first, second], [topic]);
  const moved = keys.filter((_, p) => second.held.has(`${topic.topic}/${p}`));
  assert.ok(moved.length > 0 && moved.length < keys.length, `${moved.length} partitions moved`);
  return { topic, keys, first, second, moved };
}

export const rebalanceCases: BrokerCases = {
  'each key stays in order while members come and go under load': async (context) => {
    const topic = await context.topic(6);
    const keys = Array.from({ length: 18 }, (_, k) => `key-${k}`);
    const { handled, doubles, members, options } = handlers();
    const all: Member[] = [];
    const come = async () => {
      const member = await context.join(topic, options);
      members.push(member);
      all.push(member);
    };
    await come();
    await shared(members, [topic]);
    const size = () => [...handled.values()].reduce((sum, { length }) => sum + length, 0);
    const { stop } = load(context, topic, keys, size);
    for (const change of ['come', 'come', 'go', 'come', 'go', 'come', 'go', 'go'] as const) {
      if (change === 'come') await come();
      else await members.shift()?.close();
      await shared(members, [topic]);
      const before = size();
      await within('the work goes on', () => size() > before + 500);
    }
    const count = await stop();
    await within('everything is handled', () =>
      keys.every((key) => handled.get(key)?.includes(count - 1)),
    ).catch(() => {}); // what is missing is told below
    for (const key of keys) assertNoGap(handled.get(key) ?? [], count, key);
    for (const { other, name } of doubles) {
      const lost = other.revocations.some(
        ({ lost, partitions }) => lost && partitions.includes(name),
      );
      assert.ok(lost, `two members had ${name} at once`);
    }
    assert.deepEqual(
      all.flatMap(({ refusals }) => refusals),
      [],
    );
  },

  'what is acknowledged while letting go counts': async (context) => {
    const { topic, first, second, moved } = await handedOver(context, {
      async letGo(member, partitions, lost) {
        assert.equal(lost, false);
        await sleep(300);
        const going = new Set(partitions.map(({ partition }) => partition));
        await member.acknowledge(member.deliveries.filter(({ partition }) => going.has(partition)));
      },
    });
    const ends = moved.flatMap((key) =>
      numbered(topic, context.tenant, key, { count: 1, first: 20 }),
    );
    await context.broker.publish(ends);
    for (const key of moved) {
      await within(`the end of ${key}`, () => second.numbers(key).includes(20));
      assert.deepEqual(second.numbers(key), [20], key);
    }
    assert.deepEqual(first.refusals, []);
  },

  'what was not acknowledged goes to whom the partition goes': async (context) => {
    const { second, moved } = await handedOver(context, {});
    for (const key of moved) {
      await within(`${key} comes again`, () => second.numbers(key).length >= 20);
      assert.deepEqual(second.numbers(key), upTo(20), key);
    }
  },

  'acknowledging what went to another member does nothing': async (context) => {
    const { topic, keys, first, second, moved } = await handedOver(context, {});
    const theirs = first.deliveries.filter(({ event }) => moved.includes(`${event?.key}`));
    await within('they come again', () => second.deliveries.length >= theirs.length);
    await first.acknowledge(theirs);
    assert.deepEqual(first.refusals, []);
    await Promise.all([first.close(), second.close()]);
    const third = await context.join(topic);
    await third.received(20 * keys.length);
    for (const key of keys) assert.deepEqual(third.numbers(key), upTo(20), key);
  },

  'a member that closes leaves its partitions to the others at once': async (context) => {
    const { topic, keys, first, second } = await handedOver(context, {});
    const mine = keys.filter((_, p) => first.held.has(`${topic.topic}/${p}`));
    await first.close();
    await shared([second], [topic]);
    for (const key of mine) {
      await within(`${key} comes again`, () => second.numbers(key).length >= 20);
      assert.deepEqual(second.numbers(key), upTo(20), key);
    }
    const silent = first.deliveries.length;
    await context.broker.publish(
      numbered(topic, context.tenant, keys[0] as string, { count: 1, first: 20 }),
    );
    await within('the next event', () => second.numbers(keys[0] as string).at(-1) === 20);
    assert.equal(first.deliveries.length, silent, 'a closed member gets nothing');
  },

  'close may be called again, by many, and ends what the client had': async (context) => {
    const topic = await context.topic();
    const broker = await context.another();
    const member = await context.join(topic, { broker });
    await shared([member], [topic]);
    const { subscription } = member;
    await Promise.all([subscription.close(), subscription.close()]);
    await subscription.close();
    const second = await context.join(topic, { broker });
    await shared([second], [topic]);
    await Promise.all([broker.close(), broker.close()]);
    await broker.close();
    await second.subscription.close();
    const event = numbered(topic, context.tenant, 'k', { count: 1 });
    await assert.rejects(broker.publish(event), rejectsWith('BROKER_UNAVAILABLE'));
    // What the closed client had is free.
    const third = await context.join(topic);
    await shared([third], [topic]);
  },

  'publishes under way are finished by close': async (context) => {
    const topic = await context.topic();
    const member = await context.join(topic);
    const broker = await context.another();
    const keys = keysOf(topic, context.tenant);
    const calls = Array.from({ length: 20 }, (_, n) =>
      interleaved(
        keys.map((key) => numbered(topic, context.tenant, key, { count: 10, first: n * 10 })),
      ),
    );
    const published = calls.map((events) => broker.publish(events));
    await Promise.all([broker.close(), ...published]);
    await member.received(200 * keys.length);
    assert.deepEqual(new Set(member.ids), new Set(calls.flatMap(idsOf)));
    for (const key of keys) assert.deepEqual(member.numbers(key), upTo(200), key);
  },
};

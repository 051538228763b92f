/** What is special to Redis Streams: fencing, trimming, lag, and entries of others. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keyIn, numbered, upTo, within } from '../../../ports/broker.fixtures.conformance.ts';
import type { Member } from '../../../ports/broker-member.conformance.ts';
import { ownersKey, streamKey } from './names.ts';
import { openStage, type Stage, tenant } from './test-streams.ts';

const url = process.env.REDIS_URL ?? '';
const skip = url === '' ? 'REDIS_URL is not set' : false;

const stamp = crypto.randomUUID();

const numbersOf = (member: Member) =>
  member.deliveries.map(({ event }) => JSON.parse(event?.dataJson ?? 'null').n);

/** Nodes of a stream are removed as a whole: 4 KiB of entries may be left. */
const nodeMax = 20;

async function lagOf({ broker, topic }: Stage, group = 'group'): Promise<number> {
  const lags = await broker.lag(group, [topic.topic]);
  return lags.reduce((sum, { lag }) => sum + lag, 0);
}

describe('a partition of Redis Streams', { skip }, () => {
  it('is read by nobody who lost it without knowing', async (t) => {
    const stage = await openStage(t, url, { partitions: 1 });
    const { redis, topic } = stage;
    const member = await stage.join();
    await stage.publish(5);
    await member.received(5);
    await member.acknowledged();
    // As if the process had slept: the partition went to another one.
    const owners = ownersKey(topic.topic, 'group');
    await redis.send(owners, ['HSET', owners, '0', '999999 somebody-else']);
    const members = owners.replace(/:o$/, ':m');
    await redis.send(members, ['ZADD', members, `${Date.now() + 60_000}`, 'somebody-else']);
    await stage.publish(5, { first: 5 });
    await within('it hears', () => member.revocations.some(({ lost }) => lost));
    assert.deepEqual(numbersOf(member), upTo(5));
    const key = streamKey(topic.topic, 0);
    const [pending] = await redis.send<[number]>(key, ['XPENDING', key, 'group']);
    assert.equal(pending, 0, 'nothing was taken');
    assert.deepEqual(member.refusals, []);
    await redis.send(members, ['ZREM', members, 'somebody-else']);
    await within('it has it again', () => member.held.size === 1);
    await member.received(10);
    assert.deepEqual(numbersOf(member), upTo(10));
  });

  it('is acknowledged by nobody who lost it without knowing', async (t) => {
    const stage = await openStage(t, url, { partitions: 1 });
    const { redis, topic } = stage;
    const member = await stage.join({ acknowledges: false });
    await stage.publish(5);
    await member.received(5);
    const owners = ownersKey(topic.topic, 'group');
    await redis.send(owners, ['HSET', owners, '0', '999999 somebody-else']);
    await member.acknowledge(member.deliveries);
    assert.deepEqual(member.refusals, []);
    assert.equal(await lagOf(stage), 5);
  });

  it('goes on in order when connections are cut again and again', async (t) => {
    const stage = await openStage(t, url, { partitions: 2 });
    const { redis } = stage;
    const name = `cut-${crypto.randomUUID()}`;
    const member = await stage.join({ broker: await stage.open({ clientId: name }) });
    const keys = [0, 1].map((partition) => keyIn(stage.topic, tenant, partition));
    const cut = async () => {
      const list = await redis.send<string>(null, ['CLIENT', 'LIST']);
      const ids = list.split('\n').flatMap((line) => {
        const found = /^id=(\d+) .* name=(\S*)/.exec(line);
        return found?.[2] === name ? [found[1] as string] : [];
      });
      for (const id of ids) await redis.send(null, ['CLIENT', 'KILL', 'ID', id]).catch(() => {});
    };
    for (let n = 0; n < 20; n += 1) {
      await Promise.all([0, 1].map((partition) => stage.publish(50, { partition, first: n * 50 })));
      if (n % 4 === 3) await cut();
    }
    await within('the last ones come', () =>
      keys.every((key) => new Set(member.numbers(key)).size === 1_000),
    );
    for (const key of keys) {
      const fresh = [...new Set(member.numbers(key))];
      assert.deepEqual(fresh, upTo(1_000), 'first times are in order');
    }
    await within('all are acknowledged', async () => {
      const last = member.deliveries.slice(-2);
      await member.acknowledge(last);
      return (await lagOf(stage)) === 0;
    });
  });

  it('comes back to a member whose name another one took', async (t) => {
    const stage = await openStage(t, url, { partitions: 2 });
    const [first, second] = [
      await stage.join({ memberId: 'twin' }),
      await stage.join({ memberId: 'twin' }),
    ];
    await within('both have one', () => first.held.size === 1 && second.held.size === 1);
    assert.ok(first.errors.some((text) => text.includes('twin')));
    await stage.publish(3, { partition: 0 });
    await stage.publish(3, { partition: 1 });
    await within('all come', () => first.ids.length + second.ids.length >= 6);
  });

  it('is shared again when the group was removed by hand', async (t) => {
    const stage = await openStage(t, url, { partitions: 1 });
    const { redis, topic } = stage;
    const member = await stage.join();
    await stage.publish(3);
    await member.received(3);
    const key = streamKey(topic.topic, 0);
    await redis.send(key, ['XGROUP', 'DESTROY', key, 'group']);
    await stage.publish(1, { first: 3 });
    await within('it goes on', () => numbersOf(member).includes(3));
  });

  it('is there again when its topic was deleted and made again', async (t) => {
    const stage = await openStage(t, url, { partitions: 1 });
    const { broker, topic } = stage;
    const member = await stage.join();
    await stage.publish(3);
    await member.received(3);
    await broker.deleteTopics([topic.topic]);
    await within('it is told', () => member.errors.some((text) => text.includes('not exist')));
    assert.equal(member.held.size, 0);
    await broker.createTopics([topic]);
    await stage.publish(1, { first: 3 });
    await within('it goes on', () => numbersOf(member).includes(3));
    assert.deepEqual(
      member.errors.filter((text) => text.includes('another member')),
      [],
    );
  });
});

describe('a stream', { skip }, () => {
  it('loses what every group has acknowledged, and nothing else', async (t) => {
    const stage = await openStage(t, url, { partitions: 1 });
    const quick = await stage.join({ group: 'quick' });
    const slow = await stage.join({ group: 'slow', acknowledges: false });
    await stage.publish(2_000);
    await Promise.all([quick.received(2_000), slow.received(1_000)]);
    await quick.acknowledged();
    // The slow one has 1,000 in flight; its first 500 are done.
    await slow.acknowledge([slow.deliveries[499] as never]);
    await within('half is trimmed', async () => (await stage.length()) <= 1_500 + nodeMax);
    assert.ok((await stage.length()) >= 1_500, `${await stage.length()} are left`);
    assert.equal(await lagOf(stage, 'quick'), 0);
    assert.equal(await lagOf(stage, 'slow'), 1_500);
    await slow.close();
    const next = await stage.join({ group: 'slow' });
    await next.received(1_500);
    assert.deepEqual(numbersOf(next), upTo(2_000).slice(500));
    await next.acknowledged();
    await within('all of it is trimmed', async () => (await stage.length()) <= nodeMax);
    assert.equal(await lagOf(stage, 'slow'), 0);
    await stage.publish(7);
    await next.received(1_507);
  });

  it('keeps everything while it has no group', async (t) => {
    const stage = await openStage(t, url, { partitions: 1 });
    await stage.publish(500);
    const key = streamKey(stage.topic.topic, 0);
    await stage.redis.send(key, ['XLEN', key]);
    assert.equal(await stage.length(), 500);
    assert.equal(await lagOf(stage, 'nobody'), 500);
    const member = await stage.join();
    await member.received(500);
    assert.deepEqual(numbersOf(member), upTo(500));
  });

  it('with a retention keeps what was acknowledged, for groups that come later', async (t) => {
    const stage = await openStage(t, url, { partitions: 1, retentionMs: 3_600_000 });
    const first = await stage.join();
    await stage.publish(300);
    await first.received(300);
    await first.acknowledged();
    const second = await stage.join({ group: 'later' });
    await second.received(300);
    assert.equal(await stage.length(), 300);
  });

  it('with a retention loses what is older, but for what waits', async (t) => {
    const stage = await openStage(t, url, { partitions: 1, retentionMs: 1 });
    const member = await stage.join({ acknowledges: false });
    await stage.publish(300);
    await member.received(300);
    await member.acknowledge([member.deliveries[99] as never]);
    await within('it is trimmed', async () => (await stage.length()) <= 200 + nodeMax);
    assert.ok((await stage.length()) >= 200);
  });

  it('tells lag where Redis cannot', async (t) => {
    const stage = await openStage(t, url, { partitions: 1 });
    const member = await stage.join();
    await stage.publish(10);
    await member.received(10);
    await member.acknowledged();
    await member.close();
    await stage.publish(2_500, { first: 10 });
    const key = streamKey(stage.topic.topic, 0);
    const found = await stage.redis.send<[string, unknown][]>(key, ['XRANGE', key, '-', '+']);
    await stage.redis.send(key, ['XDEL', key, found[1_000]?.[0] as string]);
    assert.equal(await lagOf(stage), 2_499);
  });

  it('carries CloudEvents of others, and names what is none', async (t) => {
    const stage = await openStage(t, url, { partitions: 1 });
    const { redis, topic } = stage;
    const member = await stage.join();
    const key = streamKey(topic.topic, 0);
    const event = ['ce_specversion', '1.0', 'ce_id', '1', 'ce_source', 'them', 'ce_type', 'T'];
    await redis.send(key, ['XADD', key, '*', ...event, 'data', '{"a":1}']);
    await redis.send(key, ['XADD', key, '*', 'hello', 'wörld', 'data', '{}']);
    await redis.send(key, ['XADD', key, '*', 'id', 'x', 'data', 'y'.repeat(100_000)]);
    await stage.publish(1);
    const [theirs, unread, large, ours] = await member.received(4);
    assert.deepEqual([theirs?.event?.id, theirs?.event?.dataJson], ['1', '{"a":1}']);
    assert.equal(unread?.event, null);
    assert.match(unread?.problem ?? '', /specversion/);
    assert.equal(Buffer.from(unread?.raw ?? []).toString(), '{"hello":"wörld","data":"{}"}');
    assert.equal(large?.raw?.byteLength, 65_536);
    assert.equal(ours?.event?.tenantId, tenant);
  });

  it('is named without harm by any text', async (t) => {
    const stage = await openStage(t, url, { partitions: 1, topic: `a{b}c:é *?[x] ${stamp}` });
    const member = await stage.join({ group: 'g {x} ü' });
    const other = await stage.join({ group: '*', acknowledges: false });
    await stage.publish(3);
    await Promise.all([member.received(3), other.received(3)]);
    await member.acknowledged();
    assert.deepEqual([await lagOf(stage, 'g {x} ü'), await lagOf(stage, '*')], [0, 3]);
    const { topic, partitions } = stage.topic;
    assert.deepEqual(await stage.broker.topics([topic]), [{ topic, partitions }]);
    const listed = await stage.broker.topics();
    assert.ok(listed.some((info) => info.topic === topic));
  });

  it('gets no event behind one that was refused', async (t) => {
    const stage = await openStage(t, url, { partitions: 1 });
    const key = keyIn(stage.topic, tenant, 0);
    const { broker, redis, topic } = stage;
    const batch = (first: number) =>
      broker.publish(numbered(topic, tenant, key, { count: 10, first }));
    const stream = streamKey(topic.topic, 0);
    await batch(0);
    // The server refuses the next one: its key is no stream for a moment.
    await redis.send(stream, ['RENAME', stream, `${stream}-away`]);
    await redis.send(stream, ['SET', stream, 'in the way']);
    const first = batch(10);
    const second = batch(20);
    const outcomes = await Promise.allSettled([first, second]);
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['rejected', 'rejected'],
    );
    await redis.send(stream, ['RENAME', `${stream}-away`, stream]);
    await batch(10);
    const member = await stage.join();
    await member.received(20);
    assert.deepEqual(numbersOf(member), upTo(20));
  });
});

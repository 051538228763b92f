import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it, type TestContext } from 'node:test';
import { type AsyncMessage, Connection } from 'rabbitmq-client';
import { eventually } from '../../../test/support/eventually.ts';
import { MillraceError } from '../../core/errors.ts';
import type { Broker } from '../../ports/broker.ts';
import { openRabbitmqBroker } from './broker.ts';
import { socketOf } from './link.ts';
import { eventOf, events, patienceMs, TestMember } from './test-member.ts';

const url = process.env.AMQP_URL ?? '';
const skip = url === '' ? 'AMQP_URL is not set' : false;

const coded = (code: string) => (error: unknown) =>
  error instanceof MillraceError && error.code === code;

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

describe('RabbitMQ', { skip }, () => {
  let broker: Broker;
  const made: string[] = [];

  before(async () => {
    broker = await openRabbitmqBroker({ url });
  });
  after(async () => {
    await broker.deleteTopics(made);
    await broker.close();
  });

  async function topicOf(partitions: number): Promise<string> {
    const topic = `test.${randomUUID()}`;
    made.push(topic);
    await broker.createTopics([{ topic, partitions }]);
    return topic;
  }

  async function another(t: TestContext): Promise<Broker> {
    const opened = await openRabbitmqBroker({ url });
    t.after(() => opened.close());
    return opened;
  }

  /** A client that knows nothing of us. */
  async function foreign(t: TestContext) {
    const connection = new Connection(url);
    const channel = await connection.acquire();
    t.after(async () => {
      await channel.close();
      await connection.close();
    });
    await channel.confirmSelect();
    return channel;
  }

  it('finds the socket of the client, to send what belongs together at once', async (t) => {
    const connection = new Connection(url);
    t.after(() => connection.close());
    await connection.onConnect();
    assert.ok(socketOf(connection), 'another client: publishing costs a third more now');
  });

  it('writes CloudEvents in binary mode that any client can read', async (t) => {
    const topic = await topicOf(1);
    const channel = await foreign(t);
    const { queue } = await channel.queueDeclare({ exclusive: true });
    await channel.queueBind({ queue, exchange: topic, routingKey: '0' });
    const outgoing = {
      ...eventOf(topic, { cents: 12 }),
      place: { logId: 'log', partition: 0, offset: 7 },
    };
    await broker.publish([outgoing]);
    const message = await new Promise<AsyncMessage>((resolve) => {
      void channel.basicConsume({ queue, noAck: true }, resolve);
    });
    assert.equal(message.contentType, 'application/json');
    assert.equal(String(message.body), '{"cents":12}');
    assert.equal(message.durable, true);
    const { event } = outgoing;
    assert.deepEqual(message.headers, {
      'cloudEvents:specversion': '1.0',
      'cloudEvents:id': event.eventId,
      'cloudEvents:source': 'millrace',
      'cloudEvents:type': 'rabbitmq.Tested',
      'cloudEvents:time': event.timestamp,
      'cloudEvents:partitionkey': 'acme:k',
      'cloudEvents:tenantid': 'acme',
      'cloudEvents:eventversion': '1',
      'cloudEvents:correlationid': 'k',
      'cloudEvents:subject': 'k',
      'cloudEvents:logplace': 'log/0/7',
    });
  });

  it('reads what other clients write, and says what is wrong with the rest', async (t) => {
    const topic = await topicOf(1);
    const member = await TestMember.join(await another(t), [topic]);
    const channel = await foreign(t);
    const to = { exchange: topic, routingKey: '0', durable: true };
    const attributes = { specversion: '1.0', id: '7', source: '/shop', type: 'order.paid' };
    const headers = (prefix: string, more: object = {}) =>
      Object.fromEntries(
        Object.entries({ ...attributes, ...more }).map(([name, value]) => [prefix + name, value]),
      );
    // An object becomes JSON without a content encoding.
    const plain = { ...to, headers: headers('cloudEvents:', { eventversion: 3 }) };
    await channel.basicPublish(plain, { paid: true });
    await channel.basicPublish({ ...to, headers: headers('cloudEvents_') }, Buffer.from('[1, 2]'));
    await channel.basicPublish(
      { ...to, headers: headers('cloudEvents:'), contentType: 'application/json' },
      Buffer.alloc(0),
    );
    await channel.basicPublish({ ...to, headers: headers('cloudEvents:') }, 'some text');
    await channel.basicPublish({ ...to, headers: headers('cloudEvents:') }, Buffer.from('{no'));
    await channel.basicPublish(
      { ...to, headers: headers('cloudEvents:'), contentEncoding: 'gzip' },
      Buffer.from([0x1f, 0x8b]),
    );
    await channel.basicPublish({ ...to, contentType: 'application/xml' }, Buffer.from('<x/>'));
    await channel.basicPublish(to, Buffer.alloc(100_000, 'x'));
    const came = await member.received(8);
    const good = came.slice(0, 3).map(({ event }) => event);
    assert.deepEqual(
      good.map((event) => [event?.id, event?.source, event?.type, event?.tenantId]),
      good.map(() => ['7', '/shop', 'order.paid', null]),
    );
    assert.deepEqual(
      good.map((event) => [event?.version, JSON.parse(event?.dataJson ?? '')]),
      [
        [3, { paid: true }],
        [1, [1, 2]],
        [1, null],
      ],
    );
    const bad = came.slice(3);
    assert.deepEqual(
      bad.map(({ problem }) => problem),
      [
        'its data is text/plain, not JSON',
        'its data is no JSON',
        'its content encoding is gzip, not utf-8',
        'its data is no JSON',
        'its data is no JSON',
      ],
    );
    assert.deepEqual(
      bad.map(({ event, raw }) => [event, raw?.length]),
      [9, 3, 2, 4, 65_536].map((bytes) => [null, bytes]),
    );
    assert.equal(Buffer.from(bad[0]?.raw ?? []).toString(), 'some text');
    // They are acknowledged as any other.
    await eventually(
      'nothing is left',
      async () => (await broker.lag('testers', [topic])).every(({ lag }) => lag === 0),
      patienceMs,
    );
  });

  it('carries nothing, null and 8 MB', async (t) => {
    const topic = await topicOf(1);
    const member = await TestMember.join(await another(t), [topic]);
    const large = 'ü'.repeat(4_194_304);
    await broker.publish([eventOf(topic, null), eventOf(topic, ''), eventOf(topic, large)]);
    await member.received(3);
    assert.deepEqual(member.payloads.slice(0, 2), [null, '']);
    assert.ok(member.payloads[2] === large);
  });

  it('refuses a partition that the topic does not have, and headers beyond a frame', async () => {
    const topic = await topicOf(2);
    const beyond = [...events(topic, 2), eventOf(topic, 2, { partition: 2 })];
    await assert.rejects(broker.publish(beyond), (error: MillraceError) => {
      assert.equal(error.code, 'BROKER_EVENT_REFUSED');
      return error.details?.index === 2;
    });
    const metadataJson = JSON.stringify({ much: 'é'.repeat(70_000) });
    const heavy = { ...eventOf(topic, 1), metadataJson };
    await assert.rejects(broker.publish([eventOf(topic, 0), heavy]), (error: MillraceError) => {
      assert.equal(error.code, 'BROKER_EVENT_REFUSED');
      return error.details?.index === 1;
    });
    await broker.publish(events(topic, 1));
  });

  it('gives three members shares that differ by one, whatever comes and goes', async (t) => {
    const topic = await topicOf(8);
    const members: TestMember[] = [];
    const sizes = () => members.map(({ held }) => held.size).sort();
    const isShared = () => {
      const all = members.flatMap(({ held }) => [...held]);
      return all.length === 8 && new Set(all).size === 8;
    };
    for (const wanted of [[8], [4, 4], [2, 3, 3]]) {
      members.push(await TestMember.join(await another(t), [topic]));
      const what = `shares ${wanted}`;
      await eventually(what, () => isShared() && `${sizes()}` === `${wanted}`, patienceMs);
    }
    const [first] = members.splice(0, 1);
    await first?.close();
    await eventually('two share', () => isShared() && `${sizes()}` === '4,4', patienceMs);
    assert.deepEqual(first?.held.size, 0);
    assert.deepEqual(
      members.flatMap(({ lost }) => lost),
      [],
    );
  });

  it('keeps the order when members that hold much and little vanish', async (t) => {
    const topic = await topicOf(1);
    const [a, b] = [await openRabbitmqBroker({ url }), await openRabbitmqBroker({ url })];
    const first = await TestMember.join(a, [topic], { acknowledges: false, inFlightMax: 40 });
    await first.holds(1);
    await broker.publish(events(topic, 60));
    await first.received(40);
    await a.close();
    const second = await TestMember.join(b, [topic], { acknowledges: false, inFlightMax: 5 });
    await second.received(5);
    await b.close();
    assert.deepEqual(second.payloads, upTo(5));
    const third = await TestMember.join(await another(t), [topic]);
    await third.received(60);
    assert.deepEqual(third.payloads, upTo(60));
    assert.ok(third.deliveries[0]?.redelivered);
  });

  it('holds back what is paused, and loses nothing of it when the member goes', async (t) => {
    const topic = await topicOf(2);
    const paused = await another(t);
    const member = await TestMember.join(paused, [topic]);
    await member.holds(2);
    member.subscription?.pause([{ topic, partition: 0 }]);
    await broker.publish(events(topic, 20));
    await broker.publish(events(topic, 20, { partition: 1 }));
    await member.received(20);
    assert.ok(member.deliveries.every(({ partition }) => partition === 1));
    await paused.close();
    const next = await TestMember.join(await another(t), [topic]);
    await next.received(20);
    assert.deepEqual(next.payloads, upTo(20));
    assert.ok(next.deliveries.every(({ partition }) => partition === 0));
  });

  it('tells the server once what is acknowledged several times at once', async (t) => {
    const topic = await topicOf(1);
    const member = await TestMember.join(await another(t), [topic], { acknowledges: false });
    for (const count of [1, 2, 3]) {
      await broker.publish(events(topic, 1, { first: count }));
      const deliveries = (await member.received(count)).slice(-1);
      // The server ends the channel of who acknowledges again when nothing else is outstanding.
      await Promise.all([1, 2, 3].map(() => member.subscription?.acknowledge(deliveries)));
    }
    assert.deepEqual(member.payloads, [1, 2, 3]);
    assert.ok(member.deliveries.every(({ redelivered }) => !redelivered));
    assert.deepEqual([member.errors, member.lost], [[], []]);
  });

  it('deletes a topic with the queues of all its groups, and begins anew', async (t) => {
    const topic = await topicOf(2);
    const [group, other] = ['billing.eu', 'shipping'];
    const old = await TestMember.join(await another(t), [topic], { group });
    await TestMember.join(await another(t), [topic], { group: other, acknowledges: false });
    await broker.publish(events(topic, 5));
    await old.received(5);
    await broker.deleteTopics([topic]);
    assert.deepEqual(await broker.topics([topic]), []);
    await assert.rejects(broker.publish(events(topic, 1)), coded('BROKER_TOPIC_UNKNOWN'));
    const isTold = () => /does not exist/.test(old.errors.join());
    await eventually('the member is told', isTold, patienceMs);
    await broker.createTopics([{ topic, partitions: 3 }]);
    await old.holds(3);
    await eventually(
      'nothing is left of what was',
      async () => (await broker.lag(other, [topic])).map(({ lag }) => lag).join() === '0,0,0',
      patienceMs,
    );
    await broker.publish(events(topic, 3, { first: 100, partition: 2 }));
    await old.received(8);
    assert.deepEqual(old.payloads.slice(5), [100, 101, 102]);
  });

  it('goes on with its other topics when one is deleted', async (t) => {
    const [gone, stays] = [await topicOf(1), await topicOf(2)];
    const member = await TestMember.join(await another(t), [gone, stays]);
    await broker.publish([...events(gone, 2), ...events(stays, 2, { partition: 1 })]);
    await member.received(4);
    await broker.deleteTopics([gone]);
    const isTold = () => /joining again.*does not exist/.test(member.errors.join());
    await eventually('the member is told', isTold, patienceMs);
    await broker.publish(events(stays, 3, { first: 10 }));
    await member.received(7);
    assert.deepEqual(member.payloads.slice(4), [10, 11, 12]);
    await broker.createTopics([{ topic: gone, partitions: 1 }]);
    const isBack = () => member.subscription?.assigned.some(({ topic }) => topic === gone);
    await eventually('it has the topic again', isBack, patienceMs);
    await broker.publish(events(gone, 1, { first: 20 }));
    await member.received(8);
    assert.deepEqual(member.payloads.slice(7), [20]);
  });

  it('gives the JSON of other clients as they wrote it, digit by digit', async (t) => {
    const topic = await topicOf(1);
    const member = await TestMember.join(await another(t), [topic]);
    const channel = await foreign(t);
    const names = { specversion: '1.0', id: '7', source: '/shop', type: 'order.paid' };
    const headers = Object.fromEntries(
      Object.entries(names).map(([name, value]) => [`cloudEvents:${name}`, value]),
    );
    const to = { exchange: topic, routingKey: '0', headers, contentType: 'application/json' };
    const written = ['{"account":12345678901234567890, "rate": 1.10}', '1e400', '{"a":1,"a":2}'];
    for (const text of [...written, '{"cut']) await channel.basicPublish(to, Buffer.from(text));
    const came = await member.received(4);
    assert.deepEqual(
      came.map(({ event }) => event?.dataJson),
      [...written, undefined],
    );
    assert.match(came[3]?.problem ?? '', /its data is no JSON/);
  });

  it('knows a topic from an exchange of somebody else', async (t) => {
    const channel = await foreign(t);
    const topic = `test.${randomUUID()}`;
    await channel.exchangeDeclare({ exchange: topic, type: 'fanout', durable: true });
    assert.deepEqual(await broker.topics([topic]), []);
    await assert.rejects(broker.publish(events(topic, 1)), coded('BROKER_TOPIC_UNKNOWN'));
    await assert.rejects(
      broker.createTopics([{ topic, partitions: 2 }]),
      coded('BROKER_TOPIC_MISMATCH'),
    );
    await channel.queueDelete(`${topic}#partitions`);
    await channel.queueDelete(`${topic}#groups`);
    await channel.exchangeDelete({ exchange: `${topic}#partitions=2` });
    await channel.exchangeDelete({ exchange: topic });
  });

  it('says who is denied, what is down and what is no address', async () => {
    const wrong = new URL(url);
    wrong.password = 'wrong';
    await assert.rejects(openRabbitmqBroker({ url: wrong.href }), coded('BROKER_DENIED'));
    await assert.rejects(openRabbitmqBroker({ url, username: 'x' }), coded('BROKER_DENIED'));
    await assert.rejects(openRabbitmqBroker({ url: `${url}/none` }), coded('BROKER_DENIED'));
    await assert.rejects(
      openRabbitmqBroker({ url: 'amqp://127.0.0.1:1' }),
      coded('BROKER_UNAVAILABLE'),
    );
    await assert.rejects(openRabbitmqBroker({ url: 'http://x' }), coded('CONFIG_INVALID'));
    const { hostname, port, username, password } = new URL(url);
    const either = await openRabbitmqBroker({
      url: `amqp://127.0.0.1:1,${hostname}:${port}`,
      username,
      password,
    });
    assert.equal((await either.health()).ok, true);
    await either.close();
    assert.equal((await either.health()).ok, false);
  });
});

/**
 * The driver against a real Kafka, beyond what every broker must pass: what is on the wire, both
 * group protocols side by side, messages of others, compression, and members that come back.
 */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Admin, Consumer, Producer } from '@platformatic/kafka';
import { eventually } from '../../../test/support/eventually.ts';
import { isMillraceError } from '../../core/errors.ts';
import type {
  Broker,
  BrokerSubscription,
  Delivery,
  OutgoingEvent,
  SubscribeOptions,
  TopicPartition,
} from '../../ports/broker.ts';
import { openKafkaBroker } from './broker.ts';
import { Cluster } from './cluster.ts';

const url = process.env.KAFKA_URL ?? '';
const skip = url === '' ? 'KAFKA_URL is not set: eval "$(scripts/services.sh up kafka)"' : false;
const host = url.replace('kafka://', '');
const patienceMs = 30_000;

const random = () => randomBytes(5).toString('hex');

function event(topic: string, partition: number, payload: unknown): OutgoingEvent {
  return {
    topic,
    partition,
    payloadJson: JSON.stringify(payload),
    metadataJson: '{"traceparent":"00-ab-cd-01","über":"ß"}',
    place: { logId: 'log-1', partition, offset: 7 },
    event: {
      eventId: randomUUID(),
      eventType: 'OrderPaid',
      version: 3,
      tenantId: 'acme',
      key: `order-${partition}`,
      timestamp: '2026-11-21T10:00:00.123Z',
      correlationId: 'correlation-1',
      causationId: null,
      payload: payload as never,
      metadata: { traceparent: '00-ab-cd-01', über: 'ß' },
    },
  };
}

interface Seen {
  readonly deliveries: Delivery[];
  readonly held: Set<number>;
  readonly revoked: { readonly partitions: number[]; readonly lost: boolean }[];
  readonly errors: string[];
  readonly subscription: BrokerSubscription;
}

const numbersOf = (partitions: readonly TopicPartition[]) => partitions.map((one) => one.partition);

async function join(
  broker: Broker,
  topic: string,
  group: string,
  options: Partial<SubscribeOptions> & { readonly acknowledges?: boolean } = {},
): Promise<Seen> {
  const deliveries: Delivery[] = [];
  const held = new Set<number>();
  const revoked: Seen['revoked'] = [];
  const errors: string[] = [];
  const joined = Promise.withResolvers<BrokerSubscription>();
  const subscription = await broker.subscribe({
    group,
    topics: [topic],
    from: 'start',
    onDeliveries: (_partition, some) => {
      deliveries.push(...some);
      if (options.acknowledges === false) return;
      joined.promise.then((own) => own.acknowledge(some)).catch(() => {});
    },
    onAssigned: (partitions) => {
      for (const partition of numbersOf(partitions)) held.add(partition);
    },
    onRevoked: (partitions, lost) => {
      for (const partition of numbersOf(partitions)) held.delete(partition);
      revoked.push({ partitions: numbersOf(partitions), lost });
    },
    onError: (error) => errors.push((error as Error).message),
    ...options,
  });
  joined.resolve(subscription);
  return { deliveries, held, revoked, errors, subscription };
}

const payloads = (deliveries: readonly Delivery[], partition: number) =>
  deliveries
    .filter((delivery) => delivery.partition === partition)
    .map((delivery) => JSON.parse(delivery.event?.dataJson ?? 'null'));

describe('Kafka driver', { skip }, () => {
  let broker: Broker;
  const opened: Broker[] = [];
  const topics: string[] = [];
  const open = async (parameters = '') => {
    const one = await openKafkaBroker({ url: `${url}${parameters}` });
    opened.push(one);
    return one;
  };
  const newTopic = async (partitions = 4) => {
    const topic = `driver-${random()}`;
    topics.push(topic);
    await broker.createTopics([{ topic, partitions }]);
    return topic;
  };
  before(async () => {
    broker = await open();
  });
  after(async () => {
    await Promise.all(opened.filter((one) => one !== broker).map((one) => one.close()));
    if (topics.length > 0) await broker.deleteTopics(topics);
    await broker.close();
  });

  it('writes CloudEvents in binary mode, as another client reads them', async () => {
    const topic = await newTopic(2);
    const sent = event(topic, 1, { cents: 5 });
    await broker.publish([sent]);
    const consumer = new Consumer({
      clientId: 'other',
      groupId: `other-${random()}`,
      bootstrapBrokers: [host],
    });
    const stream = await consumer.consume({ topics: [topic], mode: 'earliest', maxWaitTime: 100 });
    const message = await new Promise<{ partition: number; [name: string]: unknown }>((resolve) =>
      stream.once('data', resolve as never),
    );
    await consumer.close(true);
    assert.equal(message.partition, 1);
    assert.equal(`${message.key}`, 'acme:order-1');
    assert.equal(`${message.value}`, '{"cents":5}');
    const headers = [...(message.headers as Map<Buffer, Buffer>)];
    assert.deepEqual(Object.fromEntries(headers.map(([name, text]) => [`${name}`, `${text}`])), {
      'content-type': 'application/json',
      ce_specversion: '1.0',
      ce_id: sent.event.eventId,
      ce_source: 'millrace',
      ce_type: 'OrderPaid',
      ce_time: '2026-11-21T10:00:00.123Z',
      ce_partitionkey: 'acme:order-1',
      ce_tenantid: 'acme',
      ce_eventversion: '3',
      ce_correlationid: 'correlation-1',
      ce_subject: 'order-1',
      ce_metadata: '{"traceparent":"00-ab-cd-01","über":"ß"}',
      ce_traceparent: '00-ab-cd-01',
      ce_logplace: 'log-1/1/7',
    });
  });

  it('gives messages of others: with their event, or with what is wrong', async () => {
    const topic = await newTopic(1);
    const producer = new Producer({ clientId: 'other', bootstrapBrokers: [host] });
    const text = (value: string) => Buffer.from(value);
    const cloudEvent = ['specversion:1.0', 'id:17', 'source:/shop', 'type:shop.Paid'].map((one) => {
      const at = one.indexOf(':');
      return [text(`ce_${one.slice(0, at)}`), text(one.slice(at + 1))] as const;
    });
    await producer.send({
      messages: [
        { topic, partition: 0, value: text('no event') },
        { topic, partition: 0, key: text('k'), value: null as never, headers: new Map(cloudEvent) },
        { topic, partition: 0, value: randomBytes(100_000) },
      ],
    });
    await producer.close();
    await broker.publish([event(topic, 0, 'ours')]);
    const seen = await join(broker, topic, `group-${random()}`);
    await eventually('four come', () => seen.deliveries.length === 4, patienceMs);
    const [plain, foreign, bytes, ours] = seen.deliveries;
    assert.equal(plain?.event, null);
    assert.match(plain?.problem ?? '', /specversion/);
    assert.equal(Buffer.from(plain?.raw ?? []).toString(), 'no event');
    assert.equal(foreign?.event?.type, 'shop.Paid');
    assert.equal(foreign?.event?.dataJson, 'null');
    assert.equal(foreign?.event?.partitionKey, 'k');
    assert.equal(bytes?.raw?.length, 65_536);
    assert.equal(ours?.event?.dataJson, '"ours"');
    await seen.subscription.close();
  });

  it('sends 900 KB, and says at which index an event is too large', async () => {
    const topic = await newTopic(1);
    const large = 'x'.repeat(900_000);
    await broker.publish([event(topic, 0, large), event(topic, 0, null), event(topic, 0, large)]);
    const seen = await join(broker, topic, `group-${random()}`);
    await eventually('three come', () => seen.deliveries.length === 3, patienceMs);
    assert.deepEqual(payloads(seen.deliveries, 0), [large, null, large]);
    const events = [event(topic, 0, 1), event(topic, 0, 'x'.repeat(3_000_000))];
    await assert.rejects(broker.publish(events), (error: unknown) => {
      assert.ok(isMillraceError(error));
      assert.equal(error.code, 'BROKER_EVENT_REFUSED');
      assert.equal(error.details?.index, 1);
      return true;
    });
    await seen.subscription.close();
  });

  it('names a partition that a topic does not have', async () => {
    const topic = await newTopic(2);
    await assert.rejects(broker.publish([event(topic, 2, 1)]), { code: 'BROKER_TOPIC_UNKNOWN' });
    await broker.publish([event(topic, 1, 1)]);
  });

  for (const compression of ['gzip', 'snappy', 'lz4', 'zstd']) {
    it(`compresses with ${compression}, and Kafka takes it`, async () => {
      const topic = await newTopic(1);
      const one = await open(`?compression=${compression}`);
      await one.publish(Array.from({ length: 200 }, (_, i) => event(topic, 0, i)));
      const seen = await join(broker, topic, `group-${random()}`);
      await eventually('200 come', () => seen.deliveries.length === 200, patienceMs);
      assert.deepEqual(
        payloads(seen.deliveries, 0),
        Array.from({ length: 200 }, (_, i) => i),
      );
      await seen.subscription.close();
    });
  }

  for (const groupProtocol of ['classic', 'consumer']) {
    describe(`groups of the ${groupProtocol} protocol`, () => {
      it('hand partitions over without losing the order', async () => {
        const topic = await newTopic(4);
        const group = `group-${random()}`;
        const [one, two] = await Promise.all([
          open(`?groupProtocol=${groupProtocol}`),
          open(`?groupProtocol=${groupProtocol}`),
        ]);
        const first = await join(one, topic, group);
        await eventually('the first has all', () => first.held.size === 4, patienceMs);
        const publish = (from: number) =>
          broker.publish(
            Array.from({ length: 400 }, (_, i) => event(topic, i % 4, from + Math.floor(i / 4))),
          );
        await publish(0);
        const second = await join(two, topic, group);
        await publish(100);
        const isShared = () => first.held.size === 2 && second.held.size === 2;
        await eventually('they share', isShared, patienceMs);
        await publish(200);
        const came = () => new Set([...first.deliveries, ...second.deliveries].map(idOf)).size;
        await eventually('all come', () => came() === 1200, patienceMs);
        await first.subscription.close();
        await eventually('the second has all', () => second.held.size === 4, patienceMs);
        await publish(300);
        await eventually('the rest comes', () => came() === 1600, patienceMs);
        for (const partition of [0, 1, 2, 3]) {
          const all = [first, second].map(({ deliveries }) => payloads(deliveries, partition));
          for (const numbers of all) {
            assert.deepEqual(
              numbers,
              [...numbers].sort((a, b) => a - b),
              'in order',
            );
          }
          assert.equal(new Set(all.flat()).size, 400);
        }
        assert.ok(first.revoked.every(({ lost }) => !lost));
        await second.subscription.close();
      });

      it('give a named member its partitions back, though it never said goodbye', async () => {
        const topic = await newTopic(4);
        const group = `group-${random()}`;
        const memberId = 'worker-1';
        const parameters = `?groupProtocol=${groupProtocol}`;
        const other = await join(await open(parameters), topic, group, { memberId: 'worker-2' });
        const killed = await open(parameters);
        const before = await join(killed, topic, group, { memberId, acknowledges: false });
        const isShared = () => before.held.size === 2 && other.held.size === 2;
        await eventually('they share', isShared, patienceMs);
        const had = [...before.held].sort();
        const revokedBefore = other.revoked.length;
        // The same name in another process, while the broker still believes in the old one.
        const again = await join(await open(parameters), topic, group, { memberId });
        await eventually('it has them back', () => again.held.size === 2, patienceMs);
        assert.deepEqual([...again.held].sort(), had);
        assert.equal(other.revoked.length, revokedBefore, 'the other one keeps what it has');
      });
    });
  }

  it('assigns again when the member that assigns could not ask for the layout', async (t) => {
    const topic = await newTopic(4);
    const group = `group-${random()}`;
    const first = await join(await open('?groupProtocol=classic'), topic, group);
    await eventually('the first has all', () => first.held.size === 4, patienceMs);
    const two = await open('?groupProtocol=classic');
    const { layout } = Cluster.prototype;
    let failed = 0;
    t.mock.method(
      Cluster.prototype,
      'layout',
      function (this: Cluster, ...args: [string, boolean?]) {
        const isAssigning = new Error().stack?.includes('#assignments') ?? false;
        if (!isAssigning || failed > 0) return layout.apply(this, args);
        failed += 1;
        return Promise.reject(new Error('the connection broke'));
      },
    );
    const second = await join(two, topic, group);
    const isShared = () => first.held.size === 2 && second.held.size === 2;
    await eventually('they share', isShared, 20_000);
    assert.equal(failed, 1);
    await second.subscription.close();
    await first.subscription.close();
  });

  it('stops fetching what is paused, and goes on where it was', async () => {
    const topic = await newTopic(2);
    const seen = await join(broker, topic, `group-${random()}`, { inFlightMax: 50 });
    await eventually('it has both', () => seen.held.size === 2, patienceMs);
    seen.subscription.pause([{ topic, partition: 0 }]);
    const count = 3000;
    await broker.publish(
      Array.from({ length: 2 * count }, (_, i) => event(topic, i % 2, Math.floor(i / 2))),
    );
    const of = (partition: number) => payloads(seen.deliveries, partition);
    await eventually('the other comes', () => of(1).length === count, patienceMs);
    assert.ok(of(0).length <= 50, `${of(0).length} came of the paused one`);
    seen.subscription.resume([{ topic, partition: 0 }]);
    await eventually('the paused one comes', () => of(0).length === count, patienceMs);
    assert.deepEqual(
      of(0),
      Array.from({ length: count }, (_, i) => i),
    );
    const lag = () => broker.lag('nobody', [topic]);
    assert.deepEqual(
      (await lag()).map((one) => one.lag),
      [count, count],
    );
    await seen.subscription.close();
  });

  /** The group's place, as somebody sets it from outside. */
  const place = async (topic: string, group: string, committedOffset: bigint) => {
    const admin = new Admin({ clientId: 'other', bootstrapBrokers: [host] });
    const partitionOffsets = [{ partition: 0, offset: committedOffset }];
    await admin.alterConsumerGroupOffsets({
      groupId: group,
      topics: [{ name: topic, partitionOffsets }],
    });
    await admin.close();
  };

  it('goes on at the start when the log is shorter than what the group has seen', async () => {
    const topic = await newTopic(1);
    const group = `group-${random()}`;
    // As after a topic was made anew under the same name.
    await place(topic, group, 1000n);
    await broker.publish(Array.from({ length: 30 }, (_, i) => event(topic, 0, i)));
    const first = await join(broker, topic, group, { acknowledges: false });
    await eventually('all come', () => first.deliveries.length === 30, patienceMs);
    assert.ok(first.errors.some((text) => /offset 1000 .* is gone; it goes on with 0/.test(text)));
    const [delivery] = first.deliveries;
    assert.ok(delivery);
    // Late word of the old log moves nothing.
    await first.subscription.acknowledge([{ ...delivery, position: '999' }]);
    await first.subscription.acknowledge(first.deliveries.slice(0, 10));
    assert.deepEqual(
      (await broker.lag(group, [topic])).map((one) => one.lag),
      [20],
    );
    await first.subscription.close();
    const second = await join(broker, topic, group);
    await eventually('the rest comes', () => second.deliveries.length === 20, patienceMs);
    assert.deepEqual(payloads(second.deliveries, 0)[0], 10);
    await second.subscription.close();
  });

  it('goes on with the oldest there is when retention was quicker than the group', async () => {
    const topic = await newTopic(1);
    const group = `group-${random()}`;
    await place(topic, group, 3n);
    await broker.publish(Array.from({ length: 30 }, (_, i) => event(topic, 0, i)));
    const admin = new Admin({ clientId: 'other', bootstrapBrokers: [host] });
    const partitions = [{ partition: 0, offset: 10n }];
    await admin.deleteRecords({ topics: [{ name: topic, partitions }] });
    await admin.close();
    const seen = await join(broker, topic, group);
    // A batch comes whole, or not at all: those before 10 may be there.
    const oldest = () => payloads(seen.deliveries, 0).filter((number) => number >= 10);
    await eventually('20 come', () => oldest().length === 20, patienceMs);
    assert.equal(oldest()[0], 10);
    assert.ok(seen.errors.some((text) => /offset 3 .* is gone; it goes on with 10/.test(text)));
    await seen.subscription.close();
  });

  it('says that nobody is there, and within the time given', async () => {
    const started = performance.now();
    const closed = openKafkaBroker({ url: 'kafka://127.0.0.1:1', connectTimeoutMs: 2000 });
    await assert.rejects(closed, { code: 'BROKER_UNAVAILABLE' });
    assert.ok(performance.now() - started < 10_000);
  });
});

const idOf = ({ event: one }: Delivery) => one?.id;

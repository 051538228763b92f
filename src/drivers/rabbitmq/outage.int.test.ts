/** What RabbitMQ can do to us: dying, silence, shortage. On a server of the test's own. */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../../test/support/eventually.ts';
import { noRabbitmq, RabbitmqServer } from '../../../test/support/rabbitmq-server.ts';
import { MillraceError } from '../../core/errors.ts';
import type { Broker, BrokerSettings } from '../../ports/broker.ts';
import { openRabbitmqBroker } from './broker.ts';
import { events, patienceMs, TestMember } from './test-member.ts';

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

const coded = (code: string) => (error: unknown) =>
  error instanceof MillraceError && error.code === code;

describe('RabbitMQ at its worst', { skip: noRabbitmq }, () => {
  let server: RabbitmqServer;

  before(async () => {
    server = await RabbitmqServer.make();
    await server.start();
  });
  after(() => server?.remove());

  async function open(t: TestContext, settings: Partial<BrokerSettings> = {}): Promise<Broker> {
    const broker = await openRabbitmqBroker({ url: server.url, ...settings });
    t.after(() => broker.close());
    return broker;
  }

  it('loses nothing that was confirmed when it is killed under publishing', async (t) => {
    const [publisher, consumer] = [await open(t), await open(t)];
    const topic = 'killed.events';
    await publisher.createTopics([{ topic, partitions: 2 }]);
    const member = await TestMember.join(consumer, [topic]);
    await member.holds(2);
    await sleep(1_000); // until the names of new quorum queues are written down
    const confirmed: number[] = [];
    let running = true;
    const publishing = (async () => {
      for (let n = 0; running; n += 20) {
        const batch = events(topic, 20, { first: n });
        while (running) {
          try {
            await publisher.publish(batch);
            confirmed.push(...upTo(20).map((i) => n + i));
            break;
          } catch (error) {
            assert.ok(coded('BROKER_UNAVAILABLE')(error), String(error));
            await sleep(20);
          }
        }
      }
    })();
    const reaches = (count: number) =>
      eventually(`${count} are confirmed`, () => confirmed.length >= count, patienceMs);
    await reaches(200);
    await server.restart();
    await reaches(confirmed.length + 200);
    running = false;
    await publishing;
    const last = confirmed.at(-1);
    await eventually('all come', () => member.payloads.includes(last), patienceMs);
    assert.deepEqual([...member.lost].sort(), [0, 1]);
    // In order: each is the next one, or one that came before.
    let next = 0;
    for (const n of member.payloads as number[]) {
      assert.ok(n <= next, `${n} came before ${next}`);
      if (n === next) next += 1;
    }
    assert.ok(next >= confirmed.length);
  });

  it('is noticed when it is silent, and given up with what is under way', async (t) => {
    const broker = await open(t);
    const topic = 'silent.events';
    await broker.createTopics([{ topic, partitions: 1 }]);
    const member = await TestMember.join(broker, [topic]);
    await member.holds(1);
    server.pause();
    try {
      const start = performance.now();
      await assert.rejects(broker.publish(events(topic, 1)), coded('BROKER_UNAVAILABLE'));
      const tookMs = performance.now() - start;
      assert.ok(tookMs < 13_000, `it took ${tookMs} ms`);
      await eventually('the partition is lost', () => member.lost.length === 1, patienceMs);
      const closing = performance.now();
      await broker.close();
      assert.ok(performance.now() - closing < 10_500);
    } finally {
      server.resume();
    }
  });

  it('blocks who publishes when memory is short, and lets acknowledgements through', async (t) => {
    const broker = await open(t, { publishTimeoutMs: 2_000 });
    const topic = 'blocked.events';
    await broker.createTopics([{ topic, partitions: 1 }]);
    const member = await TestMember.join(broker, [topic], { acknowledges: false });
    await broker.publish(events(topic, 10));
    const came = await member.received(10);
    await server.ctl('set_vm_memory_high_watermark', '0.00001');
    try {
      await assert.rejects(broker.publish(events(topic, 1)), coded('BROKER_UNAVAILABLE'));
      await member.subscription?.acknowledge(came);
    } finally {
      await server.ctl('set_vm_memory_high_watermark', '0.6');
    }
    const publish = () =>
      broker.publish(events(topic, 1)).then(
        () => true,
        () => false,
      );
    await eventually('it takes events again', publish, patienceMs);
    const next = [...came, ...member.deliveries.slice(10)];
    assert.ok(next.slice(10).every(({ redelivered }) => !redelivered));
  });
});

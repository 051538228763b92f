/** Requests stay below what Event Hubs takes; a Kafka that ends connections in the same way. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, it } from 'node:test';
import { noKafka, startKafka } from '../../../test/support/kafka-server.ts';
import { isMillraceError } from '../../core/errors.ts';
import type { OutgoingEvent } from '../../ports/broker.ts';
import { openKafkaBroker } from './broker.ts';
import { Cluster } from './cluster.ts';
import { Producer } from './producer.ts';
import { clientSettings } from './security/settings.ts';
import { createTopics } from './topics.ts';

const topic = 'sizes';
const partitions = 12;

function event(partition: number, payload: string): OutgoingEvent {
  return {
    topic,
    partition,
    payloadJson: JSON.stringify(payload),
    metadataJson: null,
    place: null,
    event: {
      eventId: randomUUID(),
      eventType: 'Sized',
      version: 1,
      tenantId: 'acme',
      key: `key-${partition}`,
      timestamp: '2026-11-21T10:00:00.000Z',
      correlationId: 'c',
      causationId: null,
      payload,
      metadata: {},
    },
  };
}

describe('Kafka driver at a broker that limits requests', { skip: noKafka }, () => {
  it('sends less at once, and refuses the event that is too large by itself', async (t) => {
    const properties = { 'socket.request.max.bytes': '1046528' };
    const kafka = await startKafka(t, { properties });
    const settings = await clientSettings({ url: kafka.url, publishTimeoutMs: 15_000 });
    const preset = { ...settings.preset, eventBytesMax: 1_048_576 };
    const cluster = new Cluster({ ...settings, preset });
    const errors: unknown[] = [];
    const producer = new Producer({
      cluster,
      source: 'millrace',
      compression: 'none',
      publishTimeoutMs: 15_000,
      onError: (error) => errors.push(error),
    });
    const broker = await openKafkaBroker({ url: kafka.url });
    t.after(async () => {
      await broker.close();
      await producer.close(1000);
      await cluster.close();
    });
    await createTopics(cluster, [{ topic, partitions }]);
    // Three bytes a letter: lengths of texts say little.
    const large = '\u20ac'.repeat(60_000);
    const sizes = [large, 'small', large, large];
    await producer.publish(
      sizes.flatMap((text) => Array.from({ length: partitions }, (_, i) => event(i, text))),
    );
    const tooLarge = [event(3, 'before'), event(3, 'x'.repeat(1_100_000)), event(3, 'behind')];
    await assert.rejects(producer.publish(tooLarge), (error: unknown) => {
      assert.ok(isMillraceError(error));
      assert.equal(error.code, 'BROKER_EVENT_REFUSED');
      assert.equal(error.details?.index, 1);
      return true;
    });
    await producer.publish([event(3, 'again')]);
    assert.deepEqual(errors, []);
    const stored = (await broker.lag('nobody', [topic])).map(({ lag }) => lag);
    // "before" and "again" beside the four.
    assert.deepEqual(
      stored,
      Array.from({ length: partitions }, (_, i) => (i === 3 ? 6 : 4)),
    );
  });
});

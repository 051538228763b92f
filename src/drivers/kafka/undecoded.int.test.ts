/** A batch that cannot be unpacked is fetched again, and nothing before it counts as done. */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { it } from 'node:test';
import { compressionsAlgorithms } from '@platformatic/kafka';
import { eventually } from '../../../test/support/eventually.ts';
import type { Delivery, OutgoingEvent } from '../../ports/broker.ts';
import { openKafkaBroker } from './broker.ts';

const url = process.env.KAFKA_URL ?? '';
const skip = url === '' ? 'KAFKA_URL is not set: eval "$(scripts/services.sh up kafka)"' : false;

function event(topic: string, n: number): OutgoingEvent {
  return {
    ...{ topic, partition: 0, payloadJson: `${n}`, metadataJson: null, place: null },
    event: {
      ...{ eventId: randomUUID(), eventType: 'Numbered', version: 1, tenantId: 'acme' },
      ...{ key: 'key', timestamp: '2026-11-21T10:00:00.123Z', correlationId: 'key' },
      ...{ causationId: null, payload: n, metadata: {} },
    },
  };
}

it('a batch that cannot be unpacked commits nothing of what was delivered before', {
  skip,
}, async (t) => {
  const [broker, packing] = await Promise.all([
    openKafkaBroker({ url }),
    openKafkaBroker({ url: `${url}?compression=gzip` }),
  ]);
  const topic = `undecoded-${randomBytes(5).toString('hex')}`;
  t.after(async () => {
    await packing.close();
    await broker.deleteTopics([topic]);
    await broker.close();
  });
  await broker.createTopics([{ topic, partitions: 1 }]);
  const seen: Delivery[] = [];
  const errors: string[] = [];
  const subscription = await broker.subscribe({
    group: topic,
    topics: [topic],
    from: 'start',
    onDeliveries: (_partition, some) => void seen.push(...some),
    onAssigned: () => {},
    onRevoked: () => {},
    onError: (_error, where) => void errors.push(where),
  });
  await broker.publish([0, 1, 2].map((n) => event(topic, n)));
  await eventually('the first three', () => seen.length === 3, 30_000);
  const unpack = compressionsAlgorithms.gzip.decompressSync.bind(compressionsAlgorithms.gzip);
  let isBroken = true;
  t.mock.method(compressionsAlgorithms.gzip, 'decompressSync', (data: Buffer) => {
    if (isBroken) throw new Error('no gzip');
    return unpack(data);
  });
  await packing.publish([3, 4].map((n) => event(topic, n)));
  await eventually('it fails', () => errors.includes('decode'), 30_000);
  await subscription.acknowledge(seen.slice(0, 1));
  const [{ lag } = { lag: -1 }] = await broker.lag(topic, [topic]);
  assert.equal(lag, 4, 'one of five is done');
  isBroken = false;
  await eventually('the rest', () => seen.length === 5, 30_000);
  await subscription.acknowledge(seen);
  assert.deepEqual(await broker.lag(topic, [topic]), [{ topic, partition: 0, lag: 0 }]);
});

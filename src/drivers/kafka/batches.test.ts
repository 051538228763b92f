import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createRecordsBatch, Reader, readRecordsBatches } from '@platformatic/kafka';
import type { OutgoingEvent } from '../../ports/broker.ts';
import { BatchReader } from './batch-reader.ts';
import { BatchWriter } from './batch-writer.ts';

const stamp = { producerId: 77n, producerEpoch: 3, sequence: 12 };

function outgoing(number: number, over: Partial<OutgoingEvent['event']> = {}): OutgoingEvent {
  const event = {
    eventId: `01890000-0000-7000-8000-${String(number).padStart(12, '0')}`,
    eventType: 'Paid',
    version: 2,
    tenantId: 'acme',
    key: `order-${number % 3}`,
    timestamp: '2026-11-21T10:00:00.000Z',
    correlationId: 'c-1',
    causationId: number % 2 === 0 ? null : 'cause',
    payload: {},
    metadata: {},
    ...over,
  };
  return {
    topic: 't',
    partition: 0,
    event,
    payloadJson: JSON.stringify({ number }),
    metadataJson: null,
    place: { logId: 'log', partition: 0, offset: number },
  };
}

function batchOf(events: readonly OutgoingEvent[], baseOffset = 0): Buffer {
  const writer = new BatchWriter('tests');
  for (const event of events) writer.add(event);
  const bytes = Buffer.from(writer.seal(stamp, 'none'));
  writer.release();
  bytes.writeBigInt64BE(BigInt(baseOffset), 0);
  return bytes;
}

function readAll(
  bytes: Buffer,
  from = 0,
  aborted: { producerId: bigint; firstOffset: number }[] = [],
) {
  const reader = new BatchReader('t', 0, from);
  assert.equal(reader.push(bytes, aborted), true);
  return { reader, deliveries: reader.take(1_000_000) };
}

describe('record batches of Kafka', () => {
  it('are what the client itself would read', () => {
    const texts = [
      '',
      'x',
      'ü€😀',
      'y'.repeat(63),
      'y'.repeat(64),
      'ß'.repeat(40),
      'z'.repeat(9000),
    ];
    const events = texts.map((text, i) => ({
      ...outgoing(i, { key: text === '' ? null : text.slice(0, 100) }),
      payloadJson: JSON.stringify(text),
    }));
    const bytes = batchOf(events);
    const [batch] = readRecordsBatches(Reader.from(bytes));
    assert.ok(batch);
    assert.equal(batch.producerId, 77n);
    assert.equal(batch.producerEpoch, 3);
    assert.equal(batch.firstSequence, 12);
    assert.equal(batch.lastOffsetDelta, texts.length - 1);
    assert.equal(batch.length, bytes.length - 12);
    batch.records.forEach((record, i) => {
      const { event, payloadJson } = events[i] as OutgoingEvent;
      assert.equal(record.offsetDelta, i);
      assert.equal(record.value?.toString(), payloadJson);
      assert.equal(record.key?.toString(), event.key === null ? 'acme' : `acme:${event.key}`);
      const headers = new Map(record.headers.map(([name, text]) => [`${name}`, `${text}`]));
      assert.equal(headers.get('content-type'), 'application/json');
      assert.equal(headers.get('ce_specversion'), '1.0');
      assert.equal(headers.get('ce_id'), event.eventId);
      assert.equal(headers.get('ce_source'), 'tests');
      assert.equal(headers.get('ce_logplace'), `log/0/${i}`);
    });
  });

  it('have the checksum that the client computes', () => {
    const bytes = batchOf([outgoing(1)]);
    const [batch] = readRecordsBatches(Reader.from(bytes));
    const again = createRecordsBatch(
      (batch?.records ?? []).map((record) => ({
        topic: 't',
        partition: 0,
        key: record.key,
        value: record.value as Buffer,
        headers: new Map(record.headers),
        timestamp: batch?.firstTimestamp ?? 0n,
      })) as never,
      { producerId: 77n, producerEpoch: 3 },
    ).buffer;
    again.writeInt32BE(12, 53); // it counts sequences by itself
    assert.equal(again.length, bytes.length);
    assert.deepEqual(again.subarray(57), bytes.subarray(57));
    const other = batchOf([outgoing(2)]);
    assert.notEqual(bytes.readUInt32BE(17), other.readUInt32BE(17));
  });

  it('are numbered anew for another producer without being written again', () => {
    const writer = new BatchWriter('tests');
    writer.add(outgoing(1));
    const first = Buffer.from(writer.seal(stamp, 'none'));
    const second = Buffer.from(writer.seal({ ...stamp, producerId: 78n, sequence: 0 }, 'none'));
    assert.equal(second.readBigInt64BE(43), 78n);
    assert.equal(second.readInt32BE(53), 0);
    assert.deepEqual(second.subarray(61), first.subarray(61));
    assert.notEqual(second.readUInt32BE(17), first.readUInt32BE(17));
    writer.release();
  });

  for (const compression of ['gzip', 'snappy', 'lz4', 'zstd'] as const) {
    it(`are packed with ${compression} and read back`, () => {
      const writer = new BatchWriter('tests');
      for (let i = 0; i < 50; i += 1) writer.add(outgoing(i));
      const bytes = Buffer.from(writer.seal(stamp, compression));
      assert.ok(bytes.length < writer.bytes / 2);
      assert.equal(readRecordsBatches(Reader.from(bytes))[0]?.records.length, 50);
      const { deliveries } = readAll(bytes);
      assert.deepEqual(
        deliveries.map(({ event }) => event?.dataJson),
        Array.from({ length: 50 }, (_, number) => JSON.stringify({ number })),
      );
    });
  }

  it('come back as the same events, with what repeats and what is absent', () => {
    const events = Array.from({ length: 20 }, (_, i) => outgoing(i));
    const { deliveries } = readAll(batchOf(events, 1000), 1000);
    deliveries.forEach(({ event, position, problem, raw }, i) => {
      const sent = (events[i] as OutgoingEvent).event;
      assert.equal(position, String(1000 + i));
      assert.equal(problem, null);
      assert.equal(raw, null);
      assert.equal(event?.id, sent.eventId);
      assert.equal(event?.key, sent.key);
      assert.equal(event?.causationId, sent.causationId);
      assert.equal(event?.version, 2);
      assert.deepEqual(event?.place, { logId: 'log', partition: 0, offset: i });
    });
    assert.equal(deliveries.length, 20);
  });

  it('are read from the middle, in portions, and past what is cut off', () => {
    const first = batchOf(
      Array.from({ length: 10 }, (_, i) => outgoing(i)),
      100,
    );
    const second = batchOf(
      Array.from({ length: 10 }, (_, i) => outgoing(10 + i)),
      110,
    );
    const bytes = Buffer.concat([first, second, second.subarray(0, 80)]);
    const reader = new BatchReader('t', 0, 104);
    assert.equal(reader.push(bytes, []), true);
    assert.equal(reader.fetchOffset, 120);
    const positions: string[] = [];
    for (let portion = reader.take(3); portion.length > 0; portion = reader.take(3)) {
      assert.ok(portion.length <= 3);
      positions.push(...portion.map(({ position }) => position));
    }
    assert.deepEqual(
      positions,
      Array.from({ length: 16 }, (_, i) => String(104 + i)),
    );
    assert.equal(reader.isEmpty, true);
    assert.equal(reader.waitingBytes, 0);
    assert.equal(new BatchReader('t', 0, 0).push(first.subarray(0, 200), []), false);
  });

  it('are left out when they are control records or of a transaction that was given up', () => {
    const given = batchOf([outgoing(1)], 5);
    given.writeInt16BE(0b1_0000, 21);
    const abort = batchOf([outgoing(2)], 6);
    abort.writeInt16BE(0b11_0000, 21);
    const later = batchOf([outgoing(3)], 7);
    later.writeInt16BE(0b1_0000, 21);
    const bytes = Buffer.concat([given, abort, later]);
    const { deliveries, reader } = readAll(bytes, 5, [{ producerId: 77n, firstOffset: 5 }]);
    assert.deepEqual(
      deliveries.map(({ position }) => position),
      ['7'],
    );
    assert.equal(reader.fetchOffset, 8);
  });

  it('of others are given with what is wrong with them', () => {
    const bytes = createRecordsBatch([
      { topic: 't', partition: 0, key: Buffer.from('k'), value: Buffer.from('plain text') },
      { topic: 't', partition: 0, value: Buffer.from('{"a":1}') },
      {
        topic: 't',
        partition: 0,
        key: Buffer.from('by-key'),
        value: Buffer.from('{"a":1}'),
        headers: new Map([
          [Buffer.from('ce_specversion'), Buffer.from('1.0')],
          [Buffer.from('ce_id'), Buffer.from('1')],
          [Buffer.from('ce_source'), Buffer.from('/shop')],
          [Buffer.from('ce_type'), Buffer.from('shop.Paid')],
          [Buffer.from('x'), Buffer.from('not ours')],
        ]),
      },
    ] as never).buffer;
    const { deliveries } = readAll(bytes);
    assert.equal(deliveries[0]?.event, null);
    assert.match(deliveries[0]?.problem ?? '', /specversion/);
    assert.equal(Buffer.from(deliveries[0]?.raw ?? []).toString(), 'plain text');
    assert.equal(deliveries[1]?.event, null);
    assert.equal(deliveries[2]?.event?.type, 'shop.Paid');
    assert.equal(deliveries[2]?.event?.partitionKey, 'by-key');
    assert.equal(deliveries[2]?.event?.place, null);
  });

  it('of formats 0 and 1 come with what is wrong, and none is skipped', () => {
    const old = (offset: number, magic: number, value: string) => {
      const time = Buffer.alloc(magic === 0 ? 0 : 8);
      const lengths = [Buffer.alloc(4), Buffer.alloc(4)] as const;
      lengths[0].writeInt32BE(1);
      lengths[1].writeInt32BE(value.length);
      const rest = Buffer.concat([
        Buffer.of(0, 0, 0, 0, magic, 0),
        time,
        lengths[0],
        Buffer.from('k'),
        lengths[1],
        Buffer.from(value),
      ]);
      const head = Buffer.alloc(12);
      head.writeBigInt64BE(BigInt(offset), 0);
      head.writeInt32BE(rest.length, 8);
      return Buffer.concat([head, rest]);
    };
    const tail = batchOf([outgoing(1)], 9);
    const bytes = Buffer.concat([old(6, 0, 'a'), old(7, 1, 'zero'), old(8, 1, ''), tail]);
    const { reader, deliveries } = readAll(bytes, 7);
    assert.equal(reader.fetchOffset, 10);
    assert.deepEqual(
      deliveries.map(({ position, problem }) => [position, problem?.slice(0, 35) ?? null]),
      [
        ['7', "It is in Kafka's message format 1, "],
        ['8', "It is in Kafka's message format 1, "],
        ['9', null],
      ],
    );
    assert.equal(Buffer.from(deliveries[0]?.raw ?? []).toString(), 'zero');
    assert.equal(reader.isEmpty, true);
    // One that is smaller than the header of a batch is whole all the same.
    assert.equal(readAll(old(3, 0, 'small')).deliveries.length, 1);
  });

  it('that are no batches are an error, not an endless loop', () => {
    const bytes = batchOf([outgoing(1)]);
    bytes.writeInt32BE(-12, 8);
    assert.throws(() => new BatchReader('t', 0, 0).push(bytes, []), /no batch of records/);
  });
});

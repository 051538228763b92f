import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Reader, readRecordsBatches } from '@platformatic/kafka';
import { isMillraceError, MillraceError } from '../../core/errors.ts';
import type { OutgoingEvent } from '../../ports/broker.ts';
import { ProduceQueue, type PublishCall } from './produce-queue.ts';

function event(number: number): OutgoingEvent {
  return {
    topic: 't',
    partition: 3,
    payloadJson: String(number),
    metadataJson: null,
    place: null,
    event: {
      eventId: `id-${number}`,
      eventType: 'E',
      version: 1,
      tenantId: 'acme',
      key: 'k',
      timestamp: '2026-11-21T10:00:00.000Z',
      correlationId: 'c',
      causationId: null,
      payload: number,
      metadata: {},
    },
  };
}

type Outcome = 'open' | 'stored' | MillraceError;

function setUp(batchBytesMax = 1_000_000) {
  const limits = { source: 's', batchBytesMax, waitingBytes: 0 };
  const queue = new ProduceQueue('t', 3, limits);
  queue.producer = { id: 1n, epoch: 0 };
  const outcomes: Outcome[] = [];
  let number = 0;
  return {
    queue,
    limits,
    outcomes,
    publish(count: number, deadline = 1000) {
      const at = outcomes.push('open') - 1;
      const settle = (outcome: Outcome) => {
        if (outcomes[at] === 'open') outcomes[at] = outcome;
      };
      const call: PublishCall = {
        deadline,
        open: count,
        resolve: () => settle('stored'),
        reject: settle,
      };
      for (let i = 0; i < count; i += 1) queue.add(call, i, event(number++));
    },
    /** Payloads of the batch that is next, and its first sequence number. */
    next() {
      const first = queue.first();
      if (first === null) return null;
      const bytes = Buffer.from(first.writer.seal(first.stamp, 'none'));
      const [batch] = readRecordsBatches(Reader.from(bytes));
      const payloads = (batch?.records ?? []).map(({ value }) => Number(`${value}`));
      return { payloads, sequence: batch?.firstSequence, producer: batch?.producerId };
    },
  };
}

const codes = (outcomes: readonly Outcome[]) =>
  outcomes.map((outcome) => (isMillraceError(outcome) ? outcome.code : outcome));

describe('the queue of a partition', () => {
  it('keeps the order of calls, and a batch on the way does not grow', () => {
    const { queue, publish, next, outcomes } = setUp();
    publish(2);
    publish(1);
    assert.deepEqual(next()?.payloads, [0, 1, 2]);
    publish(2);
    assert.deepEqual(next(), { payloads: [0, 1, 2], sequence: 0, producer: 1n });
    queue.stored();
    assert.deepEqual(outcomes, ['stored', 'stored', 'open']);
    assert.deepEqual(next(), { payloads: [3, 4], sequence: 3, producer: 1n });
    queue.stored();
    assert.equal(queue.isEmpty, true);
    assert.equal(outcomes[2], 'stored');
  });

  it('closes batches by size', () => {
    const { queue, publish, next, limits } = setUp(2000);
    publish(20);
    const first = next()?.payloads ?? [];
    assert.ok(first.length > 1 && first.length < 20);
    assert.ok(limits.waitingBytes > 2000);
    queue.stored();
    assert.equal(next()?.payloads[0], first.length);
    assert.equal(next()?.sequence, first.length);
  });

  it('numbers everything anew for another producer, in the same order', () => {
    const { queue, publish, next } = setUp();
    publish(2);
    next();
    queue.stored();
    publish(2);
    assert.equal(next()?.sequence, 2);
    publish(1);
    queue.forgetProducer();
    assert.equal(next(), null);
    queue.producer = { id: 2n, epoch: 0 };
    assert.deepEqual(next(), { payloads: [2, 3], sequence: 0, producer: 2n });
    queue.stored();
    assert.deepEqual(next(), { payloads: [4], sequence: 2, producer: 2n });
  });

  it('halves what is too large until one event is refused, and holds back what is behind', () => {
    const { queue, publish, next, outcomes, limits } = setUp();
    publish(4);
    publish(1);
    assert.equal(next()?.payloads.length, 5);
    queue.tooLarge();
    assert.deepEqual(next(), { payloads: [0, 1], sequence: 0, producer: 1n });
    queue.stored();
    assert.deepEqual(next(), { payloads: [2, 3, 4], sequence: 2, producer: 1n });
    queue.tooLarge();
    assert.deepEqual(next(), { payloads: [2], sequence: 2, producer: 1n });
    queue.tooLarge();
    assert.deepEqual(codes(outcomes), ['BROKER_EVENT_REFUSED', 'BROKER_UNAVAILABLE']);
    assert.equal((outcomes[0] as MillraceError).details?.index, 2);
    assert.equal((outcomes[1] as MillraceError).retryable, true);
    assert.equal(queue.isEmpty, true);
    assert.equal(limits.waitingBytes, 0);
    publish(1);
    assert.deepEqual(next(), { payloads: [5], sequence: 2, producer: 1n });
  });

  it('stores what stands before a refused record', () => {
    const { queue, publish, next, outcomes } = setUp();
    publish(2);
    publish(2);
    next();
    queue.refuse(2, 'it is no good');
    assert.deepEqual(codes(outcomes), ['open', 'BROKER_EVENT_REFUSED']);
    assert.equal((outcomes[1] as MillraceError).details?.index, 0);
    assert.deepEqual(next(), { payloads: [0, 1], sequence: 0, producer: 1n });
    queue.stored();
    assert.equal(outcomes[0], 'stored');
  });

  it('finds the refused record by halves when the broker does not say which one it is', () => {
    for (const record of [undefined, 99]) {
      const { queue, publish, next, outcomes } = setUp();
      publish(3);
      publish(1);
      assert.deepEqual(next()?.payloads, [0, 1, 2, 3]);
      assert.equal(queue.refuse(record, 'it is no good'), false);
      assert.deepEqual(next(), { payloads: [0, 1], sequence: 0, producer: 1n });
      queue.stored();
      queue.refuse(record, 'it is no good');
      assert.deepEqual(next(), { payloads: [2], sequence: 2, producer: 1n });
      assert.equal(queue.refuse(record, 'it is no good'), true);
      assert.deepEqual(codes(outcomes), ['BROKER_EVENT_REFUSED', 'BROKER_UNAVAILABLE']);
      assert.equal((outcomes[0] as MillraceError).details?.index, 2);
      assert.equal(queue.isEmpty, true);
    }
  });

  it('halves a batch that was never sent, and what comes later goes behind it', () => {
    const { queue, publish, next, limits } = setUp();
    publish(4);
    queue.tooLarge();
    publish(1);
    assert.deepEqual(next(), { payloads: [0, 1], sequence: 0, producer: 1n });
    queue.stored();
    assert.deepEqual(next()?.payloads, [2, 3]);
    queue.stored();
    assert.deepEqual(next(), { payloads: [4], sequence: 4, producer: 1n });
    queue.stored();
    assert.equal(limits.waitingBytes, 0);
  });

  it('gives a large event a batch of its own', () => {
    const { queue, limits } = setUp(100_000);
    const call: PublishCall = { deadline: 1000, open: 2, resolve() {}, reject() {} };
    queue.add(call, 0, event(1));
    queue.add(call, 1, { ...event(2), payloadJson: JSON.stringify('ß'.repeat(60_000)) });
    assert.ok(queue.nextBytes < 1000, `${queue.nextBytes}`);
    queue.first();
    queue.stored();
    assert.ok(queue.nextBytes > 120_000);
    queue.stored();
    assert.equal(limits.waitingBytes, 0);
  });

  it('gives up everything at once, and its number when one was sent', () => {
    const { queue, publish, next, outcomes } = setUp();
    const error = new MillraceError('BROKER_UNAVAILABLE', 'gone');
    publish(1);
    assert.equal(queue.fail(error), false);
    assert.notEqual(queue.producer, null);
    publish(2, 5000);
    publish(1, 9000);
    assert.equal(queue.deadline, 5000);
    next();
    assert.equal(queue.fail(error), true);
    assert.equal(queue.producer, null);
    assert.deepEqual(outcomes, [error, error, error]);
    assert.equal(queue.deadline, Number.POSITIVE_INFINITY);
  });
});

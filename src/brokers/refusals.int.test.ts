import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachPostgres } from '../../test/support/database.ts';
import { eventually } from '../../test/support/eventually.ts';
import { openMill } from '../../test/support/mill.ts';
import type { ReceivedEvent } from '../core/cloud-event.ts';
import type { Millrace } from '../millrace.ts';
import {
  operatorTenant,
  type Refusal,
  Refusals,
  type RefusedMessage,
  refusedGroup,
  refusedMessages,
} from './refusals.ts';
import { type TopicNames, topicNames } from './topics.ts';

const event: ReceivedEvent = {
  id: 'order-1',
  source: 'shop',
  type: 'OrderPaid',
  version: 1,
  tenantId: 'zenith',
  key: null,
  partitionKey: null,
  timestamp: '2026-01-02T03:04:05.678Z',
  correlationId: null,
  causationId: null,
  dataJson: '{"cents":100}',
  metadata: {},
  place: null,
};
const refusal: Refusal = {
  topic: 'millrace.acme.events',
  partition: 3,
  position: '41',
  reason: 'tenant-mismatch',
  message: 'It names tenant zenith on topic millrace.acme.events.',
  event,
  raw: null,
};
const unreadable: Refusal = {
  ...refusal,
  topic: 'millrace.events',
  reason: 'unreadable',
  message: 'It is no JSON.\0',
  event: null,
  raw: Buffer.alloc(100_000, 0xff),
};
const perTenant = topicNames('millrace.{tenant}.events');

function refusalsOf(mill: Millrace, topics: TopicNames, stablePositions = true): Refusals {
  return new Refusals({
    topics,
    partitions: mill.store.partitions,
    stablePositions,
    append: (routed) => mill.publisher.append(routed),
    onError: () => {},
  });
}

async function lettersOf(mill: Millrace, tenantId: string, count: number) {
  return eventually(
    `${count} dead letters of ${tenantId}`,
    async () => {
      const letters = await mill.deadLetters.list({ tenantId, group: refusedGroup });
      return letters.length >= count && letters;
    },
    20_000,
  );
}

eachPostgres('Refused messages', (server) => {
  test("are dead letters of the topic's tenant, with reason, and can be discarded", async (t) => {
    await using database = await server.fresh();
    const mill = await openMill(t, database.url);
    const refusals = refusalsOf(mill, perTenant);
    // Before there is a group: what was refused in the meantime is not lost.
    await refusals.refuse([refusal]);
    mill.subscribe(refusedMessages());
    await mill.start();
    const [letter] = await lettersOf(mill, 'acme', 1);
    assert.ok(letter);
    assert.equal(letter.status, 'pending');
    assert.equal(letter.retryCount, 0);
    assert.equal(letter.errorCode, 'PERMANENT_FAILURE');
    assert.match(letter.failureReason, /^tenant-mismatch: It names tenant zenith on topic/);
    const payload = letter.payload as RefusedMessage;
    assert.equal(payload.claimedTenant, 'zenith');
    assert.equal(payload.id, 'order-1');
    assert.equal(payload.position, '41');
    assert.equal(Buffer.from(payload.raw, 'base64').toString(), '{"cents":100}');
    assert.deepEqual(await mill.deadLetters.list({ tenantId: 'zenith' }), []);
    const ref = { tenantId: 'acme', group: refusedGroup, eventId: letter.eventId };
    assert.equal(await mill.deadLetters.discard(ref), 1);
    assert.equal((await mill.deadLetters.show(ref)).status, 'discarded');
    assert.deepEqual(refusals.counts, { 'tenant-mismatch': 1 });
  });

  test('are kept once however often they come, and one does not hold up another', async (t) => {
    await using database = await server.fresh();
    const mill = await openMill(t, database.url);
    mill.subscribe(refusedMessages());
    await mill.start();
    const refusals = refusalsOf(mill, perTenant);
    const second = { ...refusal, position: '42' };
    await refusals.refuse([refusal, second, refusal]);
    // As after a restart: another process, and the broker sends both again.
    await refusalsOf(mill, perTenant).refuse([refusal, second]);
    // The same position of a topic that was made anew is another message.
    await refusals.refuse([{ ...refusal, event: { ...event, id: 'order-2' } }]);
    const letters = await lettersOf(mill, 'acme', 3);
    assert.equal(letters.length, 3);
    assert.deepEqual(
      letters.map(({ waiting }) => waiting),
      [0, 0, 0],
    );
    assert.equal(refusals.total, 4);
    const { events: stored } = await mill.history.list({
      tenantId: 'acme',
      eventTypes: ['BrokerMessageRefused'],
    });
    assert.equal(stored.length, 3);
  });

  test('are told apart by content where positions change with each delivery', async (t) => {
    await using database = await server.fresh();
    const mill = await openMill(t, database.url);
    mill.subscribe(refusedMessages());
    await mill.start();
    const refusals = refusalsOf(mill, perTenant, false);
    const again = { ...refusal, position: '99' };
    const other = { ...refusal, event: { ...event, dataJson: '{"cents":101}' } };
    await refusals.refuse([refusal, again, other]);
    assert.equal((await lettersOf(mill, 'acme', 2)).length, 2);
  });

  test('belong to the operator when nobody can say whose they are', async (t) => {
    await using database = await server.fresh();
    const mill = await openMill(t, database.url);
    mill.subscribe(refusedMessages());
    await mill.start();
    const shared = refusalsOf(mill, topicNames());
    await shared.refuse([unreadable]);
    await shared.refuse([{ ...unreadable, position: '2', event: { ...event, tenantId: 'a\nb' } }]);
    // A digest names no tenant, and the one that is claimed has another topic.
    const digest = perTenant.topicOf('漢'.repeat(128));
    await refusalsOf(mill, perTenant).refuse([{ ...refusal, topic: digest }]);
    const letters = await lettersOf(mill, operatorTenant, 3);
    const [first] = letters.filter(({ failureReason }) => failureReason.startsWith('unreadable'));
    const payload = first?.payload as RefusedMessage;
    assert.equal(Buffer.from(payload.raw, 'base64').length, 65_536);
    // On a shared topic a valid claim is believed; where the receiver knows more, that counts.
    await shared.refuse([{ ...refusal, topic: 'millrace.events', reason: 'partition-mismatch' }]);
    await shared.refuse([{ ...unreadable, position: '3', tenantId: 'acme' }]);
    await lettersOf(mill, 'zenith', 1);
    await lettersOf(mill, 'acme', 1);
  });
});

/** Cases for what an event carries: it comes back the same, whatever is in it. */
import assert from 'node:assert/strict';
import { type Random, seededRandom } from '../../test/support/random.ts';
import type { ReceivedEvent } from '../core/cloud-event.ts';
import type { JsonValue } from '../core/json.ts';
import { partitionKey } from '../core/partition.ts';
import {
  type BrokerCase,
  type BrokerCases,
  outgoing,
  type Topic,
} from './broker.fixtures.conformance.ts';
import type { Delivery, OutgoingEvent } from './broker.ts';

/** Everything but where it stands, and its data as a value. */
function expected({ event, payloadJson }: OutgoingEvent, source: string) {
  const { tenantId, key, timestamp, correlationId, causationId, metadata } = event;
  return {
    id: event.eventId,
    source,
    type: event.eventType,
    version: event.version,
    partitionKey: partitionKey(tenantId, key),
    ...{ tenantId, key, timestamp, correlationId, causationId, metadata },
    data: JSON.parse(payloadJson),
  };
}

function found({ event, problem }: Delivery) {
  assert.equal(problem, null);
  assert.ok(event);
  const { dataJson, place: _, ...rest } = event;
  return { ...rest, data: JSON.parse(dataJson) };
}

/** Published and received, in the order published; each partition keeps it, so ids find them. */
async function throughBroker(
  context: BrokerCase,
  topic: Topic,
  events: readonly OutgoingEvent[],
  source = 'conformance',
): Promise<readonly Delivery[]> {
  const broker = await context.another({ source });
  // A log keeps no source: there who reads says whose log it is.
  const { createsTopics } = broker.capabilities;
  const reader = await context.another({ source: createsTopics ? 'who reads' : source });
  const member = await context.join(topic, { broker: reader });
  await broker.publish(events);
  await member.received(events.length);
  const byId = new Map(member.deliveries.map((delivery) => [delivery.event?.id, delivery]));
  return events.map(({ event }) => {
    const delivery = byId.get(event.eventId);
    assert.ok(delivery, `${event.eventId} did not come`);
    return delivery;
  });
}

const compare = (came: readonly Delivery[], events: readonly OutgoingEvent[]) => {
  assert.deepEqual(
    came.map(found),
    events.map((event) => expected(event, 'conformance')),
  );
};

const pieces = [
  'a',
  'Z',
  '0',
  ' ',
  '"',
  '\\',
  '/',
  '%',
  ':',
  ';',
  '=',
  'é',
  'ß',
  '中',
  '🚚',
  '\u202e',
];
/** What payloads and metadata may have and ids may not. */
const controls = [...pieces, '\n', '\r\n', '\t', '\u0001', '\u007f', '\u2028'];

function text(random: Random, from: readonly string[], most: number): string {
  return Array.from({ length: 1 + random.below(most) }, () => random.pick(from)).join('');
}

function json(random: Random, depth: number): JsonValue {
  const kind = random.below(depth > 0 ? 8 : 6);
  if (kind === 0) return null;
  if (kind === 1) return random.chance(0.5);
  if (kind === 2) return random.below(2 ** 31) - 2 ** 30;
  if (kind === 3) return random.next() * 10 ** random.below(9);
  if (kind <= 5) return random.chance(0.1) ? '' : text(random, controls, 30);
  const size = random.below(5);
  if (kind === 6) return Array.from({ length: size }, () => json(random, depth - 1));
  const members = Array.from({ length: size }, (_, i) => [
    `${i}${text(random, controls, 8)}`,
    json(random, depth - 1),
  ]);
  return Object.fromEntries(members);
}

function randomEvent(random: Random, topic: Topic, tenantId: string): OutgoingEvent {
  const metadata = Object.fromEntries(
    Array.from({ length: random.below(4) }, (_, i) => [
      `${i}-${text(random, controls, 6)}`,
      json(random, 2),
    ]),
  );
  if (random.chance(0.3)) {
    metadata.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  }
  const made = outgoing(topic, {
    tenantId,
    key: random.chance(0.1) ? null : text(random, pieces, 60),
    payload: json(random, 4),
    timestamp: random.below(4_000_000) * 1_000_000 + random.below(1000),
    ...(random.chance(0.5) && { correlationId: text(random, pieces, 60) }),
    causationId: random.chance(0.5) ? crypto.randomUUID() : null,
    ...(random.chance(0.8) && { metadata }),
  });
  const version = 1 + random.below(1000);
  const eventType = `conformance.${random.below(3)}.${text(random, ['x', 'Y', '_'], 20)}`;
  return { ...made, event: { ...made.event, version, eventType } };
}

export const eventCases: BrokerCases = {
  'random events come back the same': async (context) => {
    const random = seededRandom(context.t);
    const topic = await context.topic();
    const events = Array.from({ length: 300 }, () => randomEvent(random, topic, context.tenant));
    compare(await throughBroker(context, topic, events), events);
  },

  'empty payloads come back the same': async (context) => {
    const topic = await context.topic();
    const payloads = [null, {}, '', [], 0, false, { '': '' }];
    const events = payloads.map((payload, n) =>
      outgoing(topic, { tenantId: context.tenant, key: `k${n}`, payload }),
    );
    compare(await throughBroker(context, topic, events), events);
  },

  'large payloads come back the same': async (context) => {
    const { broker, tenant } = context;
    const topic = await context.topic();
    const room = (broker.capabilities.eventBytesMax ?? 1_000_000) - 20_000;
    const chars = Math.min(900 * 1024, room);
    const payloads = [
      'x'.repeat(chars),
      '🚚'.repeat(Math.floor(chars / 4)),
      {
        rows: Array.from({ length: 4_000 }, (_, id) => ({
          id,
          name: 'y'.repeat(Math.floor(chars / 4_500)),
        })),
      },
    ];
    const events = payloads.map((payload, n) =>
      outgoing(topic, { tenantId: tenant, key: `k${n}`, payload }),
    );
    compare(await throughBroker(context, topic, events), events);
  },

  'the longest names and much metadata come back the same': async (context) => {
    const topic = await context.topic();
    const tenantId = '租'.repeat(128);
    const long = { tenantId, key: '键'.repeat(512), correlationId: '🚚'.repeat(256), payload: 1 };
    const metadata = {
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00',
      tracestate: 'a=1,b=2',
      'Content-Type': 'text/plain; charset="utf-8"',
      nested: { list: [1, [2, { three: null }]], 'línea\r\nnueva': '\u0001' },
      much: 'é'.repeat(4_000),
    };
    const events = [outgoing(topic, { ...long, metadata }), outgoing(topic, long)];
    compare(await throughBroker(context, topic, events), events);
  },

  'who published is said once for each client': async (context) => {
    const topic = await context.topic();
    const source = 'https://example.test/a b/ü';
    const events = [outgoing(topic, { tenantId: context.tenant, key: 'k', payload: 1 })];
    const [delivery] = await throughBroker(context, topic, events, source);
    assert.equal(delivery?.event?.source, source);
  },

  'the place in the log comes back the same': async (context) => {
    const topic = await context.topic();
    const make = (n: number, place: ReceivedEvent['place']) =>
      outgoing(topic, { tenantId: context.tenant, key: 'k', payload: { n } }, place);
    const logId = crypto.randomUUID();
    const places = [
      { logId, partition: 0, offset: 1 },
      { logId, partition: 1023, offset: 999_999_999_999_999 },
      null,
    ];
    const events = places.map((place, n) => make(n, place));
    const came = await throughBroker(context, topic, events);
    if (!context.broker.capabilities.createsTopics) {
      // A log of its own knows where its events stand, wherever they stood before.
      const own = came.map(({ event }) => event?.place).filter((place) => place != null);
      assert.ok(own.every(({ partition }) => partition === came[0]?.partition));
      const offsets = own.map(({ offset }) => offset);
      assert.deepEqual(
        offsets,
        [...new Set(offsets)].sort((a, b) => a - b),
      );
      return;
    }
    assert.deepEqual(
      came.map(({ event }) => event?.place),
      places,
    );
  },
};

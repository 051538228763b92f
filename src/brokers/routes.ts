/**
 * Copies of events on topics of their own. The main topic has every event of the log, and must: its
 * consumers count offsets. An event that was published to another topic has that topic's name in
 * its metadata, and a group of the log, next to the relay, publishes a copy there.
 *
 * The copy is at least once and in order per key, like everything; it goes out after the event is
 * durable, and waits for a broker that is away.
 */
import { isMillraceError, MillraceError } from '../core/errors.ts';
import type { Event, StoredEvent } from '../core/event.ts';
import { eventsLike } from '../core/event-pattern.ts';
import { partitionFor } from '../core/partition.ts';
import type { BatchContext } from '../events/stream/context.ts';
import type { AnyDefinition, BatchSubscription } from '../events/stream/subscription.ts';
import type { Broker, OutgoingEvent } from '../ports/broker.ts';
import { sleep } from '../runtime/bell.ts';
import type { TopicNames } from './topics.ts';

/** Metadata of an event that goes to another topic as well. */
export const topicMember = 'millrace.topic';
export const routesGroup = 'topic-routes';

const topicPattern = /^[A-Za-z0-9._-]{1,249}$/;

/** A topic that every broker takes. */
export function isTopicName(topic: unknown): topic is string {
  return typeof topic === 'string' && topicPattern.test(topic) && !/^\.{1,2}$/.test(topic);
}

/** Where an event goes: its main topic first, which the relay serves, then the one it names. */
export function topicsOf(
  event: Pick<Event, 'tenantId' | 'metadata'>,
  names: Pick<TopicNames, 'topicOf'>,
): readonly string[] {
  const main = names.topicOf(event.tenantId);
  const named = event.metadata[topicMember];
  return isTopicName(named) && named !== main ? [main, named] : [main];
}

export interface RouteOptions {
  readonly broker: Broker;
  readonly topics: TopicNames;
  readonly logId: string;
  /** Of a topic that is made for them. */
  readonly partitions: number;
}

/** The group that publishes the copies. Its cursor moves after the broker's acknowledgement. */
export function topicRoutes(options: RouteOptions): BatchSubscription<readonly AnyDefinition[]> {
  const counts = new Map<string, number>();
  return {
    group: routesGroup,
    events: [eventsLike('*')],
    from: 'end',
    timeoutMs: 0, // it waits for the broker, however long that takes
    async handleBatch(events, context) {
      const routed = events.flatMap((event) => {
        const [, topic] = topicsOf(event, options.topics);
        return topic === undefined ? [] : [{ event, topic }];
      });
      if (routed.length > 0) await publish(routed, options, counts, context);
    },
  };
}

interface Routed {
  readonly event: StoredEvent;
  readonly topic: string;
}

async function publish(
  routed: readonly Routed[],
  options: RouteOptions,
  counts: Map<string, number>,
  context: BatchContext,
): Promise<void> {
  for (let delayMs = 100; ; delayMs = Math.min(delayMs * 2, 10_000)) {
    let outgoing: readonly OutgoingEvent[] = [];
    try {
      await count(routed, options, counts);
      outgoing = routed.map((one) => outgoingOf(one, options, counts));
      return await options.broker.publish(outgoing);
    } catch (error) {
      if (!isMillraceError(error)) throw error;
      if (error.code === 'BROKER_EVENT_REFUSED') {
        const { index } = error.details ?? {};
        const refused = typeof index === 'number' ? routed[index] : undefined;
        if (refused === undefined) throw error;
        context.fail(refused.event, error);
        return;
      }
      if (!error.retryable) throw error;
      counts.clear(); // somebody may have made a topic anew
    }
    await sleep(delayMs, context.signal);
    if (context.signal.aborted)
      throw new MillraceError('SHUTTING_DOWN', 'The broker was waited for.');
  }
}

/** Partitions of every topic that is asked for; those that are missing are made. */
async function count(
  routed: readonly Routed[],
  { broker, partitions }: RouteOptions,
  counts: Map<string, number>,
): Promise<void> {
  const unknown = [...new Set(routed.map(({ topic }) => topic))].filter((one) => !counts.has(one));
  if (unknown.length === 0) return;
  const there = await broker.topics(unknown);
  for (const { topic, partitions: found } of there) counts.set(topic, found);
  const missing = unknown.filter((topic) => !counts.has(topic));
  if (missing.length === 0) return;
  await broker.createTopics(missing.map((topic) => ({ topic, partitions })));
  for (const topic of missing) counts.set(topic, partitions);
}

function outgoingOf(
  { event, topic }: Routed,
  { logId }: RouteOptions,
  counts: ReadonlyMap<string, number>,
): OutgoingEvent {
  const { tenantId, key, partition, offset, payload, metadata } = event;
  return {
    topic,
    partition: partitionFor(tenantId, key, counts.get(topic) ?? 1),
    event,
    payloadJson: JSON.stringify(payload),
    metadataJson: JSON.stringify(metadata),
    place: { logId, partition, offset },
  };
}

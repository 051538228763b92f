/** For this driver's tests: events to publish, and a member that keeps what it is given. */
import { randomUUID } from 'node:crypto';
import { eventually } from '../../../test/support/eventually.ts';
import type {
  Broker,
  BrokerSubscription,
  Delivery,
  OutgoingEvent,
  SubscribeOptions,
  TopicPartition,
} from '../../ports/broker.ts';

export const patienceMs = 30_000;

/** Numbered events of one key, in partition 0 unless told otherwise. */
export function events(
  topic: string,
  count: number,
  { first = 0, partition = 0, key = 'k' } = {},
): OutgoingEvent[] {
  return Array.from({ length: count }, (_, i) => eventOf(topic, first + i, { partition, key }));
}

export function eventOf(
  topic: string,
  payload: unknown,
  { partition = 0, key = 'k' } = {},
): OutgoingEvent {
  const event = {
    eventId: randomUUID(),
    eventType: 'rabbitmq.Tested',
    version: 1,
    tenantId: 'acme',
    key,
    timestamp: new Date().toISOString(),
    correlationId: key,
    causationId: null,
    payload: payload as never,
    metadata: {},
  };
  const payloadJson = JSON.stringify(payload);
  return { topic, partition, event, payloadJson, metadataJson: null, place: null };
}

export class TestMember {
  readonly deliveries: Delivery[] = [];
  readonly held = new Set<number>();
  readonly lost: number[] = [];
  readonly errors: string[] = [];
  subscription: BrokerSubscription | null = null;
  acknowledges = true;

  static async join(
    broker: Broker,
    topics: readonly string[],
    options: Partial<SubscribeOptions> & { readonly acknowledges?: boolean } = {},
  ): Promise<TestMember> {
    const member = new TestMember();
    member.acknowledges = options.acknowledges ?? true;
    const subscription = broker.subscribe({
      group: 'testers',
      topics,
      from: 'end',
      onDeliveries(_, deliveries) {
        member.deliveries.push(...deliveries);
        if (!member.acknowledges) return;
        subscription
          .then((joined) => joined.acknowledge(deliveries))
          .catch((error: Error) => member.errors.push(error.message));
      },
      onAssigned: (places) => {
        for (const { partition } of places) member.held.add(partition);
      },
      onRevoked: (places, lost) => member.#letGo(places, lost),
      onError: (error, where) => member.errors.push(`${where}: ${(error as Error).message}`),
      ...options,
    });
    member.subscription = await subscription;
    return member;
  }

  /** The payloads, in the order in which they came. */
  get payloads(): unknown[] {
    return this.deliveries.map(({ event }) => JSON.parse(event?.dataJson ?? 'null'));
  }

  async received(count: number): Promise<readonly Delivery[]> {
    await eventually(
      `${count} deliveries`,
      () => this.deliveries.length >= count,
      patienceMs,
    ).catch((error: Error) => {
      const told = this.errors.join('; ') || 'nothing';
      throw new Error(`${error.message}; ${this.deliveries.length} came, told: ${told}`);
    });
    return this.deliveries;
  }

  async holds(count: number): Promise<void> {
    await eventually(`${count} partitions`, () => this.held.size === count, patienceMs);
  }

  async close(): Promise<void> {
    await this.subscription?.close();
  }

  #letGo(places: readonly TopicPartition[], lost: boolean): void {
    for (const { partition } of places) {
      this.held.delete(partition);
      if (lost) this.lost.push(partition);
    }
  }
}

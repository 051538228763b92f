/**
 * A real broker with faults on the way to it, as a test wants them: away, answers that get lost,
 * messages that vanish, events that it refuses.
 */
import { MillraceError } from '../../src/core/errors.ts';
import type {
  Broker,
  BrokerSubscription,
  Delivery,
  OutgoingEvent,
  SubscribeOptions,
  TopicPartition,
} from '../../src/ports/broker.ts';

export class FaultyBroker implements Broker {
  readonly #inner: Broker;
  readonly #held: (() => void)[] = [];
  #away = false;
  /** So many publishes are stored, and their answers lost. */
  answersLost = 0;
  published = 0;
  refuses: (event: OutgoingEvent) => boolean = () => false;
  loses: (delivery: Delivery) => boolean = () => false;

  constructor(inner: Broker) {
    this.#inner = inner;
  }

  get name(): string {
    return this.#inner.name;
  }

  get capabilities(): Broker['capabilities'] {
    return this.#inner.capabilities;
  }

  get away(): boolean {
    return this.#away;
  }

  /** Away: nothing is answered and nothing is delivered; what came is delivered when it is back. */
  set away(away: boolean) {
    this.#away = away;
    if (!away) for (const deliver of this.#held.splice(0)) deliver();
  }

  async publish(events: readonly OutgoingEvent[]): Promise<void> {
    this.#check();
    const index = events.findIndex((event) => this.refuses(event));
    if (index >= 0) {
      await this.#inner.publish(events.slice(0, index));
      throw new MillraceError('BROKER_EVENT_REFUSED', 'It is too large.', { details: { index } });
    }
    await this.#inner.publish(events);
    this.published += events.length;
    if (this.answersLost <= 0) return;
    this.answersLost -= 1;
    throw new MillraceError('BROKER_UNAVAILABLE', 'The answer got lost.');
  }

  async subscribe(options: SubscribeOptions): Promise<BrokerSubscription> {
    this.#check();
    const subscription = await this.#inner.subscribe({
      ...options,
      onDeliveries: (at, deliveries) => {
        const kept = deliveries.filter((delivery) => !this.loses(delivery));
        if (kept.length === 0) return;
        const deliver = () => options.onDeliveries(at, kept);
        if (this.#away) this.#held.push(deliver);
        else deliver();
      },
    });
    const check = () => this.#check();
    return {
      get assigned() {
        return subscription.assigned;
      },
      async acknowledge(deliveries) {
        check();
        await subscription.acknowledge(deliveries);
      },
      pause: (partitions: readonly TopicPartition[]) => subscription.pause(partitions),
      resume: (partitions: readonly TopicPartition[]) => subscription.resume(partitions),
      close: () => subscription.close(),
    };
  }

  async createTopics(...given: Parameters<Broker['createTopics']>): Promise<void> {
    this.#check();
    await this.#inner.createTopics(...given);
  }

  async topics(...given: Parameters<Broker['topics']>): ReturnType<Broker['topics']> {
    this.#check();
    return this.#inner.topics(...given);
  }

  async deleteTopics(...given: Parameters<Broker['deleteTopics']>): Promise<void> {
    await this.#inner.deleteTopics(...given);
  }

  async lag(...given: Parameters<Broker['lag']>): ReturnType<Broker['lag']> {
    this.#check();
    return this.#inner.lag(...given);
  }

  async health(): ReturnType<Broker['health']> {
    if (this.#away) return { ok: false, problem: 'it is away', latencyMs: null };
    return this.#inner.health();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #check(): void {
    if (this.#away) throw new MillraceError('BROKER_UNAVAILABLE', 'The broker is away.');
  }
}

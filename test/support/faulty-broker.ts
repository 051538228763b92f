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
import { sleep } from '../../src/runtime/bell.ts';

export class FaultyBroker implements Broker {
  readonly #inner: Broker;
  readonly #held: (() => void)[] = [];
  readonly #drips = new Map<string, Promise<void>>();
  #away = false;
  /** So many publishes are stored, and their answers lost. */
  answersLost = 0;
  published = 0;
  /** Subscriptions that were made and not closed. */
  subscriptions = 0;
  /** Deliveries come one at a time, of each partition so far apart. */
  apartMs = 0;
  /** Of several events that it refuses it names the last one. */
  namesLast = false;
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
    const first = events.findIndex((event) => this.refuses(event));
    if (first >= 0) {
      await this.#inner.publish(events.slice(0, first));
      const index = this.namesLast ? events.findLastIndex((event) => this.refuses(event)) : first;
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
        else if (this.apartMs > 0) this.#drip(at, kept, options);
        else deliver();
      },
    });
    this.subscriptions += 1;
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
      close: () => {
        this.subscriptions -= 1;
        return subscription.close();
      },
    };
  }

  #drip(at: TopicPartition, deliveries: readonly Delivery[], options: SubscribeOptions): void {
    const name = `${at.topic}/${at.partition}`;
    let last = this.#drips.get(name) ?? Promise.resolve();
    for (const delivery of deliveries) {
      last = last.then(async () => {
        await sleep(this.apartMs);
        options.onDeliveries(at, [delivery]);
      });
    }
    this.#drips.set(name, last);
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

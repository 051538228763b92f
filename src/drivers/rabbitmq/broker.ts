/**
 * RabbitMQ (3.10 and up, 4.x) as a broker of events. Two connections: the server blocks those that
 * publish when its memory or disk is short, and acknowledgements must get through then. So nothing
 * is ever published over the one that consumes.
 */
import type {
  Broker,
  BrokerCapabilities,
  BrokerHealth,
  BrokerSettings,
  BrokerSubscription,
  OutgoingEvent,
  PartitionLag,
  SubscribeOptions,
  TopicInfo,
  TopicSpec,
} from '../../ports/broker.ts';
import { type Address, addressOf } from './address.ts';
import { messageOf, unavailable, within } from './failures.ts';
import { Link } from './link.ts';
import { checkGroup } from './names.ts';
import { Publisher } from './publisher.ts';
import { Subscription } from './subscription.ts';
import { measureLag } from './talk.ts';
import { inTurns, Topics } from './topics.ts';

const capabilities: BrokerCapabilities = Object.freeze({
  createsTopics: true,
  replays: false,
  keepsWithoutGroup: false,
  deduplicates: false,
  staticMembership: false,
  eventBytesMax: null,
});

const publishTimeoutMsDefault = 30_000;
const farewellMsMax = 7_000;
const healthMsMax = 5_000;

/**
 * Connects. A server that is lost later comes back by itself.
 * @throws MillraceError CONFIG_INVALID, BROKER_UNAVAILABLE, BROKER_DENIED
 */
export async function openRabbitmqBroker(settings: BrokerSettings): Promise<Broker> {
  const broker = new RabbitmqBroker(settings, addressOf(settings));
  await broker.open();
  return broker;
}

class RabbitmqBroker implements Broker {
  readonly name = 'rabbitmq';
  readonly capabilities = capabilities;
  readonly #link: Link;
  readonly #publishing: Link;
  readonly #topics: Topics;
  readonly #publisher: Publisher;
  readonly #subscriptions = new Set<Subscription>();
  #closing: Promise<void> | null = null;

  constructor(settings: BrokerSettings, address: Address) {
    const { source = 'millrace', publishTimeoutMs: timeoutMs = publishTimeoutMsDefault } = settings;
    const onError = settings.onError ?? (() => {});
    this.#link = new Link(address, onError);
    this.#publishing = new Link(address, onError);
    this.#topics = new Topics(this.#link, this.#publishing);
    const [link, topics] = [this.#publishing, this.#topics];
    this.#publisher = new Publisher({ link, topics, source, timeoutMs });
  }

  async open(): Promise<void> {
    try {
      await this.#link.open();
      await this.#publishing.open();
    } catch (error) {
      await Promise.all([this.#link.close(), this.#publishing.close()]);
      throw error;
    }
  }

  publish(events: readonly OutgoingEvent[]): Promise<void> {
    return this.#publisher.publish(events);
  }

  async subscribe(options: SubscribeOptions): Promise<BrokerSubscription> {
    this.#checkOpen();
    checkGroup(options.group);
    const subscription = await Subscription.open({
      link: this.#link,
      voice: this.#publishing,
      topics: this.#topics,
      options,
      onClosed: (closed) => this.#subscriptions.delete(closed),
    });
    this.#subscriptions.add(subscription);
    if (this.#closing !== null) await subscription.close();
    return subscription;
  }

  async createTopics(specs: readonly TopicSpec[]): Promise<void> {
    this.#checkOpen();
    await inTurns(specs, (spec) => this.#topics.create(spec));
  }

  async topics(names?: readonly string[]): Promise<readonly TopicInfo[]> {
    this.#checkOpen();
    return this.#topics.list(names);
  }

  async deleteTopics(names: readonly string[]): Promise<void> {
    this.#checkOpen();
    await inTurns(names, (topic) => this.#topics.delete(topic));
  }

  async lag(group: string, topics: readonly string[]): Promise<readonly PartitionLag[]> {
    this.#checkOpen();
    checkGroup(group);
    const place = { link: this.#link, voice: this.#publishing, topics: this.#topics };
    const lags = await inTurns(topics, (topic) => measureLag(place, group, topic));
    return lags.flat();
  }

  async health(): Promise<BrokerHealth> {
    const start = performance.now();
    try {
      this.#checkOpen();
      await within(
        this.#publishing.use(async () => {}),
        healthMsMax,
        'an answer',
      );
      return { ok: true, problem: null, latencyMs: performance.now() - start };
    } catch (error) {
      return { ok: false, problem: messageOf(error), latencyMs: null };
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Within 10 s, whatever the server does. */
  async #close(): Promise<void> {
    const leaving = [...this.#subscriptions].map((subscription) => subscription.close());
    await Promise.all([
      within(Promise.allSettled(leaving), farewellMsMax, 'leaving').catch(() => {}),
      this.#publisher.close(farewellMsMax),
    ]);
    await Promise.all([this.#link.close(), this.#publishing.close()]);
  }

  #checkOpen(): void {
    if (this.#closing !== null) throw unavailable('the broker is closed');
  }
}

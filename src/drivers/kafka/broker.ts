/**
 * The broker port over Apache Kafka and what speaks its protocol: Event Hubs, MSK, Confluent Cloud.
 * Publishing is producer.ts, groups are subscription.ts; here is what holds them together.
 */
import type {
  Broker,
  BrokerHealth,
  BrokerSettings,
  BrokerSubscription,
  SubscribeOptions,
} from '../../ports/broker.ts';
import { Cluster } from './cluster.ts';
import { codeOf, isCoordinatorLost, isMetadataOld } from './codes.ts';
import { type DriverOptions, driverOptions } from './driver-options.ts';
import { abortable, backoffMs, settledWithin } from './patience.ts';
import { Producer } from './producer.ts';
import { clientSettings } from './security/settings.ts';
import { KafkaSubscription } from './subscription.ts';
import { createTopics, deleteTopics, lagOf, listTopics } from './topics.ts';

/** For publishes that are under way when the broker is closed. */
const closeMs = 8000;
const healthMs = 5000;
const greetingsMax = 3;

/**
 * Connects, and proves who we are.
 * @throws MillraceError CONFIG_INVALID, BROKER_DENIED, BROKER_UNAVAILABLE
 */
export async function openKafkaBroker(settings: BrokerSettings): Promise<Broker> {
  const options = driverOptions(settings.url);
  const client = await clientSettings({ ...settings, url: options.url });
  const cluster = new Cluster(client);
  try {
    await greet(cluster);
  } catch (error) {
    await cluster.close();
    throw error;
  }
  return new KafkaBroker(cluster, settings, options);
}

/**
 * Nodes are learned by it, and wrong credentials show here. A few times: a broker that is just
 * starting, or whose session ended in between, closes the connection on us.
 */
async function greet(cluster: Cluster): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      await cluster.metadata([]);
      return;
    } catch (error) {
      const failure = cluster.failure(error, 'answer');
      if (!failure.retryable || tries === greetingsMax) throw failure;
      await abortable(200 * tries, cluster.closed);
    }
  }
}

class KafkaBroker implements Broker {
  readonly name = 'kafka';
  readonly capabilities;
  readonly #cluster: Cluster;
  readonly #options: DriverOptions;
  readonly #producer: Producer;
  readonly #subscriptions = new Set<KafkaSubscription>();
  #closing: Promise<void> | null = null;

  constructor(cluster: Cluster, settings: BrokerSettings, options: DriverOptions) {
    this.#cluster = cluster;
    this.#options = options;
    const { preset, publishTimeoutMs } = cluster.settings;
    this.capabilities = {
      createsTopics: preset.createsTopics,
      replays: true,
      keepsWithoutGroup: true,
      // Its idempotence is of batches sent twice, not of events published twice.
      deduplicates: false,
      staticMembership: true,
      eventBytesMax: preset.eventBytesMax,
    };
    this.#producer = new Producer({
      cluster,
      source: settings.source ?? 'millrace',
      compression: options.compression,
      publishTimeoutMs,
      onError: (error, where) => {
        try {
          settings.onError?.(error, where);
        } catch {
          // An error while an error is told: nobody is left to hear it.
        }
      },
    });
  }

  publish(events: Parameters<Broker['publish']>[0]): Promise<void> {
    return this.#producer.publish(events);
  }

  async subscribe(options: SubscribeOptions): Promise<BrokerSubscription> {
    const { groupProtocol, sessionTimeoutMs } = this.#options;
    const { preset, publishTimeoutMs } = this.#cluster.settings;
    const subscription: KafkaSubscription = new KafkaSubscription(
      {
        cluster: this.#cluster,
        groupProtocol: groupProtocol ?? preset.groupProtocol,
        sessionTimeoutMs,
        timeoutMs: publishTimeoutMs,
        onClosed: () => this.#subscriptions.delete(subscription),
      },
      options,
    );
    this.#subscriptions.add(subscription);
    try {
      await subscription.join();
    } catch (error) {
      await subscription.close();
      throw this.#cluster.failure(error, 'accept us as a member of the group');
    }
    return subscription;
  }

  createTopics(topics: Parameters<Broker['createTopics']>[0]): Promise<void> {
    return this.#try('make topics', () => createTopics(this.#cluster, topics));
  }

  topics(names?: readonly string[]) {
    return this.#try('list topics', () => listTopics(this.#cluster, names));
  }

  deleteTopics(names: readonly string[]): Promise<void> {
    return this.#try('delete topics', () => deleteTopics(this.#cluster, names));
  }

  lag(group: string, topics: readonly string[]) {
    return this.#try('tell the lag', () => lagOf(this.#cluster, group, topics));
  }

  /** Leaders and coordinators move, connections break: what only asks is asked again. */
  async #try<T>(what: string, ask: () => Promise<T>): Promise<T> {
    const deadline = performance.now() + this.#cluster.settings.publishTimeoutMs;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await ask();
      } catch (error) {
        const failure = this.#cluster.failure(error, what);
        const wait = backoffMs(attempt);
        const isLate = performance.now() + wait > deadline || this.#cluster.closed.aborted;
        const isPassing = codeOf(error) === -1 || isMoved(codeOf(error));
        if (!failure.retryable || isLate || !isPassing) throw failure;
        await abortable(wait, this.#cluster.closed);
      }
    }
  }

  async health(): Promise<BrokerHealth> {
    const start = performance.now();
    const asked = this.#cluster.metadata([]).then(
      () => null,
      (error: unknown) => this.#cluster.failure(error, 'answer').message,
    );
    if (!(await settledWithin(asked, healthMs))) {
      return { ok: false, problem: `Kafka did not answer within ${healthMs} ms`, latencyMs: null };
    }
    const problem = await asked;
    const latencyMs = problem === null ? performance.now() - start : null;
    return { ok: problem === null, problem, latencyMs };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([
      settledWithin(Promise.all([...this.#subscriptions].map((one) => one.close())), closeMs),
      this.#producer.close(closeMs),
    ]);
    await settledWithin(this.#cluster.close(), 1500);
  }
}

function isMoved(errorCode: number): boolean {
  return isMetadataOld(errorCode) || isCoordinatorLost(errorCode);
}

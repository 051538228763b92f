/**
 * The broker port on Redis Streams (Redis 7, Valkey): a stream per partition, consumer groups, and
 * one owner of a partition at a time, which Redis itself knows nothing of. docs/redis-streams.md
 * has the keys, and what is kept when the server fails.
 */
import { performance } from 'node:perf_hooks';
import type {
  Broker,
  BrokerCapabilities,
  BrokerHealth,
  BrokerSettings,
  BrokerSubscription,
} from '../../../ports/broker.ts';
import { openRedis, type Redis, type RedisOptions } from '../connection.ts';
import { durabilityProblem } from './durability.ts';
import { translate, unavailable } from './failures.ts';
import { topicsKey } from './names.ts';
import { eventBytesMax, Publisher } from './publisher.ts';
import { openSubscription } from './subscription.ts';
import { createTopic, deleteTopic, lagOf, listTopics } from './topics.ts';

const publishTimeoutMsDefault = 30_000;
const silenceMsMax = 10_000;
const healthMsMax = 5_000;
const closeMsMax = 10_000;

const capabilities: BrokerCapabilities = {
  createsTopics: true,
  // Of topics with a retention alone: else what all groups have acknowledged is trimmed.
  replays: false,
  keepsWithoutGroup: true,
  deduplicates: false,
  staticMembership: true,
  eventBytesMax,
};

/**
 * Connects; the connection comes back by itself from then on.
 * @throws MillraceError BROKER_UNAVAILABLE, BROKER_DENIED, CONFIG_INVALID, and STORE_MISCONFIGURED
 * for a server that is too old or throws keys away when its memory is full
 */
export async function openRedisBroker(settings: BrokerSettings): Promise<Broker> {
  const { source = 'millrace', publishTimeoutMs = publishTimeoutMsDefault } = settings;
  const clientId = settings.clientId ?? `millrace-${process.pid}`;
  const onError = settings.onError ?? (() => {});
  const tell = oncePerOutage(onError);
  const options = connectionOptions(settings, clientId);
  const redis = await openRedis(settings.url, { ...options, onError: tell.lost });
  try {
    const problem = await durabilityProblem(redis, topicsKey);
    if (problem !== null) onError(problem, 'durability');
  } catch (error) {
    await redis.close();
    throw error;
  }
  const publisher = new Publisher({ redis, source, timeoutMs: publishTimeoutMs, onError });
  const subscriptions = new Set<BrokerSubscription>();
  let closing: Promise<void> | null = null;

  const close = async () => {
    const left = [...subscriptions].map((subscription) => subscription.close());
    await Promise.all([...left, publisher.close(closeMsMax)]);
    await redis.close();
  };
  return {
    name: 'redis',
    capabilities,
    publish: (events) => publisher.publish(events),
    async subscribe(wanted) {
      if (closing !== null) throw unavailable('This client was closed.');
      const name = wanted.memberId ?? `${clientId}-${crypto.randomUUID().slice(0, 8)}`;
      const connect = () => openRedis(settings.url, options);
      const opened = await openSubscription({ redis, connect, name }, wanted);
      const subscription: BrokerSubscription = Object.create(opened, {
        close: {
          async value() {
            await opened.close();
            subscriptions.delete(subscription);
          },
        },
      });
      subscriptions.add(subscription);
      return subscription;
    },
    async createTopics(topics) {
      for (const topic of topics) await createTopic(redis, topic);
    },
    topics: (names) => listTopics(redis, names),
    async deleteTopics(names) {
      for (const name of names) await deleteTopic(redis, name);
    },
    async lag(group, topics) {
      const lags = await Promise.all(topics.map((topic) => lagOf(redis, group, topic)));
      return lags.flat();
    },
    async health() {
      const health = await checkHealth(redis);
      if (health.ok) tell.back();
      return health;
    },
    close() {
      closing ??= close();
      return closing;
    },
  };
}

function connectionOptions(settings: BrokerSettings, clientId: string): RedisOptions {
  const { tls, username, password, token, connectTimeoutMs } = settings;
  const inUrl = URL.canParse(settings.url) ? new URL(settings.url) : null;
  const user = username ?? decodeURIComponent(inUrl?.username ?? '');
  const secret = password ?? decodeURIComponent(inUrl?.password ?? '');
  const credentials = async () => ({
    ...(user !== '' && { username: user }),
    password: token ? (await token()).token : secret,
  });
  return {
    translate,
    name: clientId.replace(/[^\x21-\x7e]/g, '_'),
    silenceMsMax,
    connectMsMax: connectTimeoutMs,
    ...((token || username || password) && { credentials }),
    ...(tls && {
      tls: {
        ...(tls.ca !== undefined && { ca: tls.ca }),
        ...(tls.cert !== undefined && { cert: tls.cert }),
        ...(tls.key !== undefined && { key: tls.key }),
        ...(tls.passphrase !== undefined && { passphrase: tls.passphrase }),
        ...(tls.serverName !== undefined && { servername: tls.serverName }),
      },
    }),
  };
}

/** The client says each failed attempt to connect again. */
function oncePerOutage(onError: (error: unknown, where: string) => void) {
  let toldAt = Number.NEGATIVE_INFINITY;
  return {
    lost(error: unknown): void {
      if (performance.now() - toldAt < 60_000) return;
      toldAt = performance.now();
      onError(translate(error), 'connection');
    },
    back(): void {
      toldAt = Number.NEGATIVE_INFINITY;
    },
  };
}

async function checkHealth(redis: Redis): Promise<BrokerHealth> {
  const startedAt = performance.now();
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(unavailable('Redis does not answer.')), healthMsMax);
  try {
    await Promise.race([redis.send(topicsKey, ['PING']), late]);
    return { ok: true, problem: null, latencyMs: performance.now() - startedAt };
  } catch (error) {
    return { ok: false, problem: (error as Error).message, latencyMs: null };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * From a URL to a running platform; the only file that names every driver, each loaded when asked
 * for. Without a URL the embedded Postgres is started in a local directory.
 */
import { type BrokerOptions, linkSettings } from './brokers/options.ts';
import { PatientBroker } from './brokers/patient-broker.ts';
import { MillraceError } from './core/errors.ts';
import { Jobs } from './jobs/jobs.ts';
import type { JobsOptions } from './jobs/options.ts';
import { Millrace, type MillraceOptions } from './millrace.ts';
import type { Broker, BrokerSettings } from './ports/broker.ts';
import type { Store } from './ports/store.ts';
import { checkLogRetention } from './runtime/log-upkeep.ts';
import { type TelemetryOptions, telemetrySettings } from './telemetry/settings.ts';

/** Without a URL the other options say nothing: the log carries the events. */
export type BrokerChoice = Omit<BrokerOptions, 'url'> & { readonly url?: string | null };

export interface ConnectOptions extends Omit<MillraceOptions, 'link'> {
  /**
   * A broker that carries the events: `kafka://…`, `amqp://…`, `redis://…`, or with options. It may
   * be away: publishing goes on, and so does the rest once it is back. None by default.
   */
  readonly broker?: string | BrokerChoice;
  /** Directory of the embedded Postgres; `.millrace/postgres` by default. */
  readonly directory?: string;
  /** Partitions of a new database; 8 by default, and fixed from then on. */
  readonly partitions?: number;
  readonly connectionsMax?: number;
  /** False where another process migrates. */
  readonly migrate?: boolean;
  /** Off by default, and as the environment says (TELEMETRY_ENABLED, OTEL_…). */
  readonly telemetry?: TelemetryOptions;
}

/**
 * Connects to Postgres 15 or newer, or starts the embedded one.
 * @example
 * const mill = await connect();                       // embedded, in .millrace/postgres
 * const mill = await connect('postgres://user@host/db');
 * @throws MillraceError STORE_UNAVAILABLE, STORE_MISCONFIGURED, MIGRATION_FAILED, EMBEDDED_…
 */
export async function connect(url?: string, options: ConnectOptions = {}): Promise<Millrace> {
  checkLogRetention(options.logRetentionMs);
  if (url === undefined || url === '') return connectEmbedded(options);
  if (!/^postgres(ql)?:\/\//.test(url)) {
    throw new MillraceError('CONFIG_INVALID', `${named(url)} is not a postgres:// URL.`, {
      fix: 'Give a URL like postgres://user:password@host:5432/database, or none at all.',
    });
  }
  const { openPostgresStore } = await import('./drivers/postgres/store.ts');
  return assemble(await openPostgresStore({ url, ...options }), options);
}

async function connectEmbedded(options: ConnectOptions): Promise<Millrace> {
  const { startEmbeddedPostgres } = await import('./drivers/postgres/embedded/launcher.ts');
  const { openPostgresStore } = await import('./drivers/postgres/store.ts');
  const directory = options.directory ?? '.millrace/postgres';
  const postgres = await startEmbeddedPostgres({ directory });
  try {
    const store = await openPostgresStore({ url: postgres.url, ...options });
    return await assemble(store, options, () => postgres.stop());
  } catch (error) {
    await postgres.stop();
    throw error;
  }
}

async function assemble(
  store: Store,
  options: ConnectOptions,
  onClose?: () => Promise<void>,
): Promise<Millrace> {
  const settings = telemetrySettings(options.telemetry);
  let link: MillraceOptions['link'];
  try {
    link = await openLink(options.broker);
  } catch (error) {
    await store.close();
    throw error;
  }
  const mill = new Millrace(store, { ...options, ...(link && { link }) }, onClose);
  try {
    await mill.broker?.register();
  } catch (error) {
    await mill.stop();
    throw error;
  }
  if (settings.enabled) {
    const { attachTelemetry } = await import('./telemetry/attach.ts');
    mill.telemetry = await attachTelemetry(mill, settings);
  }
  return mill;
}

/** A broker that is away is waited for; wrong settings or credentials are said at once. */
async function openLink(choice: ConnectOptions['broker']): Promise<MillraceOptions['link']> {
  const { url, ...rest } = typeof choice === 'string' ? { url: choice } : (choice ?? {});
  if (url === undefined || url === null || url === '') return undefined;
  const options: BrokerOptions = { ...rest, url };
  linkSettings(options);
  const broker = new PatientBroker(brokerScheme(url) ?? 'broker', () => openBroker(options));
  try {
    await broker.ready();
  } catch (error) {
    const away = error instanceof MillraceError && error.code === 'BROKER_UNAVAILABLE';
    if (!away) throw error;
  }
  return { broker, options };
}

export interface ConnectJobsOptions extends JobsOptions {
  /** Directory of the embedded Postgres; `.millrace/postgres` by default. */
  readonly directory?: string;
  readonly connectionsMax?: number;
  /** False where another process migrates. */
  readonly migrate?: boolean;
  /** What keys in Redis begin with; `millrace` by default. */
  readonly prefix?: string;
}

/**
 * Queues by themselves: on Postgres 15 or newer, on Redis 7 or newer, or on the embedded Postgres.
 * @example
 * const jobs = await connectJobs('redis://localhost:6379');
 * @throws MillraceError as `connect`
 */
export async function connectJobs(url?: string, options: ConnectJobsOptions = {}): Promise<Jobs> {
  if (url !== undefined && /^rediss?:\/\//.test(url)) {
    const { openRedisJobStore } = await import('./drivers/redis/store.ts');
    return new Jobs(await openRedisJobStore({ url, ...options }), options);
  }
  const { openPostgresJobStore } = await import('./drivers/postgres/jobs/store.ts');
  if (url === undefined || url === '') {
    const { startEmbeddedPostgres } = await import('./drivers/postgres/embedded/launcher.ts');
    const directory = options.directory ?? '.millrace/postgres';
    const postgres = await startEmbeddedPostgres({ directory });
    try {
      const store = await openPostgresJobStore({ url: postgres.url, ...options });
      return new Jobs(store, options, () => postgres.stop());
    } catch (error) {
      await postgres.stop();
      throw error;
    }
  }
  if (!/^postgres(ql)?:\/\//.test(url)) {
    const problem = `${named(url)} is no postgres:// or redis:// URL.`;
    throw new MillraceError('CONFIG_INVALID', problem, {
      fix: 'Give a URL like postgres://user:password@host/db or redis://host:6379, or none.',
    });
  }
  return new Jobs(await openPostgresJobStore({ url, ...options }), options);
}

/** How a URL begins. Not the URL itself: it may hold a password. */
function named(url: string): string {
  const scheme = /^[a-z][a-z\d+.-]*(?=:\/\/)/i.exec(url)?.[0];
  return scheme === undefined ? 'What is given' : `What begins with ${scheme}://`;
}

type Open = (settings: BrokerSettings) => Promise<Broker>;

const kafka = async (): Promise<Open> =>
  (await import('./drivers/kafka/broker.ts')).openKafkaBroker;
const rabbitmq = async (): Promise<Open> =>
  (await import('./drivers/rabbitmq/broker.ts')).openRabbitmqBroker;
const redis = async (): Promise<Open> =>
  (await import('./drivers/redis/streams/broker.ts')).openRedisBroker;

const drivers: Readonly<Record<string, () => Promise<Open>>> = {
  kafka,
  kafkas: kafka,
  'kafka+ssl': kafka,
  eventhubs: kafka,
  msk: kafka,
  confluent: kafka,
  amqp: rabbitmq,
  amqps: rabbitmq,
  redis,
  rediss: redis,
};

/** The scheme of a URL, `eventhubs` for a connection string of Azure; null for neither. */
export function brokerScheme(url: string): string | null {
  if (/^\s*Endpoint=sb:\/\//i.test(url)) return 'eventhubs';
  const scheme = /^([a-z][a-z+]*):\/\//i.exec(url)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(drivers, scheme) ? scheme : null;
}

/**
 * Connects to a broker: Kafka and what speaks its protocol, RabbitMQ, or Redis Streams.
 * @example
 * const broker = await openBroker('kafka://localhost:9092');
 * const hubs = await openBroker({ url: process.env.EVENT_HUBS_CONNECTION_STRING });
 * @throws MillraceError CONFIG_INVALID, BROKER_UNAVAILABLE, BROKER_DENIED
 */
export async function openBroker(urlOrSettings: string | BrokerSettings): Promise<Broker> {
  const settings = typeof urlOrSettings === 'string' ? { url: urlOrSettings } : urlOrSettings;
  const scheme = brokerScheme(settings.url);
  if (scheme === null) {
    // Not the URL itself: it may hold a password.
    const given = /^[a-z][a-z+]*(?=:\/\/)/i.exec(settings.url)?.[0];
    const what = given === undefined ? 'It is no URL of a broker.' : `No broker has ${given}://.`;
    throw new MillraceError('CONFIG_INVALID', what, {
      fix:
        'Give kafka://host:9092, amqp://user:password@host or redis://host:6379. ' +
        `There are: ${Object.keys(drivers).join(', ')}.`,
    });
  }
  const open = await (drivers[scheme] as () => Promise<Open>)();
  return open(settings);
}

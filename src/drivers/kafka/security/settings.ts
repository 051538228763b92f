/**
 * From broker settings to what the constructors of the Kafka client take: hosts, TLS, how we prove
 * who we are, times. The only place that knows URLs and secrets; the driver sees neither.
 */
import { isIP } from 'node:net';
import type { BaseOptions } from '@platformatic/kafka';
import { MillraceError } from '../../../core/errors.ts';
import type { BrokerSettings } from '../../../ports/broker.ts';
import { type ConnectionString, parseConnectionString } from './connection-string.ts';
import { watchConnections } from './connection-watch.ts';
import { type Denial, denialOf } from './denials.ts';
import {
  type Host,
  isConnectionString,
  type KafkaUrl,
  parseKafkaUrl,
  wrongUrl,
} from './kafka-url.ts';
import type { KafkaPreset, Mechanism } from './presets.ts';
import { createRedaction } from './redaction.ts';
import { chooseSasl, type Sasl } from './sasl.ts';
import { givesTls, tlsOptions } from './tls.ts';

/** For `new Producer({ ...settings.client, … })` and the other clients; `context` must stay. */
export type KafkaClientOptions = Pick<
  BaseOptions,
  | 'bootstrapBrokers'
  | 'clientId'
  | 'connectTimeout'
  | 'context'
  | 'metadataMaxAge'
  | 'requestTimeout'
  | 'retries'
  | 'retryDelay'
  | 'sasl'
  | 'timeout'
  | 'tls'
  | 'tlsServerName'
>;

export interface KafkaClientSettings {
  readonly client: KafkaClientOptions;
  readonly preset: KafkaPreset;
  readonly mechanism: Mechanism | null;
  readonly tls: boolean;
  /** For people: scheme and hosts, no user. */
  readonly address: string;
  readonly publishTimeoutMs: number;
  /**
   * What of an error is about credentials, certificates or rights, as BROKER_DENIED, or about a
   * token that cannot be had, as BROKER_UNAVAILABLE. Null: something else, for others to name.
   */
  denialOf(error: unknown): MillraceError | null;
  /** The text without our secrets. */
  redact(text: string): string;
}

/** @throws MillraceError CONFIG_INVALID */
export async function clientSettings(settings: BrokerSettings): Promise<KafkaClientSettings> {
  const { url, connection } = addressed(settings);
  const sasl = await chooseSasl(url, settings, connection);
  const hosts = hostsOf(url, sasl);
  const tls = wantsTls(url, connection) ? await tlsOptions(settings.tls, url) : null;
  if (tls === null && givesTls(settings.tls, url)) {
    throw wrongUrl(
      'Certificates are given, yet the Kafka URL asks for no TLS.',
      'Write kafkas:// instead of kafka://, or leave certificates out.',
    );
  }
  const address = `${url.preset.schemes[0]}://${hosts.map(hostText).join(',')}`;
  const redact = createRedaction(() => secretsOf(settings, url, connection, sasl));
  const tokenRanOut = () => sasl?.tokens?.ranOut ?? false;
  const context: Denial = { address, latest: null, tokenRanOut };
  watchConnections();
  const publishTimeoutMs = positive('publishTimeoutMs', settings.publishTimeoutMs, 30_000);
  return {
    client: {
      bootstrapBrokers: hosts.map(({ host, port }) => ({ host, port })),
      clientId: clientIdOf(settings.clientId),
      context,
      connectTimeout: positive('connectTimeoutMs', settings.connectTimeoutMs, 10_000),
      // A request that waits longer is given up with its connection.
      requestTimeout: publishTimeoutMs,
      // What the broker allows itself for an acknowledgement by all replicas.
      timeout: Math.min(publishTimeoutMs, 15_000),
      retries: 3,
      retryDelay: 200,
      metadataMaxAge: 30_000,
      ...(sasl !== null && { sasl: sasl.options }),
      ...(tls !== null && { tls }),
      // The client leaves the name out of its greeting by itself, and an address is not allowed
      // there. Services in a cloud choose the certificate, or the cluster, by it.
      ...(tls !== null &&
        tls.servername === undefined && {
          tlsServerName: hosts.every(({ host }) => isIP(host) === 0),
        }),
    },
    preset: url.preset,
    mechanism: sasl?.options.mechanism ?? null,
    tls: tls !== null,
    address,
    publishTimeoutMs,
    denialOf: (error) => denialOf(error, context, redact),
    redact,
  };
}

interface Addressed {
  readonly url: KafkaUrl;
  readonly connection: ConnectionString | null;
}

/** A connection string of Event Hubs may be the URL itself, or the password beside one. */
function addressed(settings: BrokerSettings): Addressed {
  // Secrets that come from files and variables often end with a line.
  const given = settings.url.trim();
  if (!isConnectionString(given)) {
    const url = parseKafkaUrl(given);
    if (url.preset.proof !== 'connection-string') return { url, connection: null };
    const text = settings.password ?? url.password;
    const isText = text !== null && text !== undefined && isConnectionString(text);
    return { url, connection: isText ? parseConnectionString(text) : null };
  }
  const connection = parseConnectionString(given);
  const port = connection.port === null ? '' : `:${connection.port}`;
  const url = parseKafkaUrl(`eventhubs://${connection.host}${port}`);
  return { url: { ...url, password: given }, connection };
}

function wantsTls({ preset, parameters }: KafkaUrl, connection: ConnectionString | null): boolean {
  const asked = parameters.get('tls');
  if (asked !== undefined && asked !== '0' && asked !== '1') {
    throw wrongUrl('The parameter tls of the Kafka URL is neither 1 nor 0.', 'Write ?tls=1.');
  }
  if (connection?.emulator === true) return asked === '1';
  if (preset.tls && asked === '0') {
    throw wrongUrl(
      `${preset.schemes[0]}:// is always encrypted; ?tls=0 contradicts it.`,
      'Leave tls out, or write kafka:// for a broker without TLS.',
    );
  }
  return preset.tls || asked === '1';
}

function hostsOf(url: KafkaUrl, sasl: Sasl | null): readonly Host[] {
  const port = sasl?.port ?? url.preset.port;
  return url.hosts.map((host) => ({ host: host.host, port: host.port ?? port }));
}

function hostText({ host, port }: Host): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function secretsOf(
  settings: BrokerSettings,
  url: KafkaUrl,
  connection: ConnectionString | null,
  sasl: Sasl | null,
): (string | null | undefined)[] {
  return [
    settings.password,
    url.password,
    connection?.secret,
    settings.tls?.passphrase,
    sasl?.tokens?.last,
    ...(sasl?.secrets ?? []),
  ];
}

function clientIdOf(given: string | undefined): string {
  const clientId = given ?? `millrace-${process.pid}`;
  if (/^[A-Za-z0-9._-]{1,200}$/.test(clientId)) return clientId;
  throw new MillraceError('CONFIG_INVALID', 'The client id of the broker has other characters.', {
    fix: "Use letters, digits, '.', '_' and '-' only, at most 200.",
  });
}

function positive(name: string, given: number | undefined, byDefault: number): number {
  const value = given ?? byDefault;
  if (Number.isInteger(value) && value > 0 && value < 2 ** 31) return value;
  throw new MillraceError('CONFIG_INVALID', `${name} of the broker is no number of milliseconds.`, {
    fix: `Give a whole number above 0, or leave it out for ${byDefault}.`,
  });
}

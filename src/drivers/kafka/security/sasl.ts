/** How we prove who we are, chosen from the URL's scheme, its user and its parameters. */
import { AuthenticationError, type SASLOptions } from '@platformatic/kafka';
import type { BrokerSettings } from '../../../ports/broker.ts';
import { type ConnectionString, parseConnectionString } from './connection-string.ts';
import { isConnectionString, type KafkaUrl, wrongUrl } from './kafka-url.ts';
import { mskTokens } from './msk-iam.ts';
import type { Mechanism } from './presets.ts';
import { createTokenSource, type TokenSource } from './tokens.ts';

export interface Sasl {
  readonly options: SASLOptions & { readonly mechanism: Mechanism };
  /** Of hosts without one, when this way of proving has a port of its own. */
  readonly port: number | null;
  readonly tokens: TokenSource | null;
  /** Made here from others: to be taken out of messages too. */
  readonly secrets: readonly string[];
}

const mechanisms: ReadonlyMap<string, Mechanism> = new Map([
  ['plain', 'PLAIN'],
  ['scram-sha-256', 'SCRAM-SHA-256'],
  ['scram-sha-512', 'SCRAM-SHA-512'],
  ['oauthbearer', 'OAUTHBEARER'],
]);
const mskScramPort = 9096;
const emulatorPort = 9092;

/** @throws MillraceError CONFIG_INVALID */
export async function chooseSasl(
  url: KafkaUrl,
  settings: BrokerSettings,
  connection: ConnectionString | null,
): Promise<Sasl | null> {
  const username = settings.username ?? url.username;
  const password = settings.password ?? url.password;
  const asked = askedMechanism(url);
  const mechanism = asked ?? mechanismFor(url, settings, username);
  if (mechanism === null) {
    if (password !== null) throw withoutUser();
    return null;
  }
  if (mechanism === 'OAUTHBEARER') return tokenSasl(url, settings, username);
  if (url.preset.proof === 'connection-string') {
    return connectionSasl(url, username, password, connection, mechanism);
  }
  if (username === null) throw withoutUser();
  if (password === null) {
    throw wrongUrl(
      'The Kafka URL names a user and no password.',
      'Write user:password@host, or give the password as the setting of its own.',
    );
  }
  const port = url.preset.proof === 'aws' ? mskScramPort : null;
  return { options: { mechanism, username, password }, port, tokens: null, secrets: [] };
}

function withoutUser(): Error {
  return wrongUrl(
    'Kafka asks for a user and a password here, and no user is given.',
    'Write user:password@host in the URL, encoded with encodeURIComponent.',
  );
}

function askedMechanism({ parameters }: KafkaUrl): Mechanism | null {
  const asked = parameters.get('mechanism');
  if (asked === undefined) return null;
  const mechanism = mechanisms.get(asked.toLowerCase());
  if (mechanism !== undefined) return mechanism;
  throw wrongUrl(
    `The Kafka URL asks for the mechanism ${JSON.stringify(asked.slice(0, 40))}, which is unknown.`,
    `Take one of: ${[...mechanisms.keys()].join(', ')}.`,
  );
}

/** Null: none; whoever can connect may come, or a client certificate says who we are. */
function mechanismFor(
  { preset }: KafkaUrl,
  settings: BrokerSettings,
  username: string | null,
): Mechanism | null {
  if (settings.token !== undefined) {
    if (username === null) return 'OAUTHBEARER';
    throw wrongUrl(
      'A user and a source of tokens are given; one of them is too many.',
      'Leave one out, or say which is meant with ?mechanism=.',
    );
  }
  if (preset.proof === 'none') return username === null ? null : preset.mechanism;
  if (preset.proof === 'aws') return username === null ? preset.mechanism : 'SCRAM-SHA-512';
  return preset.mechanism;
}

async function tokenSasl(
  url: KafkaUrl,
  settings: BrokerSettings,
  username: string | null,
): Promise<Sasl> {
  const ask = settings.token ?? (await ownTokens(url, username));
  const tokens = createTokenSource(ask);
  return {
    options: { mechanism: 'OAUTHBEARER', token: () => tokens.get(), authBytesValidator },
    port: null,
    tokens,
    secrets: [],
  };
}

/**
 * A broker that refuses a token answers with JSON that says so (RFC 7628), as a success: without
 * this the client takes itself for logged in. Its own check calls back twice.
 */
const authBytesValidator: SASLOptions['authBytesValidator'] = (answer, callback) => {
  const refusal = /"status"\s*:\s*"([\w-]*)"/.exec(answer?.toString('utf8') ?? '');
  if (refusal === null) callback(null, answer);
  else callback(new AuthenticationError(`the token is refused (${refusal[1]})`));
};

async function ownTokens(url: KafkaUrl, username: string | null) {
  if (url.preset.proof !== 'aws' || username !== null) {
    throw wrongUrl(
      'Kafka is to be shown a token, and no source of tokens is given.',
      'Give `token`, a function that resolves to { token, expiresAt }, in the broker settings.',
    );
  }
  return mskTokens({
    region: regionOf(url),
    profile: url.parameters.get('profile') ?? null,
    role: url.parameters.get('role') ?? null,
  });
}

/** b-1.name.x1y2z3.c2.kafka.eu-central-1.amazonaws.com, and the same with kafka-serverless. */
const mskHost = /\.kafka(?:-serverless)?\.([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?$/;

function regionOf({ parameters, hosts }: KafkaUrl): string {
  const region = parameters.get('region') ?? mskHost.exec(hosts[0]?.host ?? '')?.[1];
  if (region !== undefined && /^[a-z]{2}(-[a-z]+)+-\d$/.test(region)) return region;
  throw wrongUrl(
    'The region of the MSK cluster is not known.',
    'Add it to the URL: msk://b-1.example:9098?region=eu-central-1.',
  );
}

function connectionSasl(
  url: KafkaUrl,
  username: string | null,
  password: string | null,
  connection: ConnectionString | null,
  mechanism: Mechanism,
): Sasl {
  const text = password ?? '';
  if (connection === null && (username === null || password === null)) {
    throw wrongUrl(
      'Event Hubs needs its connection string, and none is given.',
      'Give it as the password setting, or as the URL itself: Endpoint=sb://…;SharedAccessKey=…',
    );
  }
  // eventhubs://KeyName:Key@namespace: the string is put together here.
  const keyed = `SharedAccessKeyName=${username};SharedAccessKey=${text}`;
  const made = connection === null ? `Endpoint=sb://${url.hosts[0]?.host}/;${keyed}` : text;
  const isEmulator = connection?.emulator ?? parseConnectionString(made).emulator;
  return {
    options: { mechanism, username: '$ConnectionString', password: made },
    port: isEmulator ? emulatorPort : null,
    tokens: null,
    secrets: isConnectionString(text) ? [] : [made],
  };
}

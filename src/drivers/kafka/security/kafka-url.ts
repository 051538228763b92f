/**
 * Takes a broker URL apart. Several hosts in one authority are no URL for the platform's own
 * parser, so it is done here; what is wrong is CONFIG_INVALID, and no message repeats a secret.
 */
import { MillraceError } from '../../../core/errors.ts';
import { type KafkaPreset, kafkaPresets, presetOf } from './presets.ts';

export interface Host {
  readonly host: string;
  readonly port: number;
}

export interface KafkaUrl {
  readonly preset: KafkaPreset;
  /** Null: the preset's port for the way we prove who we are. */
  readonly hosts: readonly { readonly host: string; readonly port: number | null }[];
  readonly username: string | null;
  readonly password: string | null;
  readonly parameters: ReadonlyMap<string, string>;
}

/** Parameters that a URL may have; any other is a spelling mistake. */
const known = [
  ...['tls', 'mechanism', 'server-name', 'ca', 'cert', 'key'],
  ...['region', 'profile', 'role'],
];
const connectionString = /^Endpoint=sb:\/\//i;

export function isConnectionString(text: string): boolean {
  return connectionString.test(text);
}

function schemeOf(url: string): string {
  const end = url.indexOf('://');
  return end === -1 ? '' : url.slice(0, end).toLowerCase();
}

/** @throws MillraceError CONFIG_INVALID */
export function parseKafkaUrl(url: string): KafkaUrl {
  const preset = presetOf(schemeOf(url));
  if (preset === null) {
    const schemes = kafkaPresets.flatMap((one) => one.schemes).map((scheme) => `${scheme}://`);
    throw wrongUrl(
      `The URL of a Kafka broker begins with ${schemes.join(', ')}.`,
      'Give a URL like kafka://user:password@host:9092,other-host:9092.',
    );
  }
  const [address = '', query = ''] = splitOnce(url.slice(url.indexOf('://') + 3), '?');
  const [authority, path = ''] = splitOnce(address, '/');
  if (path !== '') {
    throw wrongUrl(
      "The URL of a Kafka broker has no path, and a '/' in a password must be written as %2F.",
      'Encode user and password with encodeURIComponent; topics are named by broker.topic.',
    );
  }
  const at = authority.lastIndexOf('@');
  const user = at === -1 ? '' : authority.slice(0, at);
  const [username, password] = splitOnce(user, ':');
  return {
    preset,
    hosts: hostsOf(authority.slice(at + 1)),
    username: username === '' ? null : decode(username),
    password: password === undefined || password === '' ? null : decode(password),
    parameters: parametersOf(query),
  };
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw wrongUrl(
      "User or password of the Kafka URL holds a '%' that encodes nothing.",
      'Encode user and password with encodeURIComponent.',
    );
  }
}

const hostPattern =
  /^(?:\[([0-9a-fA-F:.%]+)\]|([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9.])?))(?::(.*))?$/;

function hostsOf(text: string): KafkaUrl['hosts'] {
  const hosts = text.split(',').map((part, i) => {
    const match = hostPattern.exec(part);
    // The text itself is not shown: a password with '@' or ',' in it may have ended up here.
    if (match === null) {
      throw wrongUrl(
        `Host ${i + 1} of the Kafka URL is no host name: letters, digits, '.', '-' and '_' only.`,
        'Write hosts as host:port, separated by commas; IPv6 addresses as [::1]:9092.',
      );
    }
    return { host: (match[1] ?? match[2]) as string, port: portOf(match[3]) };
  });
  return hosts;
}

function portOf(text: string | undefined): number | null {
  if (text === undefined) return null;
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw wrongUrl(
    'A port of the Kafka URL is no number from 1 to 65535.',
    'Write hosts as host:port, separated by commas.',
  );
}

function parametersOf(query: string): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(query)) {
    if (!known.includes(name)) {
      throw wrongUrl(
        `The Kafka URL has a parameter ${JSON.stringify(name.slice(0, 40))}, which is unknown.`,
        `Take it out; there are: ${known.join(', ')}.`,
      );
    }
    parameters.set(name, value);
  }
  return parameters;
}

export function wrongUrl(message: string, fix: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', message, { fix });
}

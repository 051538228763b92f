/** Where the server is and who we are there, from the settings of the broker port. */
import type { ConnectionOptions } from 'rabbitmq-client';
import { MillraceError } from '../../core/errors.ts';
import type { BrokerSettings, BrokerTls } from '../../ports/broker.ts';

export interface Address {
  /** For people, without the password. */
  readonly text: string;
  /** `host:port`, tried in turn. */
  readonly hosts: readonly string[];
  readonly connectTimeoutMs: number;
  /** Of one attempt: a token is asked for each time. */
  options(host: string): Promise<ConnectionOptions & { readonly expiresAt: number | null }>;
}

/**
 * Seconds. The client gives a silent connection up after twice as long, the server too: a half-open
 * connection is noticed within 8 s.
 */
const heartbeat = 4;

/**
 * Headers of a message must fit into one frame, and metadata may take 64 KiB. The server's default;
 * one that allows less gets less (link.ts).
 */
export const frameMax = 131_072;
/**
 * Above it the client sends message by message. As much as a publisher has under way at most, which
 * is what bounds the memory. (Over TLS Node keeps its own 16 KB.)
 */
const gatheredBytes = 67_108_864;

/** `amqp://user:secret@a:5672,b:5672/vhost`: a cluster's nodes with commas between them. */
const pattern = /^(amqps?):\/\/(?:([^@/]*)@)?([^/?#@]+)(?:\/([^?#/]*))?\/?(?:[?#].*)?$/;

/** @throws MillraceError CONFIG_INVALID */
export function addressOf(settings: BrokerSettings): Address {
  const parts = pattern.exec(settings.url);
  if (parts === null) throw invalid(settings.url);
  const [, scheme, credentials, hostList = '', path = ''] = parts;
  // The '/' of a password, then, and its host was never read: it would be shown as an address.
  if (credentials === undefined && settings.url.includes('@')) throw invalid(settings.url);
  const encrypted = scheme === 'amqps' || settings.tls !== undefined;
  const hosts = hostList.split(',').map((host) => {
    if (!URL.canParse(`http://${host}`)) throw invalid(settings.url);
    const { hostname, port } = new URL(`http://${host}`);
    // Port 80 is http's own and not printed.
    const given = port || (host.endsWith(':80') ? '80' : encrypted ? '5671' : '5672');
    return `${hostname}:${given}`;
  });
  const [user = '', password = ''] = split(credentials ?? '', ':').map(decode);
  const { connectTimeoutMs = 10_000, clientId = `millrace-${process.pid}` } = settings;
  const vhost = path === '' ? '/' : decode(path);
  return {
    text: `${scheme}://${hosts.join(',')}${path === '' ? '' : `/${path}`}`,
    hosts,
    connectTimeoutMs,
    async options(host) {
      const colon = host.lastIndexOf(':');
      const hostname = host.slice(0, colon).replace(/^\[|\]$/g, '');
      const port = host.slice(colon + 1);
      const token = await settings.token?.();
      return {
        hostname,
        port,
        vhost,
        username: settings.username ?? (user || (token === undefined ? 'guest' : 'token')),
        // RabbitMQ's OAuth 2 takes the token where the password stands.
        password: token?.token ?? settings.password ?? (user ? password : 'guest'),
        connectionName: clientId,
        connectionTimeout: connectTimeoutMs,
        acquireTimeout: connectTimeoutMs,
        heartbeat,
        frameMax,
        noDelay: true,
        socket: { port: Number(port), writableHighWaterMark: gatheredBytes },
        ...(encrypted && { tls: tlsOf(settings.tls, hostname) }),
        expiresAt: token?.expiresAt ?? null,
      };
    },
  };
}

function tlsOf(tls: BrokerTls | undefined, hostname: string) {
  const { ca, cert, key, passphrase, serverName } = tls ?? {};
  return {
    servername: serverName ?? (/^[\d.]+$|:/.test(hostname) ? '' : hostname),
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(passphrase !== undefined && { passphrase }),
    ...(serverName !== undefined && { host: hostname }),
  };
}

function split(text: string, separator: string): readonly string[] {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Says nothing of what may be a password. */
function invalid(url: string): MillraceError {
  const shown = url.replace(/\/\/.*@/s, '//…@');
  return new MillraceError('CONFIG_INVALID', `'${shown}' is no amqp:// or amqps:// URL.`, {
    fix: 'Write amqp://user:password@host:5672/vhost, or amqps:// for TLS.',
  });
}

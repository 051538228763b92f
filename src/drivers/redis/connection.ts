/**
 * Connections to one Redis or Valkey, or to a cluster of them: how a command and a script are sent.
 * A lost connection comes back by itself; until then every call fails at once with
 * STORE_UNAVAILABLE (or what `translate` makes of it), so that callers decide how long they try.
 */
import type { ConnectionOptions as SecurityOptions } from 'node:tls';
import { createClient, createCluster } from '@redis/client';
import { MillraceError } from '../../core/errors.ts';
import type { Script } from './scripts.ts';
import { checkServer } from './server-check.ts';
import { isUnknownScript, translate } from './server-errors.ts';

export type Arguments = readonly (string | number)[];

/** What the URL cannot say; all of it may be left out. */
export interface RedisOptions {
  /** Errors in the words of the port that the connection serves. */
  readonly translate?: ((error: unknown) => unknown) | undefined;
  /** How the server's own tools call it. */
  readonly name?: string | undefined;
  readonly tls?: SecurityOptions | undefined;
  /** Asked before each connection; over those of the URL. */
  readonly credentials?: (() => Promise<RedisCredentials>) | undefined;
  readonly connectMsMax?: number | undefined;
  /** Silence after which a half-open connection is given up; 30,000 by default. */
  readonly silenceMsMax?: number | undefined;
  /** The connection was lost; it comes back by itself. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

export interface RedisCredentials {
  readonly username?: string;
  readonly password?: string;
}

export interface Redis {
  readonly isCluster: boolean;
  /** Sends a command to the server of `key`, or to any when it is null. */
  send<Reply>(key: string | null, args: readonly string[]): Promise<Reply>;
  /** Runs a script in the slot of `key`. */
  run<Reply>(script: Script, key: string, args: Arguments): Promise<Reply>;
  /** Listens over a connection of its own; answers with the way to end that. */
  subscribe(channel: string, handlers: SubscriptionHandlers): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

export interface SubscriptionHandlers {
  onMessage(text: string): void;
  /** At most once; the subscription is over. */
  onLost(cause: unknown): void;
}

/** Silence after which a half-open connection is given up; pings keep a healthy one from it. */
const silenceMsMaxDefault = 30_000;
const connectMsMax = 10_000;
const farewellMsMax = 1_000;
const reconnectMsMax = 1_000;

type Send = (key: string | null, args: readonly string[]) => Promise<unknown>;
interface Closable {
  close(): Promise<unknown>;
  destroy(): void;
}
interface Connecting {
  connect(): Promise<unknown>;
  once(event: 'error', listener: (error: unknown) => void): unknown;
  off(event: 'error', listener: (error: unknown) => void): unknown;
}

/** @throws STORE_UNAVAILABLE, STORE_MISCONFIGURED, CONFIG_INVALID */
export async function openRedis(url: string, options: RedisOptions = {}): Promise<Redis> {
  checkUrl(url);
  const client = clientOf(url, options);
  try {
    await connect(client);
    const { isCluster } = await checkServer((args) => client.sendCommand(args));
    if (!isCluster) {
      const sendOne: Send = (_, args) => client.sendCommand(args);
      return redisOf({ url, options, isCluster, send: sendOne, client });
    }
    const cluster = clusterOf(url, options);
    await connect(cluster);
    client.destroy();
    const send: Send = (key, args) => cluster.sendCommand(key ?? undefined, false, [...args]);
    return redisOf({ url, options, isCluster, send, client: cluster });
  } catch (error) {
    if (client.isOpen) client.destroy();
    throw (options.translate ?? translate)(error);
  }
}

function checkUrl(url: string): void {
  if (URL.canParse(url) && /^rediss?:$/.test(new URL(url).protocol)) return;
  // Not the URL itself: a password with a '/' in it is one reason why it cannot be parsed.
  throw new MillraceError('CONFIG_INVALID', 'What was given is no redis:// or rediss:// URL.', {
    fix: 'Give redis://user:password@host:6379, user and password with encodeURIComponent.',
  });
}

function clientOf(url: string, options: RedisOptions) {
  const { socket, ...rest } = clientOptions(url, options);
  const client = createClient({ url: addressOf(url, options), ...rest, socket: socket as never });
  // Each call hears of its own failure; without a listener Node exits.
  client.on('error', (error) => options.onError?.(error));
  return client;
}

/** The client would try for ever; whoever opens a store wants to hear what is wrong. */
async function connect(client: Connecting): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  client.once('error', reject);
  try {
    await Promise.race([client.connect(), promise]);
  } finally {
    client.off('error', reject);
  }
}

/** The client prefers credentials in the URL to all others. */
function addressOf(url: string, { credentials }: RedisOptions): string {
  if (credentials === undefined) return url;
  const address = new URL(url);
  address.username = '';
  address.password = '';
  return address.href;
}

function clusterOf(url: string, options: RedisOptions) {
  const { username, password } = new URL(addressOf(url, options));
  const { socket, ...rest } = clientOptions(url, options);
  const cluster = createCluster({
    rootNodes: [{ url: addressOf(url, options) }],
    RESP: 2,
    defaults: {
      ...(username && { username: decodeURIComponent(username) }),
      ...(password && { password: decodeURIComponent(password) }),
      ...rest,
      socket: socket as never,
    },
  });
  cluster.on('error', (error) => options.onError?.(error));
  return cluster;
}

/** A first attempt that fails is the answer; a connection that stood once comes back. */
function clientOptions(url: string, options: RedisOptions) {
  const reconnectStrategy = (retries: number): number => {
    const waitMs = Math.min(reconnectMsMax, 20 * 2 ** Math.min(retries, 6));
    return waitMs * (0.75 + Math.random() / 2);
  };
  const { name, tls, credentials, silenceMsMax = silenceMsMaxDefault } = options;
  const secured = new URL(url).protocol === 'rediss:';
  return {
    RESP: 2 as const,
    disableOfflineQueue: true,
    pingInterval: silenceMsMax / 3,
    ...(name && { name }),
    ...(credentials && {
      credentialsProvider: { type: 'async-credentials-provider' as const, credentials },
    }),
    socket: {
      ...(secured && { tls: true, ...tls }),
      connectTimeout: options.connectMsMax ?? connectMsMax,
      socketTimeout: silenceMsMax,
      reconnectStrategy,
    },
  };
}

interface Connected {
  readonly url: string;
  readonly options: RedisOptions;
  readonly isCluster: boolean;
  readonly send: Send;
  readonly client: Closable;
}

function redisOf({ url, options, isCluster, send: sendCommand, client }: Connected): Redis {
  const { translate: told = translate } = options;
  const send = async <Reply>(key: string | null, args: readonly string[]): Promise<Reply> => {
    try {
      return (await sendCommand(key, args)) as Reply;
    } catch (error) {
      throw told(error);
    }
  };
  return {
    isCluster,
    send,
    async run<Reply>(script: Script, key: string, args: Arguments): Promise<Reply> {
      const texts = ['EVALSHA', script.sha, '1', key];
      for (const arg of args) texts.push(typeof arg === 'string' ? arg : String(arg));
      try {
        return (await sendCommand(key, texts)) as Reply;
      } catch (error) {
        if (!isUnknownScript(error)) throw told(error);
      }
      // The server was restarted, or is a new one of the cluster: so it learns the script.
      return send(key, ['EVAL', script.text, ...texts.slice(2)]);
    },
    subscribe: (channel, handlers) => subscribe(url, channel, handlers),
    close: () => farewell(client),
  };
}

async function subscribe(
  url: string,
  channel: string,
  { onMessage, onLost }: SubscriptionHandlers,
): Promise<() => Promise<void>> {
  const client = clientOf(url, {});
  let over = false;
  const lost = (cause: unknown) => {
    if (over) return;
    over = true;
    if (client.isOpen) client.destroy();
    onLost(translate(cause));
  };
  try {
    await connect(client);
    await client.subscribe(channel, onMessage);
  } catch (error) {
    over = true;
    if (client.isOpen) client.destroy();
    throw translate(error);
  }
  client.on('error', lost);
  client.on('end', () => lost(new Error('the connection ended')));
  return async () => {
    if (over) return;
    over = true;
    await farewell(client);
  };
}

/** Ends after what is under way, but no later than a moment. */
async function farewell(client: Closable): Promise<void> {
  const impatience = setTimeout(() => client.destroy(), farewellMsMax);
  await client.close().catch(() => {});
  clearTimeout(impatience);
}
